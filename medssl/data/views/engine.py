"""Batches of views, random ones to train on and plain ones to evaluate, made in memory without worker processes.

:class:`Views` is the loop's source of training data: give it positions in the training part, get V batches of views.
Everything random is decided on the host (:mod:`medssl.data.views.parameters`), from numbers that depend on nothing but
seed, epoch, sample and view (:mod:`medssl.data.views.draws`). Pixels are resampled (:mod:`medssl.data.views.resample`)
and coloured (:mod:`medssl.data.views.render`) on the device; nothing is read back from it.

Shapes in this file: n samples, V views of each, M = V n, C channels of the store, S side of a view.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medssl.contracts import Augmentation, ViewSpec
from medssl.data.views.crops import centres_at_once, centres_one_by_one, crops_at_once, crops_one_by_one
from medssl.data.views.domain import add_noise_, apply_window, transform, window_of_images
from medssl.data.views.draws import uniforms
from medssl.data.views.geometry import view_to_image
from medssl.data.views.groups import Group, resolve_groups
from medssl.data.views.parameters import Parameters, columns, draw
from medssl.data.views.pixels import ImageStore, Pixels, to_device
from medssl.data.views.render import Normalisation, colour, normalise, processing_order, statistics
from medssl.tools.images import turn

__all__ = ["PlainViews", "Views"]

_PIECE = 2**19  # numbers in a piece of a batch on a CPU: 2 MB, measured best from 28 to 224 px
_WORKERS = 8  # most threads that make pieces: more would wait for Python's lock
_LARGE = 128**2  # pixels of a view from which pieces side by side pay: of 64 px they took 1.05 to 1.3 times as long
_TINY = 32**2  # pixels of an image and of a view up to which a CPU too makes a batch at once

Ints = NDArray[np.int64]


class Views:
    """Random views of a part's images.

    Calling it with positions ``(n,)`` int64 (on the CPU, from 0, in any order) returns a tuple of V tensors
    ``(n, 3, S, S)``, normalised, channels last in memory, on the device, in the order of the specification. The views
    of a group lie one after the other in one tensor.

    Args:
        store: The decoded images, uint8 or uint16, grey or RGB, of one size or of many.
        indices: ``(N,)`` the part's images, as rows of the store.
        spec: Groups of views.
        augmentation: The recipe; a group's ``augment`` is laid over it.
        image_size: Side of a full-size view in pixels.
        seed: Of the run.
        device: Where views are made and returned.
        normalisation: ``imagenet`` or ``half``.
        dtype: Of the views; they are computed in float32 and cast at the end.
        resident: See :class:`medssl.data.views.pixels.Pixels`.

    Raises:
        PluginError: A group replaces what is no field of an augmentation, or has views of no pixel.
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
        normalisation: Normalisation,
        dtype: torch.dtype = torch.float32,
        resident: bool | None = None,
    ) -> None:
        self.pixels = Pixels(store, indices, torch.device(device), resident)
        self.dtype = dtype
        self._seed, self._epoch = seed, 0
        self._groups = list(resolve_groups(spec, augmentation, image_size, self.pixels, seed))
        self._statistics = statistics(normalisation, self.pixels.device)
        self._geometry = spec.geometry

    def __len__(self) -> int:
        """N."""
        return len(self.pixels)

    def start_epoch(self, epoch: int) -> None:
        """Turn to the random numbers of this epoch, counted from 0."""
        self._epoch = epoch

    def __call__(self, positions: Tensor) -> tuple[Tensor, ...]:
        """Make the views of these samples."""
        samples = positions.numpy()
        return tuple(view for group in self._groups for view in self._make(group, samples))

    def geometry(self, positions: Tensor) -> tuple[Tensor, ...] | None:
        """Say where in its image each view of these samples was taken.

        Returns:
            V tensors ``(n, 2, 3)`` float32 on the device, see :attr:`medssl.contracts.Batch.geometry`; ``None`` where
            the specification does not ask for them.
        """
        if not self._geometry:
            return None
        samples = positions.numpy()
        return tuple(place for group in self._groups for place in self._locate(group, samples))

    def _locate(self, group: Group, samples: Ints) -> Sequence[Tensor]:
        """Return one group's maps: V tensors ``(n, 2, 3)``."""
        parameters, places = self._draw(group, samples)
        maps = view_to_image(parameters, self.pixels.shapes[places]).astype(np.float32)
        return to_device(maps, self.pixels.device).view(len(group.numbers), len(samples), 2, 3).unbind()

    def _draw(self, group: Group, samples: Ints) -> tuple[Parameters, Ints]:
        """Return the parameters of one group's views, view after view, and the position of each one's image."""
        width = columns(group.augmentation)
        table = uniforms(self._seed, self._epoch, group.numbers, samples, width).reshape(-1, width)
        places = np.tile(samples, len(group.numbers))  # (M,)
        windows = None if group.windows is None else group.windows[places]
        return draw(table, self.pixels.shapes[places], group.augmentation, group.size, windows), places

    def _make(self, group: Group, samples: Ints) -> Sequence[Tensor]:
        """Make one group's views: V tensors ``(n, 3, S, S)``."""
        parameters, places = self._draw(group, samples)
        views = _empty(len(places), group.size, self.dtype, self.pixels.device)
        fill = _fill_in_pieces if self.pixels.device.type == "cpu" else _fill_at_once
        fill(views, self.pixels, places, parameters, group, self._statistics)
        return views.view(len(group.numbers), len(samples), *views.shape[1:]).unbind()


class PlainViews:
    """A part's images without any randomness: short side resized to S (antialiased), centre cut out.

    Calling it with positions ``(n,)`` int64 (on the CPU) returns ``(n, 3, S, S)``, normalised, channels last in memory,
    on the device. What torchvision's Resize and CenterCrop give.

    Args:
        store: The decoded images.
        indices: ``(N,)`` the part's images, as rows of the store.
        image_size: S.
        device: Where views are made and returned.
        normalisation: ``imagenet`` or ``half``.
        window: The augmentation's, see :attr:`medssl.contracts.Augmentation.window`.
        dtype: Of the views.
    """

    def __init__(
        self,
        store: ImageStore,
        indices: Sequence[int] | NDArray[Any],
        *,
        image_size: int,
        device: torch.device | str,
        normalisation: Normalisation,
        window: tuple[float, float] | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.pixels = Pixels(store, indices, torch.device(device), resident=False)
        self.dtype = dtype
        self._size = image_size
        self._windows = window_of_images(self.pixels, window)
        self._statistics = statistics(normalisation, self.pixels.device)

    def __len__(self) -> int:
        """N."""
        return len(self.pixels)

    def __call__(self, positions: Tensor) -> Tensor:
        """Make the views of these samples."""
        places = positions.numpy()
        views = _empty(len(places), self._size, self.dtype, self.pixels.device)
        centres = centres_one_by_one if self.pixels.device.type == "cpu" else centres_at_once
        window = None if self._windows is None else self._windows[places]
        x = _planes(centres(self.pixels, places, self._size), self.pixels.white, window)
        return views.copy_(normalise(x, *self._statistics))


def _empty(count: int, size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return ``(count, 3, size, size)``, channels last in memory."""
    return torch.empty((count, 3, size, size), dtype=dtype, device=device, memory_format=torch.channels_last)


def _fill_in_pieces(
    views: Tensor,
    pixels: Pixels,
    places: Ints,
    parameters: Parameters,
    group: Group,
    statistics: tuple[Tensor, Tensor],
) -> None:
    """Make views ``(M, 3, S, S)`` in pieces that fit a CPU's cache, sorted by what they need."""
    size, look = group.size, group.look
    tiny = pixels.uniform and not pixels.fine and max(math.prod(pixels.largest), size * size) <= _TINY
    workers = min(torch.get_num_threads(), _WORKERS) if size * size >= _LARGE else 1
    fitting = _PIECE // (pixels.channels * size * size)
    order, pieces = processing_order(parameters, max(1, min(fitting, -(-len(places) // workers))))
    parameters, places = parameters.take(order), places[order]
    table, targets = look.table(parameters), views.unbind()
    busy, steering = table != look.neutral(), torch.from_numpy(table)

    def finish(crops: Tensor, piece: slice, mine: Parameters, *, oriented: bool) -> Tensor:
        steps = steering[:, piece], busy[:, piece].any(1)
        return normalise(_render(crops, pixels.white, mine, group, *steps, oriented=oriented), *statistics)

    def make(piece: slice) -> None:
        mine = parameters.take(piece)
        crops = crops_one_by_one(pixels, places[piece], mine, size)
        _put(targets, finish(crops, piece, mine, oriented=False), order[piece], mine)

    def make_tiny(piece: slice) -> Tensor:
        return finish(turned[piece], piece, parameters.take(piece), oriented=True).permute(0, 2, 3, 1)

    with _threads_of_their_own(workers) as run:
        if tiny:
            turned = crops_at_once(pixels, places, parameters, size)
            made = torch.cat(list(run(make_tiny, pieces)))  # cheaper to put in order together
            views.copy_(made.index_select(0, torch.from_numpy(np.argsort(order))).permute(0, 3, 1, 2))
        else:
            list(run(make, pieces))


@contextmanager
def _threads_of_their_own(workers: int) -> Iterator[Callable[..., Iterable[Any]]]:
    """Yield a ``map`` that makes pieces in threads, while torch keeps each operation in one thread.

    Threads that share every one of a thousand small operations wait for each other, and far longer on a busy computer;
    threads with a piece of their own wait for Python's lock between two operations, which pays where these are long.
    """
    if workers == 1:
        yield map
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(workers) as pool:
            yield lambda work, pieces: pool.map(partial(_in_mode, torch.is_inference_mode_enabled(), work), pieces)
    finally:
        torch.set_num_threads(before)


def _in_mode(inference: bool, work: Callable[[Any], Any], piece: Any) -> Any:
    """Do a piece of work in the caller's inference mode, which a thread does not inherit."""
    with torch.inference_mode(inference):
        return work(piece)


def _put(targets: Sequence[Tensor], x: Tensor, where: Ints, parameters: Parameters) -> None:
    """Copy some views to where they belong, turned and mirrored as their parameters say."""
    turns = zip(*(a.tolist() for a in (where, parameters.mirror, parameters.upend, parameters.transpose)), strict=True)
    for view, (place, *symmetry) in zip(x.unbind(), turns, strict=True):
        targets[place].copy_(turn(view, *symmetry))


def _fill_at_once(
    views: Tensor,
    pixels: Pixels,
    places: Ints,
    parameters: Parameters,
    group: Group,
    statistics: tuple[Tensor, Tensor],
) -> None:
    """Make views ``(M, 3, S, S)`` in one go, every view through every operation that can occur."""
    crops = crops_at_once(pixels, places, parameters, group.size)
    steps = to_device(group.look.table(parameters), pixels.device), group.look.possible()
    views.copy_(normalise(_render(crops, pixels.white, parameters, group, *steps, oriented=True), *statistics))


def _render(
    crops: Tensor,
    white: float,
    parameters: Parameters,
    group: Group,
    table: Tensor,
    busy: NDArray[np.bool_],
    *,
    oriented: bool,
) -> Tensor:
    """Turn crops in grey levels into views in [0, 1], both ``(M, C, S, S)``: everything between crop and normalisation.

    Args:
        crops: See :func:`medssl.data.views.crops.crops_one_by_one`.
        white: The type's largest grey level.
        parameters: Of these M views.
        group: What they belong to.
        table: See :func:`medssl.data.views.render.colour`.
        busy: Likewise.
        oriented: Whether the crops have been turned and mirrored already.
    """
    x = transform(_planes(crops, white, parameters.window), parameters, oriented=oriented)
    x = colour(x, group.look, table, busy)
    if group.noise is not None:
        add_noise_(x, parameters, group.noise, oriented=oriented)
    return x


def _planes(crops: Tensor, white: float, window: NDArray[np.float64] | None) -> Tensor:
    """Return crops ``(M, C, S, S)`` as float32 in [0, 1], each channel of the batch in one piece."""
    planes = crops.transpose(0, 1).to(torch.float32, memory_format=torch.contiguous_format, copy=True)
    return (planes.mul_(1 / white) if window is None else apply_window(planes, window)).transpose(0, 1)
