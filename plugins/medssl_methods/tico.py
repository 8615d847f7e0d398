"""TiCo: pull the views together, push away from the directions that embeddings have taken so far.

Zhu et al., TiCo: Transformation Invariance and Covariance Contrast for Self-Supervised Visual Representation Learning,
2022, arXiv 2206.10698, equation 4. A moving average of the embeddings' second moments stands for all earlier
samples, a queue without a length; the student's embeddings of one view avoid its large directions and agree with the
momentum teacher's of the other. Only the first view is trained on, only the second is a target.

Wraps lightly's ``TiCoProjectionHead`` and ``TiCoLoss``, whose moving average becomes a buffer here, so that a resumed
run goes on with it. No gradient flows through the average. The head keeps the paper's ratio to the encoder, twice as
wide as its 2048 features. The paper's views differ in blur and solarisation; ours do not, because what an image bears
depends on the modality.

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
            memory: Beta, what the moving second moment keeps at each step.
            momentum: Of the teacher after the first step; it rises to 1 along half a cosine.
            hidden_dim: Width of the head's hidden layer; ``None``: twice the encoder's feature width.
            output_dim: D, the width of the embedding.
        """

        contrast: NonNegative = 8.0  # the paper's value, as in lightly
        memory: Fraction = 0.9  # likewise
        momentum: Fraction = 0.99  # as for BYOL: its authors' code for 100 and 300 epochs
        hidden_dim: PositiveInt | None = None  # the paper's 4096 on 2048 features, as in lightly
        output_dim: PositiveInt = 256  # likewise

    def __init__(self, config: Config, encoder: nn.Module, task: Task) -> None:
        super().__init__(config, encoder, task)
        self.head = TiCoProjectionHead(task.feature_dim, config.hidden_dim or 2 * task.feature_dim, config.output_dim)
        self.teacher = Teacher(encoder, self.head)
        self.criterion = TiCoLoss(beta=config.memory, rho=config.contrast)
        del self.criterion.C  # a plain attribute, which no state dict holds
        self.criterion.register_buffer("C", torch.zeros(config.output_dim, config.output_dim))

    def loss(self, batch: Batch, encode: Encode) -> Tensor:
        """Return the loss of the first view against the second; the moving second moment takes a step."""
        first, second = batch.views
        (features,) = encode([first])
        (target,) = self.teacher([second], encode)  # (N, D)
        loss: Tensor = self.criterion(self.head(features), target)
        return loss

    def after_step(self, step: int, total_steps: int) -> None:
        """Let the teacher follow."""
        self.teacher.update(cosine_momentum(step, total_steps, self.config.momentum))
