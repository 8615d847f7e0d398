"""DINO: a student predicts, from every view, how a momentum teacher assigns the full views to prototypes; no negatives.

Caron et al., Emerging Properties in Self-Supervised Vision Transformers, ICCV 2021, arXiv 2104.14294, equations 1 to 4.
The teacher is a moving average of the student and sees only the full views. Only the processing of its output prevents
collapse (sec. 5.3): a running centre is subtracted, so that no prototype dominates, and a low temperature sharpens the
output, so that it does not become uniform.

It uses lightly's ``DINOLoss``, including the centre. lightly's ``DINOProjectionHead`` is not used, because PyTorch
cannot copy its weight normalisation for the teacher. Our head computes the same function, with prototypes of unit
length. As in the authors' code, the prototypes are frozen at first. If the loss does not fall, a higher
``frozen_start`` helps most.

Each view passes through the head separately, so a BatchNorm in it has the statistics of one view, in both networks. The
paper's two full views differ in blur and solarisation. Ours do not, because the augmentation recipe decides what suits
an image. Small views have half the side of full ones; the paper's ratio of 96 to 224 px would give views smaller than a
ResNet's stride on small images.

N samples, V views, K prototypes, F features.
"""

from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge
from lightly.loss.dino_loss import DINOLoss
from lightly.models.modules.heads import ProjectionHead
from torch import Tensor, nn
from torch.nn import functional as F

from medssl.contracts import Batch, Encode, Fraction, Method, Positive, PositiveInt, Task, ViewGroup, ViewSpec
from medssl.tools import Teacher, cosine_momentum

__all__ = ["DINO", "Head"]

_FULL = 2  # number of views that the teacher sees (DINO sec. 3.1)


class Head(nn.Module):
    """Three layers, normalisation to unit length, and the cosine to each prototype: ``(N, F)`` to ``(N, K)``."""

    def __init__(self, feature_dim: int, hidden: int, bottleneck: int, prototypes: int, *, batch_norm: bool) -> None:
        super().__init__()
        widths = [(feature_dim, hidden), (hidden, hidden)]
        layers = [(*sizes, nn.BatchNorm1d(hidden) if batch_norm else None, nn.GELU()) for sizes in widths]
        self.mlp = ProjectionHead([*layers, (hidden, bottleneck, None, None)])
        for layer in self.mlp.modules():
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)  # the authors' code
        self.prototypes = nn.Parameter(torch.randn(prototypes, bottleneck))

    def forward(self, features: Tensor) -> Tensor:
        """Return the cosines ``(N, K)``."""
        return F.normalize(self.mlp(features), dim=1) @ F.normalize(self.prototypes, dim=1).T


class DINO(Method):
    """DINO: two full and several small views, a head with prototypes, and a teacher with centring and sharpening."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            student_temperature: Divisor of the student's cosines.
            teacher_temperature: Divisor of the teacher's cosines, after the warm-up.
            warmup_temperature: Divisor of the teacher's cosines at the first step; it rises linearly.
            warmup: Fraction of the run in which it rises.
            momentum: Momentum of the teacher after the first step; it rises to 1 along half a cosine.
            center_momentum: Momentum of the running centre.
            frozen_start: Fraction of the run in which the prototypes keep their initial values.
            small_views: Number of small views in addition to the two full ones; 0 for none.
            small_side: Side of a small view as a fraction of the side of a full view.
            prototypes: K, number of prototypes.
            hidden_dim: Width of the head's hidden layers; ``None``: four times the encoder's features, 2048 at most.
            bottleneck_dim: Dimension of the prototypes.
            batch_norm: Whether the head has BatchNorm; ``None``: if the encoder has it.
        """

        student_temperature: Positive = 0.1  # DINO sec. 3.2
        teacher_temperature: Positive = 0.07  # DINO sec. 3.2
        warmup_temperature: Positive = 0.04  # DINO sec. 3.2
        warmup: Fraction = 0.1  # DINO sec. 3.2: 30 epochs, of the 300 of its main runs
        momentum: Fraction = 0.996  # DINO sec. 3.1
        center_momentum: Fraction = 0.9  # the authors' code
        frozen_start: Fraction = 0.01  # the authors' code: 1 of 100 epochs
        small_views: Annotated[int, Ge(0)] = 8  # the authors' code
        small_side: Positive = 0.5  # lightly's benchmarks on small data; 0.43 in the paper
        prototypes: PositiveInt = 2048  # lightly's benchmarks on small data; 65536 in the paper
        hidden_dim: PositiveInt | None = None  # DINO sec. 3.1: 2048, on 384 to 2048 features
        bottleneck_dim: PositiveInt = 256  # the authors' code
        batch_norm: bool | None = None  # DINO sec. 3.1: no BatchNorm if the encoder is a transformer

    def __init__(self, config: Config, encoder: nn.Module, task: Task) -> None:
        super().__init__(config, encoder, task)
        full = ViewGroup(count=_FULL, augment={"crop_scale": (0.4, 1.0)})  # the authors' code
        small = ViewGroup(count=config.small_views, scale=config.small_side, augment={"crop_scale": (0.05, 0.4)})
        self.views = ViewSpec((full, small) if config.small_views else (full,))
        batch_norm = config.batch_norm
        if batch_norm is None:
            batch_norm = any(isinstance(layer, nn.BatchNorm2d | nn.BatchNorm1d) for layer in encoder.modules())
        hidden = config.hidden_dim or min(2048, 4 * task.feature_dim)
        self.head = Head(task.feature_dim, hidden, config.bottleneck_dim, config.prototypes, batch_norm=batch_norm)
        self.teacher = Teacher(encoder, self.head)
        self.criterion = DINOLoss(
            config.prototypes, student_temp=config.student_temperature, center_momentum=config.center_momentum
        )
        self._thawed = round(config.frozen_start * task.total_steps)  # steps
        self._warm = max(1, round(config.warmup * task.total_steps))  # steps

    def loss(self, batch: Batch, encode: Encode) -> Tensor:
        """Return the mean cross-entropy over all pairs of a full view and another view, and update the centre."""
        self.head.prototypes.requires_grad_(batch.step >= self._thawed)
        targets = self.teacher(batch.views[:_FULL], encode)  # (N, K) each
        answers = [self.head(features) for features in encode(batch.views)]  # (N, K) each
        start, end = self.config.warmup_temperature, self.config.teacher_temperature
        temperature = start + (end - start) * min(1.0, batch.step / self._warm)
        loss: Tensor = self.criterion(list(targets), answers, teacher_temp=temperature)
        return loss

    def after_step(self, step: int, total_steps: int) -> None:
        """Update the teacher."""
        self.teacher.update(cosine_momentum(step, total_steps, self.config.momentum))
