"""Gaussian blur of batches of views, each with its own width: a separable convolution with reflection at the border.

Source of the operation: Chen et al. 2020, SimCLR, arXiv 2002.05709, appendix A.

Shapes in this file: M views, C channels, H x W pixels, R radius of the widest kernel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from medssl.contracts import Augmentation
from medssl.data.views.operation import Bools, Floats, Ints, Operation, Parameters, Piece, Scene

__all__ = ["Blur", "blur", "blur_range", "kernels", "radius"]

_REFERENCE_SIDE = 224  # side in pixels of the view for which Augmentation.blur_sigma is given
_CUT = 4.29  # half width of a kernel in standard deviations; beyond it, weights are below 1e-4 of the centre


@dataclass(frozen=True)
class Blur(Operation):
    """Draws ``sigma``: ``(M,)`` standard deviations in pixels of the view; 0: none. The weights are a view's kernel.

    Attributes:
        probability: Of a blur.
        low: Smallest standard deviation in pixels.
        high: Largest one.
        reach: R.
    """

    fields = ("blur", "blur_sigma")
    switch = "blur"
    columns = slice(33, 35)

    probability: float
    low: float
    high: float
    reach: int

    @classmethod
    def of(cls, augmentation: Augmentation, scene: Scene) -> Self | None:
        """Read it from a recipe."""
        if augmentation.blur == 0:
            return None
        low, high = blur_range(augmentation, scene.size)
        return cls(augmentation.blur, low, high, radius(high, scene.size))

    def draw(self, u: Floats, places: Ints) -> Parameters:
        """Draw standard deviations."""
        return {"sigma": np.where(u[0] < self.probability, self.low + u[1] * (self.high - self.low), 0.0)}

    def table(self, parameters: Parameters) -> NDArray[Any]:
        """Return the kernels ``(2 R + 1, M)``."""
        return kernels(parameters["sigma"], self.reach).T

    def neutral(self) -> Floats:
        """Return the kernel that changes nothing."""
        return np.asarray(np.eye(1, 2 * self.reach + 1, self.reach)[0])

    def needed(self, parameters: Parameters) -> Bools:
        """Return which views are blurred, so that the others skip the convolution."""
        return np.asarray(parameters["sigma"] > 0)

    def apply(self, x: Tensor, piece: Piece) -> Tensor:
        """Blur with the part of the kernels that is not zero for all views."""
        steps = np.flatnonzero(piece.busy)
        return blur(x, piece.table[int(steps[0]) : int(steps[-1]) + 1].T) if len(steps) > 1 else x


def blur_range(augmentation: Augmentation, size: int) -> tuple[float, float]:
    """Return the smallest and largest standard deviation of the blur in pixels of a view of this size."""
    low, high = augmentation.blur_sigma
    return low * size / _REFERENCE_SIDE, high * size / _REFERENCE_SIDE


def radius(sigma: float, side: int) -> int:
    """Return the radius in pixels of a kernel for this standard deviation, at most what a reflection allows."""
    return min(max(1, math.floor(_CUT * sigma)), side - 1)


def kernels(sigma: NDArray[np.float64], reach: int) -> NDArray[np.float32]:
    """Return one Gaussian kernel for each view.

    Args:
        sigma: ``(M,)`` standard deviations in pixels; 0 gives the kernel that changes nothing.
        reach: R.

    Returns:
        ``(M, 2 R + 1)``; each kernel sums to one, and is zero beyond its own radius, for every R.
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
    planes = x.transpose(0, 1)  # (C, M, H, W): contiguous, as the engine stores them
    down = pass_along(F.pad(planes, (0, 0, reach, reach), mode="reflect"), weights, 2)
    return pass_along(F.pad(down, (reach, reach, 0, 0), mode="reflect"), weights, 3).transpose(0, 1)


def _convolution(padded: Tensor, weights: Tensor, axis: int) -> Tensor:
    """Convolve padded planes ``(C, M, h, w)`` along one axis, every plane as a separate group."""
    kernel = weights.repeat(len(padded), 1)[:, None, None].movedim(3, axis)  # (C M, 1, 2 R + 1, 1) or (.., 1, 2 R + 1)
    out = F.conv2d(padded.flatten(0, 1)[None], kernel, groups=len(kernel))
    return out.view(*padded.shape[:2], *out.shape[2:])


def _sum_of_shifts(padded: Tensor, weights: Tensor, axis: int) -> Tensor:
    """Do the same as a sum of shifted images: faster on a CPU for such small kernels, without a start-up cost."""
    reach = weights.shape[1] // 2
    size = padded.shape[axis] - 2 * reach
    half = weights[:, reach:, None, None]  # (M, R + 1, 1, 1)
    result = padded.narrow(axis, reach, size) * half[:, 0]
    for step in range(1, reach + 1):
        pair = padded.narrow(axis, reach - step, size) + padded.narrow(axis, reach + step, size)
        result.addcmul_(pair, half[:, step])
    return result
