"""Makes views on a CPU in pieces that fit its cache, sorted by operations, and in parallel if this is faster.

Shapes in this file: M views, C channels, S side of a view.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from medssl.data.views.crops import crops_at_once, crops_one_by_one, planes
from medssl.data.views.groups import Group
from medssl.data.views.normalisation import normalise
from medssl.data.views.operation import Ints, Operation, Parameters, take
from medssl.data.views.pixels import Pixels
from medssl.tools.images import turn

__all__ = ["fill_in_pieces", "processing_order"]

_PIECE = 2**19  # numbers in a piece of a batch on a CPU: 2 MB, measured best from 28 to 224 px
_WORKERS = 8  # maximum number of threads; more would wait for Python's lock
_LARGE = 128**2  # pixels of a view from which parallel pieces are faster; at 64 px they took 1.05 to 1.3 times as long
_TINY = 32**2  # pixels of an image and of a view up to which a CPU also makes a whole batch at once


def fill_in_pieces(
    views: Tensor, pixels: Pixels, places: Ints, parameters: Parameters, group: Group, statistics: tuple[Tensor, Tensor]
) -> None:
    """Make views ``(M, C, S, S)`` in pieces that fit a CPU's cache, sorted by operations.

    Args:
        views: Destination.
        pixels: The part's images.
        places: ``(M,)`` which image each view shows.
        parameters: The parameters drawn for them.
        group: Their group.
        statistics: See :func:`medssl.data.views.normalisation.statistics`.
    """
    size = group.size
    tiny = pixels.uniform and not pixels.fine and max(math.prod(pixels.largest), size * size) <= _TINY
    workers = min(torch.get_num_threads(), _WORKERS) if size * size >= _LARGE else 1
    fitting = _PIECE // (pixels.channels * size * size)
    limit = max(1, min(fitting, -(-len(places) // workers)))
    order, pieces = processing_order(parameters, group.operations, limit)
    parameters, places = take(parameters, order), places[order]
    table, targets = group.table(parameters), views.unbind()
    busy, weights = table != group.neutral, torch.from_numpy(table)

    def finish(crops: Tensor, piece: slice, mine: Parameters, *, oriented: bool) -> Tensor:
        steps = weights[:, piece], busy[:, piece].any(1)
        return normalise(group.render(planes(crops), mine, *steps, oriented=oriented), *statistics)

    def make(piece: slice) -> None:
        mine = take(parameters, piece)
        crops = crops_one_by_one(pixels, places[piece], mine, size)
        _put(targets, finish(crops, piece, mine, oriented=False), order[piece], mine)

    def make_tiny(piece: slice) -> Tensor:
        return finish(turned[piece], piece, take(parameters, piece), oriented=True).permute(0, 2, 3, 1)

    with _threads_of_their_own(workers) as run:
        if tiny:
            turned = crops_at_once(pixels, places, parameters, size)
            made = torch.cat(list(run(make_tiny, pieces)))  # cheaper to reorder together
            views.copy_(made.index_select(0, torch.from_numpy(np.argsort(order))).permute(0, 3, 1, 2))
        else:
            list(run(make, pieces))


def processing_order(parameters: Parameters, operations: Sequence[Operation], limit: int) -> tuple[Ints, list[slice]]:
    """Sort views so that neighbours need the same operations, and cut them into pieces.

    If an operation requests it (see its method ``needed``), a piece contains only views that need the operation, or
    only views that do not. The latter skip it, and a view has the same bits in every batch.

    Args:
        parameters: Of M views.
        operations: Operations that can change them.
        limit: Maximum number of views in a piece.

    Returns:
        ``(M,)`` the views in their new order, and the pieces of that order.
    """
    needed = [needed for each in operations if (needed := each.needed(parameters)) is not None]
    kind = sum((bits << i for i, bits in enumerate(needed)), start=np.zeros(len(parameters["mirror"]), np.int64))
    keys = [key for each in operations for key in each.likeness(parameters)]
    order = np.lexsort((*reversed(keys), kind))
    pieces = []
    for start, stop in itertools.pairwise(np.searchsorted(kind[order], range(2 ** len(needed) + 1)).tolist()):
        count = -(-(stop - start) // limit)
        step = -(-(stop - start) // max(1, count))
        pieces += [slice(low, min(low + step, stop)) for low in range(start, stop, step)] if count else []
    return order, pieces


@contextmanager
def _threads_of_their_own(workers: int) -> Iterator[Callable[..., Iterable[Any]]]:
    """Yield a ``map`` that makes pieces in threads, while torch uses one thread per operation.

    If threads share each of a thousand small operations, they wait for each other, and much longer on a busy computer.
    If each thread has its own piece, it only waits for Python's lock between two operations; this is faster if the
    operations are long.
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
    """Copy some views to their destination, turned and mirrored according to their parameters."""
    symmetries = (parameters[name].tolist() for name in ("mirror", "upend", "transpose"))
    for view, (place, *symmetry) in zip(x.unbind(), zip(where.tolist(), *symmetries, strict=True), strict=True):
        targets[place].copy_(turn(view, *symmetry))
