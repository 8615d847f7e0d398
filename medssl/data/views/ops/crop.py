"""The crop: a random box of the image, by torchvision's rule (RandomResizedCrop).

Shapes in this file: M views, N images, P uniform numbers for each view.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from medssl.contracts import Augmentation
from medssl.data.views.operation import Floats, Ints, Operation, Parameters, Scene

__all__ = ["Crop", "crop_boxes", "placement"]

_TRIES = 10  # as in torchvision's RandomResizedCrop, which draws them one by one
_AREA, _RATIO = slice(0, _TRIES), slice(_TRIES, 2 * _TRIES)
_TOP, _LEFT = range(2 * _TRIES, 2 * _TRIES + 2)


@dataclass(frozen=True)
class Crop(Operation):
    """Every view is a crop; its pixels are resampled in :mod:`medssl.data.views.crops`.

    Draws ``top``, ``left``, ``height`` and ``width``, each ``(M,)`` int64, in whole pixels of the image: rows ``top``
    to ``top + height - 1``, columns likewise.

    Attributes:
        shapes: ``(N, 2)`` heights and widths of the images in pixels.
        scale: Range of the crop's area as a fraction of the image's.
        ratio: Range of the crop's width over its height.
    """

    fields = ("crop_scale", "crop_ratio")
    columns = slice(0, 22)

    shapes: Ints
    scale: tuple[float, float]
    ratio: tuple[float, float]

    @classmethod
    def of(cls, augmentation: Augmentation, scene: Scene) -> Self:
        """Read it from a recipe."""
        return cls(scene.pixels.shapes, augmentation.crop_scale, augmentation.crop_ratio)

    def draw(self, u: Floats, places: Ints) -> Parameters:
        """Draw a box in each view's image."""
        return crop_boxes(u.T, self.shapes[places], self.scale, self.ratio)


def crop_boxes(uniforms: Floats, shapes: Ints, scale: Sequence[float], ratio: Sequence[float]) -> Parameters:
    """Draw random crops by torchvision's rule, without a loop.

    Ten pairs of area (uniform) and aspect ratio (log-uniform) are drawn at once. The first pair that fits into the
    image is used. If none fits, the crop is the largest centred one whose ratio is in the range. A crop is always
    inside the image.

    Args:
        uniforms: ``(M, P)`` in [0, 1).
        shapes: ``(M, 2)`` heights and widths of the images in pixels.
        scale: Range of the crop's area as a fraction of the image's.
        ratio: Range of the crop's width over its height.

    Returns:
        The parameters of :class:`Crop`.
    """
    height, width = shapes.T
    area = (height * width)[:, None] * (scale[0] + uniforms[:, _AREA] * (scale[1] - scale[0]))  # (M, tries)
    shape = np.exp(np.log(ratio[0]) + uniforms[:, _RATIO] * (np.log(ratio[1]) - np.log(ratio[0])))
    widths = np.rint(np.sqrt(area * shape)).astype(np.int64)
    heights = np.rint(np.sqrt(area / shape)).astype(np.int64)
    fits = (widths > 0) & (widths <= width[:, None]) & (heights > 0) & (heights <= height[:, None])
    first = fits.argmax(1)[:, None]
    fallback_height, fallback_width = _largest(height, width, ratio)
    found = fits.any(1)
    box_height = np.where(found, np.take_along_axis(heights, first, 1)[:, 0], fallback_height)
    box_width = np.where(found, np.take_along_axis(widths, first, 1)[:, 0], fallback_width)
    free_rows, free_columns = height - box_height, width - box_width
    top = np.where(found, np.floor(uniforms[:, _TOP] * (free_rows + 1)), free_rows // 2)
    left = np.where(found, np.floor(uniforms[:, _LEFT] * (free_columns + 1)), free_columns // 2)
    return {"top": top.astype(np.int64), "left": left.astype(np.int64), "height": box_height, "width": box_width}


def _largest(height: Ints, width: Ints, ratio: Sequence[float]) -> tuple[Ints, Ints]:
    """Return heights and widths of the largest crops that keep the ratio in its range."""
    too_tall, too_wide = width / height < ratio[0], width / height > ratio[1]
    rows = np.where(too_tall, np.rint(width / ratio[0]), height).astype(np.int64)
    columns = np.where(too_wide, np.rint(height * ratio[1]), width).astype(np.int64)
    return np.clip(rows, 1, height), np.clip(columns, 1, width)


def placement(parameters: Parameters, shapes: Ints) -> Floats:
    """Return the maps ``(M, 2, 3)`` from a crop's (x, y, 1) to its image's (x, y).

    Args:
        parameters: Of the views.
        shapes: ``(M, 2)`` heights and widths of their images in pixels.
    """
    top, left, tall, wide = (parameters[name] for name in ("top", "left", "height", "width"))
    height, width = shapes.T
    scale_x, scale_y = wide / width, tall / height
    shift_x, shift_y = scale_x + 2 * left / width - 1, scale_y + 2 * top / height - 1
    nothing = np.zeros_like(scale_x)
    rows = [[scale_x, nothing, shift_x], [nothing, scale_y, shift_y]]
    return np.moveaxis(np.array(rows), 2, 0)
