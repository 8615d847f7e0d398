"""Is the encoder collapsing? Measures on features, pure functions of one tensor.

N samples, F features. All of them compute on the processor, in float64 where given that and in float32 otherwise.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["Collapse", "alignment", "call_collapse", "effective_rank", "feature_std", "uniformity"]

Collapse = Literal["complete", "dimensional"]

_SMALLEST_SPREAD = 0.05


def feature_std(x: Tensor) -> float:
    """Spread of the directions: standard deviation of l2-normalised features, times sqrt(F).

    Source: SimSiam, Chen & He 2021 (arXiv 2011.10566), section 4.1 and figure 2: 1/sqrt(F) per channel for isotropic
    features, 0 for collapsed ones. The factor makes the healthy value 1 whatever F is.

    Args:
        x: ``(N, F)``, N at least 2.

    Returns:
        0 (all directions equal) to about 1.
    """
    directions = F.normalize(_plain(x), dim=1)
    return float(directions.std(dim=0).mean() * math.sqrt(x.shape[1]))


def effective_rank(x: Tensor, eps: float = 1e-7) -> float:
    """How many dimensions the features use: exp of the entropy of their normalised singular values (RankMe).

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


def call_collapse(spread: float, rank: float, classes: int) -> Collapse | None:
    """Say by name how far features have collapsed.

    ``complete``: the spread is below 0.05. Its square is at most one less the mean cosine similarity of two images,
    which is then above .9975. ``dimensional`` (Jing et al. 2022, arXiv 2110.09348): they are spread, but along fewer
    dimensions than there are classes. K classes at equal distances, as a perfect classifier lays them out (Papyan et
    al. 2020, arXiv 2008.08186), take K - 1 dimensions beside that of their mean.

    Give measures of an encoder in evaluation mode: in training BatchNorm spreads out each batch anew. On the phantom,
    four classes at 24 px, a loss that collapses (two views compared without a stop-gradient) ended at a spread of 0.02
    to 0.07 and a rank of 1.9 to 3.5 in evaluation (0.56 and 5 in training), and with one at 0.57 and 18. Other sound
    runs, on radiographs and ultrasound too, had 0.4 to 0.7 and 50 to 150, untrained ResNets 0.05 to 0.3 and 5 to 50.

    Args:
        spread: Of :func:`feature_std`.
        rank: Of :func:`effective_rank`.
        classes: K, at least two.

    Returns:
        ``None`` for features that are well, and where a measure is no number.
    """
    if spread < _SMALLEST_SPREAD:
        return "complete"
    return "dimensional" if rank < classes else None


def _plain(x: Tensor) -> Tensor:
    """Bring features to where every linear-algebra routine exists, in at least float32."""
    x = x.detach().cpu()
    return x if x.dtype == torch.float64 else x.float()
