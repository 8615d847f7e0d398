"""BYOL: predict the momentum teacher's embedding of the other view; no negatives.

Grill et al., Bootstrap Your Own Latent: A New Approach to Self-Supervised Learning, NeurIPS 2020, arXiv 2006.07733,
equations 1 and 2. The target comes from a momentum teacher without gradient, and the student has a predictor that the
teacher lacks. Without either of these the network collapses (table 5).

It uses lightly's heads and its ``NegativeCosineSimilarity``: the mean cosine of both directions, in [-1, 1]. The
paper's equation 2, summed over both directions, is four plus four times that value; the paper's optimizer, LARS, is not
affected by the factor. The heads keep the paper's ratio to the encoder, twice as wide as its 2048 features. The paper's
two views differ in blur and solarisation. Ours do not, because the suitable augmentation depends on the modality and is
set in the augmentation recipe.

N samples, D dimensions of the embedding.
"""

from dataclasses import dataclass

from lightly.loss.negative_cosine_similarity import NegativeCosineSimilarity
from lightly.models.modules.heads import BYOLPredictionHead, BYOLProjectionHead
from torch import Tensor, nn

from medssl.contracts import Batch, Encode, Fraction, Method, PositiveInt, Task
from medssl.tools import Teacher, cosine_momentum

__all__ = ["BYOL"]


class BYOL(Method):
    """BYOL: two views, a projector and a predictor, and a momentum teacher of encoder and projector."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            momentum: Momentum of the teacher after the first step; it rises to 1 along half a cosine.
            hidden_dim: Width of both heads' hidden layer; ``None``: twice the encoder's feature width.
            output_dim: D, the width of the embedding.
        """

        momentum: Fraction = 0.99  # the authors' code for 100 and 300 epochs; 0.996 for 1000 (BYOL sec. 3.3)
        hidden_dim: PositiveInt | None = None  # BYOL sec. 3.3: 4096 on 2048 features
        output_dim: PositiveInt = 256  # BYOL sec. 3.3

    def __init__(self, config: Config, encoder: nn.Module, task: Task) -> None:
        super().__init__(config, encoder, task)
        hidden = config.hidden_dim or 2 * task.feature_dim
        self.projector = BYOLProjectionHead(task.feature_dim, hidden, config.output_dim)
        self.predictor = BYOLPredictionHead(config.output_dim, hidden, config.output_dim)
        self.teacher = Teacher(encoder, self.projector)
        self.criterion = NegativeCosineSimilarity()

    def loss(self, batch: Batch, encode: Encode) -> Tensor:
        """Return the symmetric negative cosine similarity of predictions and targets, in [-1, 1]."""
        p0, p1 = (self.predictor(self.projector(features)) for features in encode(batch.views))  # (N, D) each
        t0, t1 = self.teacher(batch.views, encode)
        loss: Tensor = (self.criterion(p0, t1) + self.criterion(p1, t0)) / 2
        return loss

    def after_step(self, step: int, total_steps: int) -> None:
        """Update the teacher."""
        self.teacher.update(cosine_momentum(step, total_steps, self.config.momentum))
