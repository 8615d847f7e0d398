"""From resampled crops to views: colour, blur, solarisation, normalisation, of a whole batch with few operations.

The four operations of the colour jitter come in an order of each view's own. Brightness, contrast and saturation are
one operation with different weights (:func:`medssl.data.views.colour.mix_`); only the hue is of another kind. So a
batch runs through slots: up to three mixes, the hue once, up to three mixes. A view is active in the slots that give
its own order, and neutral in the others, where it stays as it is.

On a GPU every slot runs over the whole batch: few launches, shapes that never change. On a CPU the batch is sorted by
what its views need and handled in pieces that fit the cache; a slot that is neutral for a whole piece is skipped.
(One call for each run of views that want the same operation next was measured too: it does less work, but the calls
cost more than they save below 224 px.)

Shapes in this file: M views, C channels, S side of a view, K kinds of mixes, R radius of the widest blur kernel.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medssl.contracts import Augmentation
from medssl.data.views.colour import hue_, mix_, solarise_
from medssl.data.views.ops.blur import blur, kernels, radius
from medssl.data.views.parameters import BRIGHTNESS, CONTRAST, HUE, SATURATION, Parameters, blur_range

__all__ = ["Look", "Normalisation", "colour", "normalise", "processing_order", "statistics"]

Normalisation = Literal["imagenet", "half"]

Ints = NDArray[np.int64]

_STATISTICS = {"imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)), "half": ((0.5,) * 3, (0.5,) * 3)}


@dataclass(frozen=True, slots=True)
class Look:
    """Which operations can occur at all, read off a recipe once: what cannot is skipped for every batch.

    It lays out the table that steers :func:`colour`: one column per view; three rows for each mix before the hue, the
    hue, three rows for each mix after it, two for the greyscale, the solarisation threshold, the blur kernel.

    Attributes:
        mixes: The jitter's operations besides the hue that can change a pixel.
        hue: Whether the hue can change.
        grey: Whether colour can be taken away.
        solarise: Whether pixels can be inverted.
        reach: R; 0 for no blur.
    """

    mixes: tuple[int, ...]
    hue: bool
    grey: bool
    solarise: bool
    reach: int

    @classmethod
    def of(cls, augmentation: Augmentation, size: int, channels: int) -> Look:
        """Read it off a recipe, for views of this size; grey images have no colour to change."""
        a, coloured = augmentation, channels > 1
        strengths = {BRIGHTNESS: a.brightness, CONTRAST: a.contrast, SATURATION: a.saturation if coloured else 0.0}
        sigma = blur_range(a, size)[1]
        return cls(
            mixes=tuple(kind for kind, strength in strengths.items() if a.jitter > 0 and strength > 0),
            hue=a.jitter > 0 and a.hue > 0 and coloured,
            grey=a.greyscale > 0 and coloured,
            solarise=a.solarise > 0,
            reach=radius(sigma, size) if a.blur > 0 and sigma > 0 else 0,
        )

    def table(self, parameters: Parameters) -> NDArray[np.float32]:
        """Return the table ``(rows, M)`` for these views."""
        grey = parameters.grey & self.grey
        before, after = self._mixes(parameters)
        hue = parameters.factors[:, HUE] * self.hue
        rows = [before, hue[None], after, 1.0 - grey[None], grey[None], parameters.solarise[None]]
        return np.concatenate([*rows, kernels(parameters.sigma, self.reach).T], dtype=np.float32)

    def _mixes(self, parameters: Parameters) -> NDArray[np.float64]:
        """Return the weights of the mixes before and after the hue, ``(2, 3 K, M)``."""
        views, count = len(parameters), len(self.mixes)
        row, rank = np.nonzero(np.array([kind in self.mixes for kind in range(4)])[parameters.order])
        kind = parameters.order[row, rank]  # the mixes of the first view in its order, then those of the next
        before = rank < np.argmax(parameters.order == HUE, 1)[row] if self.hue else np.ones(len(row), dtype=bool)
        factor = parameters.factors[row, kind]
        weights = np.array([factor, (1 - factor) * (kind == CONTRAST), (1 - factor) * (kind == SATURATION)])
        neutral = np.array([[1.0], [0.0], [0.0]])
        sides = np.array([np.where(before, weights, neutral), np.where(before, neutral, weights)])  # (2, 3, M K)
        return sides.reshape(2, 3, views, count).transpose(0, 3, 1, 2).reshape(2, 3 * count, views)

    def neutral(self) -> NDArray[np.float32]:
        """Return the column ``(rows, 1)`` of a view that stays as it is."""
        mixes = [1.0, 0.0, 0.0] * len(self.mixes)
        kernel = np.eye(1, 2 * self.reach + 1, self.reach)[0]
        return np.array([*mixes, 0.0, *mixes, 1.0, 0.0, 2.0, *kernel], dtype=np.float32)[:, None]

    def possible(self) -> NDArray[np.bool_]:
        """Return ``(rows,)``: which rows can be anything but neutral."""
        mixes = [True, CONTRAST in self.mixes, SATURATION in self.mixes] * len(self.mixes)
        after = [self.hue and busy for busy in mixes]
        kernel = [self.reach > 0] * (2 * self.reach + 1)
        return np.array([*mixes, self.hue, *after, self.grey, self.grey, self.solarise, *kernel])


def colour(x: Tensor, look: Look, table: Tensor, busy: NDArray[np.bool_]) -> Tensor:
    """Apply every colour operation, in the order of :class:`medssl.contracts.Augmentation`.

    Args:
        x: ``(M, C, S, S)`` float32 in [0, 1]; changed in place.
        look: What can occur.
        table: ``(rows, M)`` of ``look``, on the device.
        busy: ``(rows,)`` which rows are more than neutral; a row that is not is not looked at.

    Returns:
        ``(M, C, S, S)`` in [0, 1]: ``x``, or a new tensor after a blur.
    """
    hue = 3 * len(look.mixes)
    for row in (*range(0, hue, 3), hue, *range(hue + 1, 2 * hue + 1, 3)):
        if row == hue:
            x = hue_(x, table[row]) if busy[row] else x
        elif busy[row : row + 3].any():
            mean, grey = (table[row + i] if busy[row + i] else None for i in (1, 2))
            mix_(x, table[row], mean, grey)
    row = 2 * hue + 1
    if busy[row]:
        mix_(x, table[row], None, table[row + 1])
    steps = np.flatnonzero(busy[row + 3 :])
    if len(steps) > 1:
        x = blur(x, table[row + 3 + int(steps[0]) : row + 4 + int(steps[-1])].T)
    return solarise_(x, table[row + 2]) if busy[row + 2] else x


def statistics(normalisation: Normalisation, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return what :func:`normalise` multiplies by and what it subtracts, each ``(3, 1, 1)``."""
    mean, deviation = (torch.tensor(value, dtype=torch.float64)[:, None, None] for value in _STATISTICS[normalisation])
    return (1 / deviation).float().to(device), (mean / deviation).float().to(device)


def normalise(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Return ``(M, 3, S, S)``: each channel's mean subtracted, divided by its deviation; one channel becomes three.

    Args:
        x: ``(M, C, S, S)`` in [0, 1]; changed in place when it has three channels.
        scale: See :func:`statistics`.
        shift: Likewise.
    """
    if x.shape[1] == 3:
        return x.mul_(scale).sub_(shift)
    planes = x.transpose(0, 1)  # (1, M, S, S): becomes (3, M, S, S) in one piece
    return (planes * scale[:, None]).sub_(shift[:, None]).transpose(0, 1)


def processing_order(parameters: Parameters, limit: int) -> tuple[Ints, list[slice]]:
    """Sort views so that neighbours need the same operations, and cut them into pieces.

    No piece holds views with and without jitter, or with and without blur: what a view does not need is then skipped,
    not done in vain, and its numbers are the same to the last bit in whatever company it comes.

    Args:
        parameters: Of M views.
        limit: Most views in a piece.

    Returns:
        ``(M,)`` the views in their new order; the pieces of that order.
    """
    jitter, blurred = parameters.jitter, parameters.sigma > 0
    sequence = parameters.order @ np.array([64, 16, 4, 1]) * jitter
    hue = np.argmax(parameters.order == HUE, 1) * jitter
    kind = 2 * blurred + jitter
    order = np.lexsort((parameters.grey, sequence, hue, kind))
    pieces = []
    for start, stop in itertools.pairwise(np.searchsorted(kind[order], range(5)).tolist()):
        count = -(-(stop - start) // limit)
        step = -(-(stop - start) // max(1, count))
        pieces += [slice(low, min(low + step, stop)) for low in range(start, stop, step)] if count else []
    return order, pieces
