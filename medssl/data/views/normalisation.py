"""Normalisation of views: each channel's mean subtracted, divided by its deviation.

Shapes in this file: M views, C channels, S side of a view.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

__all__ = ["Normalisation", "normalise", "statistics"]

Normalisation = Literal["imagenet", "half"]

_STATISTICS = {"imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)), "half": ((0.5,) * 3, (0.5,) * 3)}


def statistics(normalisation: Normalisation, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return what :func:`normalise` multiplies by and what it subtracts, each ``(3, 1, 1)``."""
    mean, deviation = (torch.tensor(value, dtype=torch.float64)[:, None, None] for value in _STATISTICS[normalisation])
    return (1 / deviation).float().to(device), (mean / deviation).float().to(device)


def normalise(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Return ``(M, 3, S, S)``: each channel's mean subtracted, divided by its deviation; one channel becomes three.

    Args:
        x: ``(M, C, S, S)`` in [0, 1]; changed in place when it has three channels.
        scale: See :func:`statistics`.
        shift: Likewise.
    """
    if x.shape[1] == 3:
        return x.mul_(scale).sub_(shift)
    planes = x.transpose(0, 1)  # (1, M, S, S): becomes (3, M, S, S) in one piece
    return (planes * scale[:, None]).sub_(shift[:, None]).transpose(0, 1)
