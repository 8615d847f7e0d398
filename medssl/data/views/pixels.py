"""The source of the pixels of views: the store's memory map, or one part of it copied to the device.

A dataset of a few thousand images easily fits on a GPU. Then its pixels are copied there once, as small integers.
Otherwise the images of each batch are collected from the memory map and sent to the device.

Shapes in this file: M views, C channels, A pixels in a pool of images.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medssl.data.views.resample import cut_regions

__all__ = ["ImageStore", "Pixels", "grey_levels", "to_device"]

_SHARE = 0.25  # largest share of the device's free memory for resident pixels by default

Ints = NDArray[np.int64]


class ImageStore(Protocol):
    """The parts of a store that views need; see :class:`medssl.data.store.store.Store`."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """uint8 or uint16."""

    @property
    def channels(self) -> int:
        """C."""

    @property
    def shapes(self) -> NDArray[np.int32]:
        """``(N, 2)`` heights and widths."""

    @property
    def levels(self) -> NDArray[np.float64] | None:
        """``(N, 2)`` grey levels to show as black and white; ``None``: the whole range of the type for every image."""

    @property
    def pixels(self) -> NDArray[Any]:
        """All images one after the other, flat."""


class Pixels:
    """The images of one part, accessed by position.

    Args:
        store: The decoded images.
        indices: ``(n,)`` the part's images, as rows of the store.
        device: Where views are made.
        resident: Whether to copy the part's pixels to the device once; ``None``: only to a GPU, if they need less than
            a quarter of its free memory. On a CPU, ``None`` leaves them in the memory map, which the operating system
            keeps in memory.

    Attributes:
        shapes: ``(n, 2)`` int64 heights and widths.
        largest: The largest height and the largest width.
        uniform: Whether all images of the store have one size.
        channels: C.
        fine: Whether the store holds uint16: such pixels are stored as int16 tensors with the same bits, because torch
            supports few operations on uint16; see :func:`grey_levels`.
        white: The largest possible pixel value: 255, or 65535 for uint16 (even if a camera used fewer bits).
        levels: ``(n, 2)`` grey levels of each image to show as black and white; ``None``: 0 and ``white``.
        resident: Whether the part's pixels were copied once.
        streamed: Whether the images of each batch are sent to the device.
        pool: ``(A, C)`` the memory map, or the copy on the device.
        first: ``(n,)`` int64 position of each image's first pixel in the pool.
    """

    def __init__(
        self, store: ImageStore, indices: Sequence[int] | NDArray[Any], device: torch.device, resident: bool | None
    ) -> None:
        rows, shapes = np.asarray(indices, dtype=np.int64), np.asarray(store.shapes, dtype=np.int64)
        areas = shapes.prod(1)
        self.device = device
        self.shapes: Ints = shapes[rows]
        height, width = self.shapes.max(0, initial=1).tolist()
        self.largest: tuple[int, int] = (height, width)
        self.uniform = bool((shapes == shapes[0]).all())
        self.channels = int(store.channels)
        self.fine = store.dtype == np.uint16
        self.white = 65535.0 if self.fine else 255.0
        self.levels = None if store.levels is None else np.asarray(store.levels, dtype=np.float64)[rows]
        self.pool = _tensor(store.pixels).view(-1, self.channels)
        self.first: Ints = (np.cumsum(areas) - areas)[rows]
        size = int(areas[rows].sum()) * self.channels * self.pool.itemsize
        self.resident = _fits(size, device) if resident is None else resident
        self.streamed = not self.resident and device.type != "cpu"
        if self.resident:
            everything, self.first = self._gather(np.arange(len(rows)))
            self.pool = everything.to(device)

    def __len__(self) -> int:
        """The number of images."""
        return len(self.shapes)

    def regions(self, positions: Ints, top: Ints, left: Ints, shape: tuple[int, int]) -> Tensor:
        """Cut regions of one shape out of images, on the device.

        Args:
            positions: ``(M,)`` the images, in any order, possibly with repetitions.
            top: ``(M,)`` row of the image at the region's upper edge.
            left: ``(M,)`` column at its left edge.
            shape: Height and width; pixels outside the image are undefined.

        Returns:
            ``(M, height, C, width)`` float32, in grey levels.
        """
        pool, first = self.pool, self.first[positions]
        if self.streamed:
            wanted, which = np.unique(positions, return_inverse=True)
            pool, first = self._gather(wanted, pin=self.device.type == "cuda")
            pool, first = pool.to(self.device, non_blocking=True), first[which]
        if self.uniform and shape == self.largest:  # whole images: copied in one piece each
            images = pool.view(-1, *shape, self.channels)
            regions = images.index_select(0, to_device(first // (shape[0] * shape[1]), self.device))
            return grey_levels(regions.transpose(2, 3))
        pitch = self.shapes[positions, 1]
        corner, stride = to_device(np.stack([first + top * pitch + left, pitch]), self.device)
        return grey_levels(cut_regions(pool, corner, stride, shape).transpose(2, 3))

    def _gather(self, positions: Ints, *, pin: bool = False) -> tuple[Tensor, Ints]:
        """Copy images one after the other into ``(A, C)`` in the host's memory, and return the start of each."""
        areas = self.shapes[positions].prod(1)
        pool = torch.empty((int(areas.sum()), self.channels), dtype=self.pool.dtype, pin_memory=pin)
        start = np.cumsum(areas) - areas
        for source, target, area in zip(self.first[positions].tolist(), start.tolist(), areas.tolist(), strict=True):
            pool[target : target + area] = self.pool[source : source + area]
        return pool, start


def grey_levels(pixels: Tensor) -> Tensor:
    """Return pixels (uint8, or the bits of uint16 in int16) as contiguous float32: 0 to 255, or 0 to 65535."""
    if pixels.dtype == torch.int16:
        pixels = pixels.to(torch.int32).bitwise_and_(0xFFFF)
    return pixels.to(torch.float32, memory_format=torch.contiguous_format)


def to_device(array: NDArray[Any], device: torch.device) -> Tensor:
    """Copy a host array to the device without waiting."""
    tensor = torch.from_numpy(array)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def _fits(size: int, device: torch.device) -> bool:
    """Whether this number of bytes may be stored on the device by default."""
    return device.type == "cuda" and size < _SHARE * torch.cuda.mem_get_info(device)[0]


def _tensor(array: NDArray[Any]) -> Tensor:
    """Return the same memory as a tensor, row by row.

    torch warns about every read-only array, although this code does not write to it; a copy would double the memory.
    """
    plain = np.ascontiguousarray(array if array.flags.writeable else _Writable(array))
    return torch.from_numpy(plain.view(np.int16) if plain.dtype == np.uint16 else plain)


class _Writable:
    """Declares an array's memory as writable, and keeps it alive."""

    def __init__(self, array: NDArray[Any]) -> None:
        interface = array.__array_interface__
        self._array = array
        self.__array_interface__ = {**interface, "data": (interface["data"][0], False)}
