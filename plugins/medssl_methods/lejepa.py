"""LeJEPA: every view predicts the mean of the full views, and the embeddings are kept Gaussian; no teacher.

Balestriero and LeCun, LeJEPA: Provable and Scalable Self-Supervised Learning Without the Heuristics, 2025, arXiv
2511.08544. The embeddings of each view are projected onto random directions. On each direction their distribution is
compared with a standard normal distribution by the test of Epps and Pulley: the squared distance of the characteristic
functions, weighted and integrated (SIGReg). A network that maps all images to one embedding fails this test. One weight
balances both terms; there is no schedule, no stop-gradient and no teacher.

The loss is our own implementation and equals ``LeJEPALoss`` of lightly 1.6, which draws the directions from the global
random state. It follows the authors' code: the squared distances to the mean are averaged over dimensions, and the
integral ends at ``t_max``. The head is the authors' too, built from lightly's.

N samples, V views, S directions, D dimensions of the embedding.
"""

from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge
from lightly.models.modules.heads import ProjectionHead
from torch import Tensor, nn
from torch.nn import functional as F

from medssl.contracts import Batch, Encode, Fraction, Method, Positive, PositiveInt, Task, ViewGroup, ViewSpec

__all__ = ["LeJEPA", "prediction_loss", "projector", "random_directions", "sigreg"]

_FULL = 2  # number of views whose mean is predicted (the authors' code)


def projector(feature_dim: int, hidden: int, output: int) -> ProjectionHead:
    """Build the head: three layers, BatchNorm and ReLU after the first two."""
    layers = [(width, hidden, nn.BatchNorm1d(hidden), nn.ReLU()) for width in (feature_dim, hidden)]
    return ProjectionHead([*layers, (hidden, output, None, None)])


def random_directions(dim: int, count: int, generator: torch.Generator, like: Tensor) -> Tensor:
    """Draw unit vectors ``(D, S)``, on the device and with the type of ``like``."""
    drawn = torch.randn(dim, count, generator=generator, device=generator.device)
    return F.normalize(drawn.to(like), dim=0)


def prediction_loss(z: Tensor, full: int) -> Tensor:
    """Compute the mean squared distance of all views ``(V, N, D)`` to the mean of the first ``full`` of them."""
    return (z - z[:full].mean(dim=0)).square().mean()


def sigreg(z: Tensor, directions: Tensor, knots: int, t_max: float) -> Tensor:
    """Compute the Epps-Pulley statistic against a standard normal distribution, the mean over directions and views.

    It is ``N`` times the integral of ``|c(t) - exp(-t^2 / 2)|^2 exp(-t^2 / 2)`` over ``[-t_max, t_max]``, where ``c``
    is the mean of ``exp(i t x)`` over the samples, computed by the trapezoidal rule.

    Args:
        z: Embeddings ``(V, N, D)`` floating point.
        directions: Unit vectors ``(D, S)``.
        knots: Number of points in ``[0, t_max]``; the other half is its mirror image.
        t_max: End of the integral.

    Returns:
        Scalar; at most about N.

    Source: arXiv 2511.08544, SIGReg with the test of Epps and Pulley.
    """
    t = torch.linspace(0, t_max, knots, dtype=z.dtype, device=z.device)
    normal = torch.exp(-t.square() / 2)  # the characteristic function, and the weight
    phase = (z @ directions)[..., None] * t  # (V, N, S, knots)
    distance = (phase.cos().mean(dim=1) - normal).square() + phase.sin().mean(dim=1).square()  # (V, S, knots)
    return 2 * z.shape[1] * torch.trapezoid(distance * normal, t, dim=-1).mean()


class LeJEPA(Method):
    """LeJEPA: two full and several small views, a projection head, a prediction term and :func:`sigreg`."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            regularisation: Weight of the Gaussian term; the prediction term has the weight 1 minus this.
            directions: S, number of random directions; drawn anew in each step.
            knots: Number of points of the integral.
            t_max: Upper end of the integral.
            small_views: Number of small views in addition to the two full ones; 0 for none.
            small_side: Side of a small view as a fraction of the side of a full view.
            hidden_dim: Width of the head's hidden layers; ``None``: four times the encoder's feature width.
            output_dim: D, the width of the embedding.
        """

        regularisation: Fraction = 0.05  # the authors' code; 0.01 to 0.1 in the paper
        directions: PositiveInt = 1024  # the authors' code
        knots: Annotated[int, Ge(2)] = 17  # the authors' code
        t_max: Positive = 3.0  # the authors' code
        small_views: Annotated[int, Ge(0)] = 6  # the authors' code
        small_side: Positive = 0.5  # lightly's benchmarks on small data; 98 of 224 px in the authors' code
        hidden_dim: PositiveInt | None = None  # the authors' code: 2048 on 512 features
        output_dim: PositiveInt = 64  # lightly's default; 16 in the authors' smallest example

    def __init__(self, config: Config, encoder: nn.Module, task: Task) -> None:
        super().__init__(config, encoder, task)
        full = ViewGroup(count=_FULL, augment={"crop_scale": (0.3, 1.0)})  # the authors' code
        small = ViewGroup(count=config.small_views, scale=config.small_side, augment={"crop_scale": (0.05, 0.3)})
        self.views = ViewSpec((full, small) if config.small_views else (full,))
        self.head = projector(task.feature_dim, config.hidden_dim or 4 * task.feature_dim, config.output_dim)

    def loss(self, batch: Batch, encode: Encode) -> Tensor:
        """Return the weighted mean of the prediction and the Gaussian term."""
        z = torch.stack([self.head(features) for features in encode(batch.views)])  # (V, N, D)
        options = self.config
        directions = random_directions(z.shape[2], options.directions, batch.generator, z)
        gaussian = sigreg(z, directions, options.knots, options.t_max)
        share: float = options.regularisation
        return (1 - share) * prediction_loss(z, _FULL) + share * gaussian
