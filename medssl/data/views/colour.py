"""Mixes of an image with its mean brightness and its grey version, used by several colour operations.

Images are ``(M, C, H, W)`` float32 in [0, 1], in any memory layout. They are fastest if each channel of the
whole batch is contiguous (``C, M, H, W`` in memory). Functions whose name ends in ``_`` change the images in place, as
in torch. No operation reads a value back from the device or depends on the rest of the batch.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["luma", "mean_over_pixels", "mix_"]

_LUMA = 0.299, 0.587, 0.114  # ITU-R BT.601, as PIL's mode L


def luma(x: Tensor) -> Tensor:
    """Return the perceived brightness, a new tensor ``(M, H, W)``; for other than three channels, their mean."""
    if x.shape[1] == 1:
        return x[:, 0].clone()
    if x.shape[1] != 3:
        return x.mean(1)
    red, green, blue = x.unbind(1)
    return (red * _LUMA[0]).add_(green, alpha=_LUMA[1]).add_(blue, alpha=_LUMA[2])


def mean_over_pixels(grey: Tensor) -> Tensor:
    """Return the mean of each image ``(M, H, W)``, as ``(M, 1, 1)``."""
    # Summed in parts first: torch splits a single sum among threads, and the last bits of a single image
    # would then differ from those of the same image in a batch.
    pixels = grey[0].numel()
    parts = grey.reshape(len(grey), 2 if pixels % 2 == 0 else grey.shape[1], -1)
    return parts.sum(2).sum(1).div_(pixels).view(-1, 1, 1)


def mix_(x: Tensor, own: Tensor, of_mean: Tensor | None = None, of_luma: Tensor | None = None) -> Tensor:
    """Mix each image with its mean brightness and with its grey version, then clip to [0, 1].

    Brightness by a factor f is the mix (f, 0, 0), contrast (f, 1 - f, 0), saturation (f, 0, 1 - f), greyscale
    (0, 0, 1); (1, 0, 0) changes nothing. So one call handles a batch whose samples need different operations.

    Args:
        x: Images.
        own: ``(M,)`` weight of the image itself.
        of_mean: ``(M,)`` weight of the mean of its brightness; ``None``: not used.
        of_luma: ``(M,)`` weight of its brightness, pixel by pixel; ``None``: not used.
    """
    if of_mean is None and of_luma is None:
        return x.mul_(own.view(-1, 1, 1, 1)).clamp_(0, 1)
    other = luma(x)
    mean = None if of_mean is None else mean_over_pixels(other) * of_mean.view(-1, 1, 1)
    if of_luma is not None:
        other.mul_(of_luma.view(-1, 1, 1))
        other = other if mean is None else other.add_(mean)
    elif mean is not None:
        other.copy_(mean)
    # always one fused step, so the last bits of a view do not depend on the rest of the batch
    return torch.addcmul(other.unsqueeze(1), x, own.view(-1, 1, 1, 1), out=x).clamp_(0, 1)
