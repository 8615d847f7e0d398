"""W-MSE: pull views together after whitening, which makes collapse impossible; no negatives.

Ermolov et al., Whitening for Self-Supervised Representation Learning, ICML 2021, arXiv 2007.06346.
The embeddings of each view are whitened over the batch (centred, then multiplied with the inverse of their covariance's
Cholesky factor) and normalised to unit length. Then only the distance between views remains to be minimised.

The loss is our own implementation and equals lightly's ``WMSELoss``, which draws its sub-batches from the global random
state and fails for batches smaller than a sub-batch. The head is lightly's. Two changes support small batches:

- Whitening D dimensions needs more than D samples. By default D is half of the batch size, at most 64, which keeps the
  paper's two samples per dimension. A batch of 2 leaves one dimension, from which nothing can be learnt.
- A fraction of the mean variance is added to every dimension, so that the factor exists for features of any scale.

As in the paper, a batch of four or more samples per dimension is divided at random into parts, which are whitened
separately.

N samples, V views, D dimensions of the embedding.
"""

from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge
from lightly.models.modules.heads import ProjectionHead
from torch import Tensor, nn
from torch.nn import functional as F

from medssl.contracts import Batch, Encode, Fraction, Method, PositiveInt, Task, ViewGroup, ViewSpec
from medssl.errors import TrainingError

__all__ = ["WMSE", "pairwise_distance", "whiten"]


def whiten(z: Tensor, shrinkage: float) -> Tensor:
    """Whiten embeddings over their samples.

    Args:
        z: ``(..., N, D)`` floating point.
        shrinkage: Fraction of the mean variance that is added to the covariance before inversion, in [0, 1].

    Returns:
        ``(..., N, D)`` with mean zero; with shrinkage 0 and N above D, their covariance is the identity.

    Source: arXiv 2007.06346, section 3.
    """
    x = z - z.mean(dim=-2, keepdim=True)
    covariance = x.mT @ x / (z.shape[-2] - 1)  # (..., D, D)
    mean_variance = covariance.diagonal(dim1=-2, dim2=-1).mean(dim=-1)[..., None, None]
    identity = torch.eye(z.shape[-1], dtype=z.dtype, device=z.device)
    factor, _ = torch.linalg.cholesky_ex((1 - shrinkage) * covariance + shrinkage * mean_variance * identity)
    whitened: Tensor = torch.linalg.solve_triangular(factor, x.mT, upper=False).mT
    return whitened


def pairwise_distance(z: Tensor) -> Tensor:
    """Mean squared distance between the views of a sample at unit length: ``(V, N, D)`` to a scalar in [0, 4]."""
    views = len(z)
    total = F.normalize(z, dim=-1).sum(dim=0)  # (N, D); its square is V plus twice the cosines of all pairs
    return 2 - 2 * (total.square().sum(dim=-1).mean() - views) / (views * (views - 1))


class WMSE(Method):
    """W-MSE: two or more views, a projection head, whitening, and the distance between views."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            view_count: V, number of views per image.
            shrinkage: Fraction of the mean variance that is added before whitening.
            whitenings: How many times per step a large batch is divided and whitened.
            hidden_dim: Width of the head's hidden layer; ``None``: twice the encoder's feature width.
            output_dim: D, the width of the embedding; ``None``: half the batch size, 64 at most.
        """

        view_count: Annotated[int, Ge(2)] = 2  # W-MSE 2 in the paper; its W-MSE 4 takes twice as long
        shrinkage: Fraction = 1e-3  # our choice; 0 in the authors' code, whose batches are larger
        whitenings: PositiveInt = 1  # the authors' code on CIFAR; 4 on STL-10
        hidden_dim: PositiveInt | None = None  # the authors' code: 1024 on 512 features
        output_dim: PositiveInt | None = None  # the authors' code: 64 on CIFAR, whitened over 128 samples

    def __init__(self, config: Config, encoder: nn.Module, task: Task) -> None:
        super().__init__(config, encoder, task)
        self.views = ViewSpec((ViewGroup(count=config.view_count),))
        hidden = config.hidden_dim or 2 * task.feature_dim
        self.output_dim = config.output_dim or max(1, min(64, task.batch_size // 2))
        layers = [(task.feature_dim, hidden, nn.BatchNorm1d(hidden), nn.ReLU()), (hidden, self.output_dim, None, None)]
        self.head = ProjectionHead(layers)

    def loss(self, batch: Batch, encode: Encode) -> Tensor:
        """Return the mean squared distance between whitened views, in [0, 4].

        Raises:
            TrainingError: The number of samples is not above the number of dimensions.
        """
        z = torch.stack([self.head(features) for features in encode(batch.views)])  # (V, N, D)
        n, d = z.shape[1:]
        if n <= d:
            raise TrainingError(
                f"W-MSE cannot whiten {d} dimensions with the {n} samples of a batch. Whitening needs more samples "
                "than dimensions, better twice as many. Set a larger batch size or a smaller method.output_dim."
            )
        parts = max(1, n // (2 * d))
        losses = [pairwise_distance(self._whiten_parts(z, parts, batch.generator)) for _ in range(self._rounds(parts))]
        return torch.stack(losses).mean()

    def _rounds(self, parts: int) -> int:
        """Return the number of whitenings: one if there is a single part, which is the same every time."""
        return int(self.config.whitenings) if parts > 1 else 1

    def _whiten_parts(self, z: Tensor, parts: int, generator: torch.Generator) -> Tensor:
        """Divide a batch ``(V, N, D)`` at random, equally for every view; whiten each view of each part separately."""
        if parts > 1:
            order = torch.randperm(z.shape[1], generator=generator, device=generator.device)
            z = z[:, order.to(z.device)]
        return torch.cat([whiten(part, self.config.shrinkage) for part in z.tensor_split(parts, dim=1)], dim=1)
