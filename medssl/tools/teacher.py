"""A momentum teacher: copies of the student's modules, updated as a moving average and never trained.

It is shared by the methods whose targets come from a moving average of the network in training (MoCo, He et al., CVPR
2020, arXiv 1911.05722, equation 2; BYOL, Grill et al., NeurIPS 2020, arXiv 2006.07733, equation 1).

N samples, D dimensions of the embedding.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

import torch
from lightly.models.utils import update_momentum
from torch import Tensor, nn

from medssl.contracts import Encode

__all__ = ["Teacher", "cosine_momentum"]


class Teacher(nn.Module):
    """A copy of an encoder and of the heads on it, without gradients; the method calls :meth:`update` after each step.

    In training, its BatchNorm layers use the statistics of their current batch and keep their own running statistics,
    as in the authors' code of MoCo, BYOL and DINO: only weights are averaged.

    The teacher only refers to the student's modules; its state dict contains only the copies.

    Attributes:
        encoder: The copy of the encoder.
        heads: The copies of the heads, applied in their order.

    Args:
        encoder: The student's encoder.
        heads: The student's heads, in the order in which they are applied.
    """

    def __init__(self, encoder: nn.Module, *heads: nn.Module) -> None:
        super().__init__()
        self._students = (encoder, *heads)  # a tuple keeps torch from registering the modules
        self.encoder = copy.deepcopy(encoder)
        self.heads = nn.Sequential(*(copy.deepcopy(head) for head in heads))
        self.requires_grad_(False)

    @torch.no_grad()
    def forward(self, views: Sequence[Tensor], encode: Encode) -> tuple[Tensor, ...]:
        """Embed each view ``(N, C, H, W)`` into ``(N, D)`` float32 without gradient; each has separate statistics."""
        return tuple(self.heads(features) for features in encode(views, self.encoder))

    def update(self, momentum: float) -> None:
        """Update every weight: ``momentum`` times its own value plus ``1 - momentum`` times the student's."""
        for student, teacher in zip(self._students, (self.encoder, *self.heads), strict=True):
            update_momentum(student, teacher, momentum)


def cosine_momentum(step: int, total_steps: int, start: float) -> float:
    """Return the momentum after one step; it rises from ``start`` along half a cosine.

    Args:
        step: Number of the step, from 1, as in ``Method.after_step``.
        total_steps: Steps of the whole run; 1 would be reached in the step after the last.
        start: Momentum after the first step, in [0, 1].

    Source: BYOL, arXiv 2006.07733, section 3.3.
    """
    return 1 - (1 - start) * (math.cos(math.pi * (step - 1) / total_steps) + 1) / 2
