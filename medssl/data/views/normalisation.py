"""Normalisation of views: each channel's mean subtracted, divided by its deviation.

Shapes in this file: M views, C channels, S side of a view.
"""

from __future__ import annotations

import torch
from torch import Tensor

from medssl.contracts import Preprocessing

__all__ = ["input_channels", "normalise", "statistics"]


def input_channels(channels: int) -> int:
    """Return the number of channels of a view: grey images become three equal channels, others stay as they are."""
    return 3 if channels == 1 else channels


def statistics(preprocessing: Preprocessing, device: torch.device, channels: int = 3) -> tuple[Tensor, Tensor]:
    """Return what :func:`normalise` multiplies by and what it subtracts, each ``(C, 1, 1)``.

    Args:
        preprocessing: How the encoder expects images.
        device: Where to put them.
        channels: C of the views. If it is not 3, each channel uses the mean of the three values.
    """
    mean, deviation = (
        torch.tensor(value if channels == 3 else [sum(value) / 3] * channels, dtype=torch.float64)[:, None, None]
        for value in (preprocessing.mean, preprocessing.std)
    )
    return (1 / deviation).float().to(device), (mean / deviation).float().to(device)


def normalise(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Subtract each channel's mean and divide by its deviation; one channel becomes three, others stay as they are.

    Args:
        x: ``(M, C, S, S)`` in [0, 1]; changed in place unless it has one channel.
        scale: See :func:`statistics`.
        shift: Likewise.
    """
    if x.shape[1] == len(scale):
        return x.mul_(scale).sub_(shift)
    planes = x.transpose(0, 1)  # (1, M, S, S): becomes (3, M, S, S) in one piece
    return (planes * scale[:, None]).sub_(shift[:, None]).transpose(0, 1)
