"""Batches of random views for training and plain views for evaluation, made in memory without worker processes.

:class:`Views` supplies the training loop: it maps positions in the training part to V batches of views. All random
decisions are made on the host, from numbers that depend only on seed, epoch, sample and view
(:mod:`medssl.data.views.draws`). Pixels are resampled (:mod:`medssl.data.views.crops`) and go through the operations
(:mod:`medssl.data.views.ops`) on the device; nothing is read back from it.

Shapes in this file: n samples, V views of each, M = V n, C channels of the store (3 for a view of a grey image),
S side of a view.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medssl.contracts import Augmentation, Preprocessing, ViewSpec
from medssl.data.views.crops import centres_at_once, centres_one_by_one, crops_at_once, planes
from medssl.data.views.draws import uniforms
from medssl.data.views.geometry import view_to_image
from medssl.data.views.groups import Group, resolve_groups
from medssl.data.views.normalisation import input_channels, normalise, statistics
from medssl.data.views.operation import Ints, Parameters
from medssl.data.views.ops.window import show_window, windows_of
from medssl.data.views.pieces import fill_in_pieces
from medssl.data.views.pixels import ImageStore, Pixels, to_device

__all__ = ["PlainViews", "Views"]


class Views:
    """Random views of a part's images.

    Calling it with positions ``(n,)`` int64 (on the CPU, from 0, in any order) returns a tuple of V tensors
    ``(n, C, S, S)``, normalised, channels last in memory, on the device, in the order of the specification. The views
    of a group are one after the other in one tensor.

    Args:
        store: The decoded images, uint8 or uint16, grey or RGB, of one size or of many.
        indices: ``(N,)`` the part's images, as rows of the store.
        spec: Groups of views.
        augmentation: The recipe; a group's ``augment`` overrides its fields.
        image_size: Side of a full-size view in pixels.
        seed: Of the run.
        device: Where views are made and returned.
        preprocessing: How the encoder expects images.
        dtype: Of the views; they are computed in float32 and cast at the end.
        resident: See :class:`medssl.data.views.pixels.Pixels`.

    Raises:
        PluginError: A group sets an unknown augmentation field, or its views have less than one pixel.
    """

    def __init__(
        self,
        store: ImageStore,
        indices: Sequence[int] | NDArray[Any],
        spec: ViewSpec,
        augmentation: Augmentation,
        *,
        image_size: int,
        seed: int,
        device: torch.device | str,
        preprocessing: Preprocessing,
        dtype: torch.dtype = torch.float32,
        resident: bool | None = None,
    ) -> None:
        self.pixels = Pixels(store, indices, torch.device(device), resident)
        self.dtype = dtype
        self._seed, self._epoch = seed, 0
        self._groups = list(resolve_groups(spec, augmentation, image_size, self.pixels, seed))
        self._channels = input_channels(self.pixels.channels)
        self._statistics = statistics(preprocessing, self.pixels.device, self._channels)
        self._geometry = spec.geometry

    def __len__(self) -> int:
        """N."""
        return len(self.pixels)

    def start_epoch(self, epoch: int) -> None:
        """Use the random numbers of this epoch, counted from 0."""
        self._epoch = epoch

    def __call__(self, positions: Tensor, passes: Tensor | None = None) -> tuple[Tensor, ...]:
        """Make the views of these samples.

        Args:
            positions: ``(n,)`` int64, on the CPU.
            passes: ``(n,)`` int64, whose random numbers each sample has instead of the epoch's, from 0; below 2**32.
        """
        samples, numbers = positions.numpy(), self._numbers(passes)
        return tuple(view for group in self._groups for view in self._make(group, samples, numbers))

    def geometry(self, positions: Tensor, passes: Tensor | None = None) -> tuple[Tensor, ...] | None:
        """Return the position of each view in its image; the arguments are those of a call.

        Returns:
            V tensors ``(n, 2, 3)`` float32 on the device, see :attr:`medssl.contracts.Batch.geometry`; ``None`` if the
            specification does not request them.
        """
        if not self._geometry:
            return None
        samples, numbers = positions.numpy(), self._numbers(passes)
        return tuple(place for group in self._groups for place in self._locate(group, samples, numbers))

    def _numbers(self, passes: Tensor | None) -> int | Ints:
        return self._epoch if passes is None else passes.numpy()

    def _locate(self, group: Group, samples: Ints, numbers: int | Ints) -> Sequence[Tensor]:
        """Return one group's maps: V tensors ``(n, 2, 3)``."""
        parameters, places = self._draw(group, samples, numbers)
        maps = view_to_image(parameters, self.pixels.shapes[places]).astype(np.float32)
        return to_device(maps, self.pixels.device).view(len(group.numbers), len(samples), 2, 3).unbind()

    def _draw(self, group: Group, samples: Ints, numbers: int | Ints) -> tuple[Parameters, Ints]:
        """Return the parameters of one group's views, view after view, and the position of each one's image."""
        width = group.columns
        table = uniforms(self._seed, numbers, group.numbers, samples, width).reshape(-1, width)
        places = np.tile(samples, len(group.numbers))  # (M,)
        return group.draw(table, places), places

    def _make(self, group: Group, samples: Ints, numbers: int | Ints) -> Sequence[Tensor]:
        """Make one group's views: V tensors ``(n, C, S, S)``."""
        parameters, places = self._draw(group, samples, numbers)
        views = _empty((len(places), self._channels, group.size), self.dtype, self.pixels.device)
        fill = fill_in_pieces if self.pixels.device.type == "cpu" else fill_at_once
        fill(views, self.pixels, places, parameters, group, self._statistics)
        return views.view(len(group.numbers), len(samples), *views.shape[1:]).unbind()


class PlainViews:
    """A part's images without randomness: short side resized (antialiased), then a centre crop of side S.

    The short side is resized to S, or to S divided by the crop of the preprocessing, rounded down. If the preprocessing
    squashes, the long side is too.

    Calling it with positions ``(n,)`` int64 (on the CPU) returns ``(n, C, S, S)``, normalised, channels last in memory,
    on the device, equal to torchvision's Resize and CenterCrop.

    Args:
        store: The decoded images.
        indices: ``(N,)`` the part's images, as rows of the store.
        image_size: S.
        device: Where views are made and returned.
        preprocessing: How the encoder expects images.
        window: Window of the augmentation, see :attr:`medssl.contracts.Augmentation.window`.
        dtype: Of the views.
    """

    def __init__(
        self,
        store: ImageStore,
        indices: Sequence[int] | NDArray[Any],
        *,
        image_size: int,
        device: torch.device | str,
        preprocessing: Preprocessing,
        window: tuple[float, float] | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.pixels = Pixels(store, indices, torch.device(device), resident=False)
        self.dtype = dtype
        self._size = image_size
        self._short = int(image_size / preprocessing.crop)
        self._bicubic, self._squash = preprocessing.interpolation == "bicubic", preprocessing.fit == "squash"
        self._windows = windows_of(self.pixels, window)
        self._channels = input_channels(self.pixels.channels)
        self._statistics = statistics(preprocessing, self.pixels.device, self._channels)

    def __len__(self) -> int:
        """N."""
        return len(self.pixels)

    def __call__(self, positions: Tensor) -> Tensor:
        """Make the views of these samples."""
        places = positions.numpy()
        views = _empty((len(places), self._channels, self._size), self.dtype, self.pixels.device)
        centres = centres_one_by_one if self.pixels.device.type == "cpu" else centres_at_once
        windows = None if self._windows is None else self._windows[places]
        crops = centres(self.pixels, places, self._size, self._short, bicubic=self._bicubic, squash=self._squash)
        x = show_window(planes(crops), windows, self.pixels.white)
        return views.copy_(normalise(x, *self._statistics))


def _empty(shape: tuple[int, int, int], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return ``(M, C, S, S)``, channels last in memory; the shape is ``(M, C, S)``."""
    return torch.empty((*shape, shape[2]), dtype=dtype, device=device, memory_format=torch.channels_last)


def fill_at_once(
    views: Tensor,
    pixels: Pixels,
    places: Ints,
    parameters: Parameters,
    group: Group,
    statistics: tuple[Tensor, Tensor],
) -> None:
    """Make views ``(M, C, S, S)`` at once: every view passes every possible operation."""
    x = planes(crops_at_once(pixels, places, parameters, group.size))
    weights = to_device(group.table(parameters), pixels.device)
    views.copy_(normalise(group.render(x, parameters, weights, group.possible, oriented=True), *statistics))
