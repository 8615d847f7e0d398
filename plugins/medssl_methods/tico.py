"""TiCo: pull the views together, and push embeddings away from directions that earlier embeddings used.

Zhu et al., TiCo: Transformation Invariance and Covariance Contrast for Self-Supervised Visual Representation Learning,
2022, arXiv 2206.10698, equation 4. A moving average of the embeddings' second moments represents all earlier samples,
like a queue of unlimited length. The student's embeddings of one view avoid the large directions of this average, and
agree with the momentum teacher's embeddings of the other view. Only the first view is trained on; only the second is a
target.

It uses lightly's ``TiCoProjectionHead`` and ``TiCoLoss``. The moving average of the loss is a buffer here, so that a
continued run keeps it. No gradient flows through the average. The head keeps the paper's ratio to the encoder, twice as
wide as its 2048 features. The paper's views differ in blur and solarisation. Ours do not, because the suitable
augmentation depends on the modality.

N samples, D dimensions of the embedding.
"""

from dataclasses import dataclass

import torch
from lightly.loss.tico_loss import TiCoLoss
from lightly.models.modules.heads import TiCoProjectionHead
from torch import Tensor, nn

from medssl.contracts import Batch, Encode, Fraction, Method, NonNegative, PositiveInt, Task
from medssl.tools import Teacher, cosine_momentum

__all__ = ["TiCo"]


class TiCo(Method):
    """TiCo: two views, a projection head, a momentum teacher, and a moving second moment."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            contrast: Rho, the weight of the term that spreads the embeddings.
            memory: Beta, the fraction of the moving second moment that is kept at each step.
            momentum: Momentum of the teacher after the first step; it rises to 1 along half a cosine.
            hidden_dim: Width of the head's hidden layer; ``None``: twice the encoder's feature width.
            output_dim: D, the width of the embedding.
        """

        contrast: NonNegative = 8.0  # the paper's value, as in lightly
        memory: Fraction = 0.9  # the paper's value, as in lightly
        momentum: Fraction = 0.99  # as in the code of BYOL's authors for 100 and 300 epochs
        hidden_dim: PositiveInt | None = None  # the paper's 4096 on 2048 features, as in lightly
        output_dim: PositiveInt = 256  # the paper's value, as in lightly

    def __init__(self, config: Config, encoder: nn.Module, task: Task) -> None:
        super().__init__(config, encoder, task)
        self.head = TiCoProjectionHead(task.feature_dim, config.hidden_dim or 2 * task.feature_dim, config.output_dim)
        self.teacher = Teacher(encoder, self.head)
        self.criterion = TiCoLoss(beta=config.memory, rho=config.contrast)
        del self.criterion.C  # a plain attribute, which a state dict does not contain
        self.criterion.register_buffer("C", torch.zeros(config.output_dim, config.output_dim))

    def loss(self, batch: Batch, encode: Encode) -> Tensor:
        """Return the loss of the first view against the second, and update the moving second moment."""
        first, second = batch.views
        (features,) = encode([first])
        (target,) = self.teacher([second], encode)  # (N, D)
        loss: Tensor = self.criterion(self.head(features), target)
        return loss

    def after_step(self, step: int, total_steps: int) -> None:
        """Update the teacher."""
        self.teacher.update(cosine_momentum(step, total_steps, self.config.momentum))
