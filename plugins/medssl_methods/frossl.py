"""FroSSL: minimise the Frobenius norm of each view's covariance, which spreads embeddings, and pull views together.

Skean et al., FroSSL: Frobenius Norm Minimization for Efficient Multiview Self-Supervised Learning, ECCV 2024, arXiv
2310.02903. Among all covariances with the same trace, the one with equal eigenvalues has the smallest norm. The norm of
the covariance equals that of the samples' Gram matrix. Therefore eigenvalues are never computed, and any number of
views can be used.

The loss is our own implementation and equals ``FroSSLLoss`` of lightly 1.6. The head is VICReg's, from lightly.

N samples, V views, D dimensions of the embedding.
"""

from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge
from lightly.models.modules.heads import VICRegProjectionHead
from torch import Tensor, nn
from torch.nn import functional as F

from medssl.contracts import Batch, Encode, Method, NonNegative, PositiveInt, Task, ViewGroup, ViewSpec

__all__ = ["FroSSL", "frossl_loss"]


def frossl_loss(z: Tensor, invariance: float) -> Tensor:
    """Sum, over views, the log squared norm of a covariance with trace one and the distance to the views' mean.

    Args:
        z: Embeddings ``(V, N, D)`` floating point; V and N at least 2. Every dimension is normalised to unit length
            over the samples of a view.
        invariance: Weight of V times the squared distances to the views' mean, summed over dimensions and averaged
            over samples; with two views this is the squared distance between them.

    Returns:
        Scalar.
    """
    views, n, d = z.shape
    z = F.normalize(z, dim=1)  # the trace of each covariance is the number of dimensions
    covariance = z @ z.mT if n < d else z.mT @ z  # the same norm, in the smaller of two shapes
    norms = (covariance / d).square().sum(dim=(1, 2))  # (V,)
    distances = (z - z.mean(dim=0)).square().sum(dim=2).mean(dim=1)  # (V,)
    return norms.log().sum() + invariance * views * distances.sum()


class FroSSL(Method):
    """FroSSL: two or more views, a projection head, and :func:`frossl_loss`."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            view_count: V, number of views per image.
            invariance: Weight of the distance between views.
            hidden_dim: Width of the head's hidden layers; ``None``: four times the encoder's feature width.
            output_dim: D, the width of the embedding; ``None``: twice the encoder's feature width.
        """

        view_count: Annotated[int, Ge(2)] = 2  # the smallest value in the paper; up to 8 in its fastest runs
        invariance: NonNegative = 1.0  # the authors' code
        hidden_dim: PositiveInt | None = None  # the authors' code: 2048 on 512 features
        output_dim: PositiveInt | None = None  # the authors' code: 1024 on 512 features

    def __init__(self, config: Config, encoder: nn.Module, task: Task) -> None:
        super().__init__(config, encoder, task)
        self.views = ViewSpec((ViewGroup(count=config.view_count),))
        hidden = config.hidden_dim or 4 * task.feature_dim
        self.head = VICRegProjectionHead(task.feature_dim, hidden, config.output_dim or 2 * task.feature_dim)

    def loss(self, batch: Batch, encode: Encode) -> Tensor:
        """Return the loss over all views of the batch; its smallest value is V times the log of 1 / min(N, D)."""
        z = torch.stack([self.head(features) for features in encode(batch.views)])  # (V, N, D)
        return frossl_loss(z, self.config.invariance)
