"""Gaussian blur of batches of views, each with a width of its own: a separable convolution, reflected at the border.

Shapes in this file: M views, C channels, H x W pixels, R radius of the widest kernel.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

__all__ = ["blur", "kernels", "radius"]

_CUT = 4.29  # standard deviations within which a kernel lies: what is beyond weighs less than 1e-4 of the centre


def radius(sigma: float, side: int) -> int:
    """Return the radius in pixels of a kernel for this standard deviation, at most what a reflection allows."""
    return min(max(1, math.floor(_CUT * sigma)), side - 1)


def kernels(sigma: NDArray[np.float64], reach: int) -> NDArray[np.float32]:
    """Return one Gaussian kernel for each view.

    Args:
        sigma: ``(M,)`` standard deviations in pixels; 0 gives the kernel that changes nothing.
        reach: R.

    Returns:
        ``(M, 2 R + 1)``; each kernel sums to one, and is zero beyond its own radius, whatever R.
    """
    steps = np.abs(np.arange(-reach, reach + 1))
    spread = np.maximum(sigma, 1e-3)[:, None]
    weights = np.where(steps <= _CUT * spread, np.exp(-0.5 * (steps / spread) ** 2), 0.0)
    normal: NDArray[np.float64] = weights / weights.sum(1, keepdims=True)
    return normal.astype(np.float32)


def blur(x: Tensor, weights: Tensor) -> Tensor:
    """Blur each image with its own kernel along both axes.

    Args:
        x: ``(M, C, H, W)`` floating point, in any memory layout; R < H and R < W.
        weights: ``(M, 2 R + 1)``, symmetric, see :func:`kernels`.

    Returns:
        A new tensor ``(M, C, H, W)``.
    """
    pass_along = _sum_of_shifts if x.device.type == "cpu" else _convolution
    reach = weights.shape[1] // 2
    planes = x.transpose(0, 1)  # (C, M, H, W): contiguous as the renderer keeps them
    down = pass_along(F.pad(planes, (0, 0, reach, reach), mode="reflect"), weights, 2)
    return pass_along(F.pad(down, (reach, reach, 0, 0), mode="reflect"), weights, 3).transpose(0, 1)


def _convolution(padded: Tensor, weights: Tensor, axis: int) -> Tensor:
    """Convolve padded planes ``(C, M, h, w)`` along one axis, every plane as a group of its own."""
    kernel = weights.repeat(len(padded), 1)[:, None, None].movedim(3, axis)  # (C M, 1, 2 R + 1, 1) or (.., 1, 2 R + 1)
    out = F.conv2d(padded.flatten(0, 1)[None], kernel, groups=len(kernel))
    return out.view(*padded.shape[:2], *out.shape[2:])


def _sum_of_shifts(padded: Tensor, weights: Tensor, axis: int) -> Tensor:
    """Do the same as a sum of shifted copies: on a CPU faster for such small kernels, and without a start-up cost."""
    reach = weights.shape[1] // 2
    size = padded.shape[axis] - 2 * reach
    half = weights[:, reach:, None, None]  # (M, R + 1, 1, 1)
    result = padded.narrow(axis, reach, size) * half[:, 0]
    for step in range(1, reach + 1):
        pair = padded.narrow(axis, reach - step, size) + padded.narrow(axis, reach + step, size)
        result.addcmul_(pair, half[:, step])
    return result
