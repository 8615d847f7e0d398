"""Resamples the part of each image that a view shows: image by image, or a whole batch at once.

A box is the area that a crop shows. A region is the rectangle of pixels that is read for it; it contains the box. The
word window is only used for grey levels.

Shapes in this file: M views, C channels, S side of a view in pixels.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from medssl.data.views.operation import Bools, Floats, Ints, Parameters
from medssl.data.views.pixels import Pixels, grey_levels, to_device
from medssl.data.views.resample import Span, filter_weights, resample, resize_into

__all__ = ["centres_at_once", "centres_one_by_one", "crops_at_once", "crops_one_by_one", "planes"]

_REGION_STEP = 32  # region sizes are multiples of this, so that memory can be reused between batches
_MOST = 2**27  # numbers in the regions of one batched step: half a gigabyte


# ------------------------------------------------------------------------------------------------------ random crops


def crops_one_by_one(pixels: Pixels, places: Ints, parameters: Parameters, size: int) -> Tensor:
    """Resample crops in the host's memory, without turning or mirroring.

    Args:
        pixels: The part's images.
        places: ``(M,)`` the image of each view.
        parameters: The crop of each view.
        size: S.

    Returns:
        ``(M, C, S, S)`` uint8, or float32 for a uint16 store; in grey levels, in any memory layout.
    """
    top, left, height, width = _boxes(parameters)
    crops = _empty(pixels, len(places), (size, size))
    pitch = pixels.shapes[places, 1]
    corner = pixels.first[places] + top * pitch + left
    plan = np.stack([corner, pitch, height, width], 1).tolist()
    for (first, step, tall, wide), out in zip(plan, crops[:, None].unbind(), strict=True):
        _resize(pixels, first, step, tall, wide, out)
    return crops


def crops_at_once(pixels: Pixels, places: Ints, parameters: Parameters, size: int) -> Tensor:
    """Resample crops on the device, a batch at once, and turn and mirror them: ``(M, C, S, S)`` float32 grey levels."""
    top, left, height, width = _boxes(parameters)
    if pixels.uniform:  # whole images are copied in one piece, and the largest crop is nearly as large
        first_row = first_column = np.zeros_like(top)
        region = pixels.largest
    else:
        first_row, first_column = top, left
        rows, columns = (-(-int(n.max()) // _REGION_STEP) * _REGION_STEP for n in (height, width))
        region = rows, columns
    tall = _span(top - first_row, height, parameters["upend"])
    wide = _span(left - first_column, width, parameters["mirror"])
    crops = _resample(pixels, places, first_row, first_column, tall, wide, size, region)
    if not parameters["transpose"].any():  # known on the host, so nothing is read back
        return crops
    swap = to_device(parameters["transpose"], pixels.device)[:, None, None, None]
    return torch.where(swap, crops.transpose(2, 3), crops)


def planes(crops: Tensor) -> Tensor:
    """Copy crops ``(M, C, S, S)`` in grey levels to float32, with each channel of the batch contiguous."""
    copied = crops.transpose(0, 1).to(torch.float32, memory_format=torch.contiguous_format, copy=True)
    return copied.transpose(0, 1)


def _boxes(parameters: Parameters) -> tuple[Ints, Ints, Ints, Ints]:
    return parameters["top"], parameters["left"], parameters["height"], parameters["width"]


def _span(start: Ints, length: Ints, backwards: Bools) -> Floats:
    """Return ``(5, M)`` rows of a :class:`Span` whose filter uses only pixels of the crop."""
    return np.stack([start, length, start, start + length, backwards]).astype(np.float64)


# ----------------------------------------------------------------------------------------------------- centre crops


def centres_one_by_one(
    pixels: Pixels, places: Ints, size: int, short: int | None = None, *, bicubic: bool = False, squash: bool = False
) -> Tensor:
    """Resize whole images and cut out the centre; returns as :func:`crops_one_by_one`.

    Args:
        pixels: The part's images.
        places: ``(M,)`` the image of each view.
        size: S.
        short: Length of the short side after resizing; ``None``: S.
        bicubic: Whether the filter is bicubic instead of bilinear.
        squash: Whether the long side is resized to the same length.
    """
    crops = _empty(pixels, len(places), (size, size))
    shapes = pixels.shapes[places]
    resized = _resized(shapes, short or size, squash)
    plan = np.concatenate([pixels.first[places, None], shapes, resized, _corner(resized, size)], 1).tolist()
    for i, (first, height, width, tall, wide, top, left) in enumerate(plan):
        whole = _empty(pixels, 1, (tall, wide))
        _resize(pixels, first, width, height, width, whole, bicubic=bicubic)
        crops[i] = whole[0, :, top : top + size, left : left + size]
    return crops


def centres_at_once(
    pixels: Pixels, places: Ints, size: int, short: int | None = None, *, bicubic: bool = False, squash: bool = False
) -> Tensor:
    """Same as :func:`centres_one_by_one`, on the device: ``(M, C, S, S)`` float32 grey levels."""
    shapes = pixels.shapes[places]
    resized = _resized(shapes, short or size, squash)
    scale = shapes / resized
    start, extent, low = _corner(resized, size) * scale, size * scale, np.zeros_like(scale)
    tall, wide = np.stack([start, extent, low, shapes, low]).transpose(2, 0, 1)  # each (5, M)
    corner = np.zeros_like(places)
    return _resample(pixels, places, corner, corner, tall, wide, size, pixels.largest, bicubic=bicubic)


def _resized(shapes: Ints, size: int, squash: bool) -> Ints:
    """Return ``(M, 2)`` heights and widths after the short side is resized to S; the long side is rounded down."""
    resized: Ints = size * shapes // (shapes if squash else shapes.min(1, keepdims=True))
    return resized


def _corner(resized: Ints, size: int) -> Ints:
    """Return ``(M, 2)`` row and column of the upper left corner of the centre."""
    corner: Floats = np.rint((resized - size) / 2)
    return corner.astype(np.int64)


# ----------------------------------------------------------------------------------------------------------- shared


def _empty(pixels: Pixels, count: int, shape: tuple[int, int]) -> Tensor:
    """Return ``(count, C, *shape)``: uint8 as torch's kernel wants it (channels last), or float32 for uint16."""
    if pixels.fine:
        return torch.empty((count, pixels.channels, *shape))
    return torch.empty((count, *shape, pixels.channels), dtype=torch.uint8).permute(0, 3, 1, 2)


def _resize(
    pixels: Pixels, corner: int, pitch: int, height: int, width: int, out: Tensor, *, bicubic: bool = False
) -> None:
    """Resize one box into ``(1, C, H, W)``.

    Args:
        pixels: The part's images.
        corner: Position in their pool of the pixel at the box's upper left corner.
        pitch: Width of its image.
        height: Rows of the box.
        width: Its columns.
        out: Destination.
        bicubic: Whether the filter is bicubic instead of bilinear.
    """
    channels = pixels.channels
    strides = 1, 1, pitch * channels, channels
    source = pixels.pool.as_strided((1, channels, height, width), strides, corner * channels)
    resize_into(grey_levels(source) if pixels.fine else source, out, bicubic=bicubic)


def _resample(
    pixels: Pixels,
    places: Ints,
    top: Ints,
    left: Ints,
    tall: Floats,
    wide: Floats,
    size: int,
    region: tuple[int, int],
    *,
    bicubic: bool = False,
) -> Tensor:
    """Resample spans ``(5, M)`` over regions; each view has its own corner.

    Grey levels are rounded as PIL and torch's uint8 kernel round them, if the store holds uint8.
    """
    spans = to_device(np.concatenate([tall, wide]).astype(np.float32), pixels.device)
    step = max(1, _MOST // (region[0] * region[1] * pixels.channels))
    parts = []
    for start in range(0, len(places), step):
        part = slice(start, start + step)
        rows = filter_weights(Span(*spans[:5, part]), size, region[0], bicubic=bicubic)
        columns = filter_weights(Span(*spans[5:, part]), size, region[1], bicubic=bicubic)
        parts.append(resample(pixels.regions(places[part], top[part], left[part], region), rows, columns))
    crops = torch.cat(parts) if len(parts) > 1 else parts[0]
    if pixels.fine:
        return crops
    return crops.round_().clamp_(0, 255) if bicubic else crops.round_()
