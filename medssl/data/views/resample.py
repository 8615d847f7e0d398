"""Crops of images, resized with an antialiased filter, PIL's bilinear or bicubic: torchvision's ``antialias=True``.

Two functions give the same result. :func:`resize_into` resizes image by image with torch's vectorised kernel, which is
fastest on a CPU except for tiny images. :func:`resample` processes a whole batch, each view with its own box, as two
batched matrix products. It is faster on a GPU, where one call per image costs more than the computation, and for tiny
images.

Shapes in this file: M views, C channels, S side of a view, A pixels in a pool of images.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

__all__ = ["Span", "cut_regions", "filter_weights", "resample", "resize_into"]

#: The kernel of torch.nn.functional.interpolate, which can write into a given tensor: half the time for small images.
_resize: Any = torch._C._nn._upsample_bilinear2d_aa
_resize_bicubic: Any = torch._C._nn._upsample_bicubic2d_aa
_SHARPNESS = -0.5  # of the cubic filter: PIL's, and torch's with antialiasing


def resize_into(image: Tensor, out: Tensor, *, bicubic: bool = False) -> None:
    """Resize one image to the size of ``out``.

    Args:
        image: ``(1, C, h, w)`` uint8 or float32, channels last in memory for speed.
        out: ``(1, C, H, W)`` of the same type.
        bicubic: Whether the filter is bicubic instead of bilinear; then values may leave the image's range.
    """
    resize = _resize_bicubic if bicubic else _resize
    resize(image, out.shape[2:], False, None, None, out=out)


@dataclass(frozen=True, slots=True)
class Span:
    """The range of M views along one axis of their images, in source pixels; each ``(M,)`` float32.

    Attributes:
        start: Start of the view; may be between two pixels.
        extent: Length of the view.
        low: First pixel that the filter may use.
        high: One after the last pixel that the filter may use.
        backwards: 1 where the axis is reversed, else 0.
    """

    start: Tensor
    extent: Tensor
    low: Tensor
    high: Tensor
    backwards: Tensor


def filter_weights(span: Span, size: int, region: int, *, bicubic: bool = False) -> Tensor:
    """Return the triangle or cubic filter of each output pixel over a region of source pixels.

    On either side, the triangle is one source pixel wide for enlarging and one output pixel wide for shrinking, and
    the cubic filter (Keys 1981, doi 10.1109/TASSP.1981.1163711) twice as wide. The
    weights sum to one over the pixels that it may use.

    Args:
        span: The part of the source axis, counted from the region's first pixel.
        size: Output pixels along this axis.
        region: Source pixels in the region.
        bicubic: Whether the filter is cubic.

    Returns:
        ``(M, size, region)`` float32.
    """
    device = span.start.device
    scale = span.extent / size
    step = torch.arange(size, device=device) + 0.5
    step = step + span.backwards[:, None] * (size - 2 * step)  # (M, size)
    centre = span.start[:, None] + step * scale[:, None]
    pixel = torch.arange(region, device=device)
    seen = ((pixel >= span.low[:, None]) & (pixel < span.high[:, None])).to(torch.float32)  # (M, region)
    reach = scale.clamp_min(1.0)[:, None]
    weights = (centre / reach)[..., None] - ((pixel + 0.5) / reach)[:, None]  # (M, size, region)
    if bicubic:
        weights = _cubic(weights.abs_()).mul_(seen[:, None])
    else:
        torch.sub(1, weights.abs_(), out=weights).clamp_min_(0).mul_(seen[:, None])
    return weights.div_(weights.sum(2, keepdim=True))


def _cubic(distance: Tensor) -> Tensor:
    """Return the cubic filter at distances of at least 0."""
    a = _SHARPNESS
    near = ((a + 2) * distance - (a + 3)) * distance * distance + 1
    far = ((distance - 5) * distance + 8) * distance * a - 4 * a
    return torch.where(distance < 1, near, torch.where(distance < 2, far, 0.0))


def resample(regions: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Resample a batch of regions, each with its own filters.

    Args:
        regions: ``(M, h, C, w)`` float32.
        rows: ``(M, S, h)`` filter weights; pixels outside the view have weight zero.
        columns: ``(M, S, w)`` likewise.

    Returns:
        ``(M, C, S, S)`` float32, in the units of the regions; in memory ``(M, S, C, S)``.
    """
    views, size = rows.shape[:2]
    channels, width = regions.shape[2:]
    shrunk = torch.bmm(rows, regions.flatten(2)).view(views, size * channels, width)
    return torch.bmm(shrunk, columns.transpose(1, 2)).view(views, size, channels, size).transpose(1, 2)


def cut_regions(pool: Tensor, first: Tensor, stride: Tensor, shape: tuple[int, int]) -> Tensor:
    """Cut regions of one shape out of images of any shapes.

    Args:
        pool: ``(A, C)`` pixels: images row after row, one after the other.
        first: ``(M,)`` int64 position of the pixel at each region's upper left corner.
        stride: ``(M,)`` int64 width of its image.
        shape: Height and width; outside its image, a region contains arbitrary pixels.

    Returns:
        ``(M, height, width, C)``.
    """
    height, width = shape
    down = torch.arange(height, device=pool.device)[:, None] * stride[:, None, None]  # (M, height, 1)
    place = first[:, None, None] + down + torch.arange(width, device=pool.device)
    return pool[place.clamp_(max=len(pool) - 1)]
