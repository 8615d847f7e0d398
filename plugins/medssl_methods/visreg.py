"""VISReg: each view predicts the mean of the views; separate terms control scale, shape and centre of the embeddings.

Wu, Balestriero and Levine, VISReg: Variance-Invariance-Sketching Regularization for JEPA Training, 2026, arXiv
2606.02572. Three terms keep the embeddings of each view standard normal: standard deviations of 1 (equation 1); a mean
of 0 (equation 6); and, on random directions after division by the deviations (as constants), sorted samples at the
quantiles of a normal distribution (equations 2 to 5: the Wasserstein distance in one dimension). Unlike LeJEPA's single
test, the first term still has an effect when the embeddings have almost collapsed.

The loss is our own implementation of the paper's equations and equals ``VISRegLoss`` of lightly 1.6, which draws the
directions from the global random state. Weights, views and width are those of the authors' runs on Imagenette, their
smallest set; on ImageNet they use 0.9, with small views. Use a higher ``shape`` if the classes are very unequal.

N samples, V views, S directions, D dimensions of the embedding.
"""

from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor, nn

from medssl.contracts import (
    Batch,
    Encode,
    Fraction,
    Method,
    NonNegative,
    Positive,
    PositiveInt,
    Task,
    ViewGroup,
    ViewSpec,
)
from medssl_methods.lejepa import prediction_loss, projector, random_directions

__all__ = ["VISReg", "center_loss", "scale_loss", "shape_loss"]


def scale_loss(z: Tensor) -> Tensor:
    """Compute the mean squared distance of each dimension's standard deviation from 1; ``(V, N, D)`` to a scalar."""
    return (1 - z.std(dim=1, correction=0)).square().mean()


def center_loss(z: Tensor) -> Tensor:
    """Compute the mean square of each dimension's mean over the samples; ``(V, N, D)`` to a scalar."""
    return z.mean(dim=1).square().mean()


def shape_loss(z: Tensor, directions: Tensor) -> Tensor:
    """Compute the mean squared distance of sorted projections from the quantiles of a standard normal distribution.

    Args:
        z: Embeddings ``(V, N, D)``; this function centres them and divides them by their deviations (as constants).
        directions: Unit vectors ``(D, S)``.

    Returns:
        Scalar.
    """
    n = z.shape[1]
    normalised = (z - z.mean(dim=1, keepdim=True)) / (z.std(dim=1, correction=0, keepdim=True).detach() + 1e-4)
    ranks = torch.arange(1, n + 1, dtype=z.dtype, device=z.device) / (n + 1)
    quantiles: Tensor = torch.special.ndtri(ranks)[:, None]  # (N, 1)
    projected: Tensor = (normalised @ directions).sort(dim=1).values  # (V, N, S)
    return (projected - quantiles).square().mean()


class VISReg(Method):
    """VISReg: several views, a projection head, a prediction term, and terms for scale, shape and centre."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            regularisation: Weight of the other three terms together; the prediction term has the weight 1 minus this.
            scale: Weight of the deviations' term among the three.
            shape: Weight of the quantiles' term.
            center: Weight of the means' term.
            directions: S, number of random directions; drawn anew in each step.
            view_count: Number of full views; their mean is predicted.
            small_views: Number of small views in addition; 0 for none.
            small_side: Side of a small view as a fraction of the side of a full view.
            hidden_dim: Width of the head's hidden layers; ``None``: four times the encoder's feature width.
            output_dim: D, the width of the embedding; ``None``: a third of the encoder's feature width.
        """

        regularisation: Fraction = 0.6  # VISReg, for small sets; 0.9 on ImageNet
        scale: NonNegative = 1.0  # VISReg, algorithm 1
        shape: NonNegative = 1.0  # VISReg, algorithm 1
        center: NonNegative = 1.0  # VISReg, algorithm 1
        directions: PositiveInt = 4096  # the authors' code
        view_count: Annotated[int, Ge(2)] = 4  # the authors' code
        small_views: Annotated[int, Ge(0)] = 0  # the authors' code on Imagenette; 6 on ImageNet
        small_side: Positive = 0.5  # lightly's benchmarks on small data; 96 of 224 px in the authors' code
        hidden_dim: PositiveInt | None = None  # as in LeJEPA's head
        output_dim: PositiveInt | None = None  # the authors' code: 128 on 384 features, 256 on 768

    def __init__(self, config: Config, encoder: nn.Module, task: Task) -> None:
        super().__init__(config, encoder, task)
        full = ViewGroup(count=config.view_count)
        small = ViewGroup(count=config.small_views, scale=config.small_side, augment={"crop_scale": (0.05, 0.3)})
        self.views = ViewSpec((full, small) if config.small_views else (full,))
        output = config.output_dim or max(1, task.feature_dim // 3)
        self.head = projector(task.feature_dim, config.hidden_dim or 4 * task.feature_dim, output)

    def loss(self, batch: Batch, encode: Encode) -> Tensor:
        """Return the weighted mean of the prediction term and the sum of the other three."""
        z = torch.stack([self.head(features) for features in encode(batch.views)])  # (V, N, D)
        options = self.config
        directions = random_directions(z.shape[2], options.directions, batch.generator, z)
        share: float = options.regularisation
        regular: Tensor = (
            options.scale * scale_loss(z) + options.shape * shape_loss(z, directions) + options.center * center_loss(z)
        )
        return (1 - share) * prediction_loss(z, options.view_count) + share * regular
