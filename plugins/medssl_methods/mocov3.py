"""MoCo v3: a query finds its key, from a momentum teacher, among the keys of the batch.

Chen, Xie and He, An Empirical Study of Training Self-Supervised Vision Transformers, ICCV 2021, arXiv 2104.02057,
equation 1 and algorithm 1. It has no queue, but a predictor on the queries, and both views are query and key.

The settings are those of the paper's ResNet-50, for any encoder. For vision transformers the paper uses a temperature
of 0.2, a projector of three layers, AdamW with a long warm-up, and a patch projection that is frozen at its initial
values. The first two are options here; AdamW and the warm-up are set in the recipe. The heads keep the paper's ratio to
the encoder, twice as wide as its 2048 features. Their blocks are lightly's, their normalisation is that of the authors'
code. Only the batch provides negatives, so a batch of 16 has few. The paper's views differ in blur and solarisation.
Ours do not, because the suitable augmentation depends on the modality.

N samples, D dimensions of the embedding.
"""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge
from lightly.models.modules.heads import ProjectionHead
from torch import Tensor, nn

from medssl.contracts import Batch, Encode, Fraction, Method, Positive, PositiveInt, Task
from medssl.tools import Teacher, cosine_momentum
from medssl_methods._contrast import info_nce

__all__ = ["MoCoV3"]


def _head(input_dim: int, hidden_dim: int, output_dim: int, layers: int, last: nn.Module | None) -> ProjectionHead:
    """Build linear layers without biases; normalisation and ReLU follow all but the last, ``last`` follows the last."""
    widths = [input_dim] + [hidden_dim] * (layers - 1)
    hidden = [(width, hidden_dim, nn.BatchNorm1d(hidden_dim), nn.ReLU()) for width in widths[:-1]]
    return ProjectionHead([*hidden, (widths[-1], output_dim, last, None, False)])


class MoCoV3(Method):
    """MoCo v3: two views, a projector and a predictor, and a momentum teacher for the keys."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            temperature: Divisor of the cosine similarities.
            momentum: Momentum of the teacher after the first step; it rises to 1 along half a cosine.
            projection_layers: Number of layers of the projector.
            hidden_dim: Width of both heads' hidden layers; ``None``: twice the encoder's feature width.
            output_dim: D, the width of the embedding.
        """

        temperature: Positive = 1.0  # the authors' code for ResNet-50; 0.2 for ViT
        momentum: Fraction = 0.99  # MoCo v3 sec. 5; 0.996 for 1000 epochs (the authors' code)
        projection_layers: Annotated[int, Ge(2)] = 2  # the authors' code for ResNet-50; 3 for ViT (MoCo v3 sec. 5)
        hidden_dim: PositiveInt | None = None  # MoCo v3 sec. 5: 4096, on 2048 features of ResNet-50
        output_dim: PositiveInt = 256  # MoCo v3 sec. 5

    def __init__(self, config: Config, encoder: nn.Module, task: Task) -> None:
        super().__init__(config, encoder, task)
        hidden, output = config.hidden_dim or 2 * task.feature_dim, config.output_dim
        whitened = nn.BatchNorm1d(output, affine=False)
        self.projector = _head(task.feature_dim, hidden, output, config.projection_layers, whitened)
        self.predictor = _head(output, hidden, output, 2, None)
        self.teacher = Teacher(encoder, self.projector)

    def loss(self, batch: Batch, encode: Encode) -> Tensor:
        """Return twice the temperature times the cross-entropies of both directions, as in algorithm 1."""
        q0, q1 = (self.predictor(self.projector(features)) for features in encode(batch.views))  # (N, D) each
        k0, k1 = self.teacher(batch.views, encode)
        temperature: float = self.config.temperature
        return 2 * temperature * (info_nce(q0, k1, temperature) + info_nce(q1, k0, temperature))

    def after_step(self, step: int, total_steps: int) -> None:
        """Update the teacher."""
        self.teacher.update(cosine_momentum(step, total_steps, self.config.momentum))
