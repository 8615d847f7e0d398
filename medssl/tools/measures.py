"""Measures of features, as pure functions of tensors: spread, number of used dimensions, uniformity, alignment.

All of them compute on the processor, in float64 for float64 input, else in float32.

N samples, F features.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["alignment", "effective_rank", "feature_std", "uniformity"]


def feature_std(x: Tensor) -> float:
    """Spread of the directions: standard deviation of l2-normalised features, times sqrt(F).

    Source: SimSiam, Chen & He 2021 (arXiv 2011.10566), section 4.1 and figure 2: 1/sqrt(F) per channel for isotropic
    features, 0 for collapsed ones. With the factor, the healthy value is 1 for every F.

    Args:
        x: ``(N, F)``, N at least 2.

    Returns:
        0 (all directions equal) to about 1.
    """
    directions = F.normalize(_plain(x), dim=1)
    return float(directions.std(dim=0).mean() * math.sqrt(x.shape[1]))


def effective_rank(x: Tensor, eps: float = 1e-7) -> float:
    """Number of dimensions that the features use: exp of the entropy of their normalised singular values (RankMe).

    Source: Garrido et al. 2023 (arXiv 2210.02885), equations 1 and 2; features are not centred, as there.

    Args:
        x: ``(N, F)``.
        eps: Keeps the logarithm finite, as in the paper.

    Returns:
        1 (all features along one line) to ``min(N, F)``: measured on one batch, it cannot exceed the batch.
    """
    values = torch.linalg.svdvals(_plain(x))
    total = values.sum().clamp_min(torch.finfo(values.dtype).tiny)  # all features zero: rank 1, not nan
    p = values / total + eps
    return float(torch.exp(-(p * p.log()).sum()))


def alignment(x: Tensor, y: Tensor, alpha: float = 2.0) -> float:
    """Mean distance between the two views of a sample on the unit sphere, to the power ``alpha``.

    Source: Wang & Isola 2020 (arXiv 2005.10242), section 4.1.1.

    Args:
        x: ``(N, F)``, first views.
        y: ``(N, F)``, second views of the same samples.
        alpha: The power.

    Returns:
        0 (views coincide) to ``2 ** alpha``.
    """
    distance = (F.normalize(_plain(x), dim=1) - F.normalize(_plain(y), dim=1)).norm(dim=1)
    return float((distance**alpha).mean())


def uniformity(x: Tensor, t: float = 2.0) -> float:
    """How evenly the features cover the unit sphere: log of the mean Gaussian potential over pairs of samples.

    Source: Wang & Isola 2020 (arXiv 2005.10242), section 4.1.2, each pair of different samples once.

    Args:
        x: ``(N, F)``, N at least 2.
        t: Sharpness of the potential.

    Returns:
        0 (collapsed) down to about ``-2 t`` (evenly spread in many dimensions).
    """
    squared = torch.pdist(F.normalize(_plain(x), dim=1)).square()
    return float(torch.logsumexp(-t * squared, dim=0) - math.log(len(squared)))


def _plain(x: Tensor) -> Tensor:
    """Move features to the processor, where every linear-algebra routine exists, in at least float32."""
    x = x.detach().cpu()
    return x if x.dtype == torch.float64 else x.float()
