"""From resampled crops to views: colour, blur, solarisation, normalisation, of a whole batch with few operations.

The four operations of the colour jitter come in an order of each view's own; there are two ways to give it to them.

On a GPU (:func:`colour_at_once`) the batch runs through slots: up to three mixes, the hue once, up to three mixes.
Brightness, contrast and saturation are one operation with different weights (:func:`medssl.data.colour.mix_`); a view
is active in the slots that give its own order, and neutral in the others. Few launches, shapes that never change.

On a CPU (:func:`colour_sorted`) views are sorted by their order, so that those that want the same operation next lie
side by side, and what a view does not need is not done. Both ways give equal numbers.

Shapes in this file: M views, C channels, S side of a view, K kinds of mixes, R radius of the widest blur kernel.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medssl.contracts import Augmentation
from medssl.data.blur import blur, kernels, radius
from medssl.data.colour import hue_, mix_, solarise_
from medssl.data.parameters import BRIGHTNESS, CONTRAST, HUE, SATURATION, Parameters, blur_range

__all__ = ["Look", "colour_at_once", "colour_sorted", "normalise", "processing_order", "statistics"]

Ints = NDArray[np.int64]

_STATISTICS = {"imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)), "half": ((0.5,) * 3, (0.5,) * 3)}


@dataclass(frozen=True, slots=True)
class Look:
    """Which operations can occur at all, read off a recipe once: what cannot is skipped for every batch.

    It lays out the table that steers :func:`colour_at_once`: one column per view; three rows for each mix before the hue, the
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

    def sequence(self, parameters: Parameters) -> Ints:
        """Return ``(M, kinds)`` the jitter's operations that each view wants, first to last; -1 for none."""
        kinds = [*self.mixes, HUE] if self.hue else [*self.mixes]
        wanted = np.isin(parameters.order, kinds)  # as many in each row
        sequence: Ints = parameters.order[wanted].reshape(len(parameters), len(kinds))
        return np.where(parameters.jitter[:, None], sequence, -1)

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
        wanted = np.isin(parameters.order, self.mixes)
        kind = parameters.order[wanted].reshape(views, count)  # the mixes of each view, in its order
        rank = np.nonzero(wanted)[1].reshape(views, count)
        before = rank < np.argmax(parameters.order == HUE, 1)[:, None] if self.hue else np.ones_like(rank, dtype=bool)
        factor = np.take_along_axis(parameters.factors, kind, 1)
        weights = np.stack([factor, (1 - factor) * (kind == CONTRAST), (1 - factor) * (kind == SATURATION)])
        neutral = np.array([1.0, 0.0, 0.0])[:, None, None]
        sides = np.stack([np.where(before, weights, neutral), np.where(before, neutral, weights)])  # (2, 3, M, K)
        return sides.transpose(0, 3, 1, 2).reshape(2, 3 * count, views)


def colour_at_once(x: Tensor, look: Look, table: Tensor) -> Tensor:
    """Apply every colour operation that can occur to every view, in the order of the augmentation's fields.

    Args:
        x: ``(M, C, S, S)`` float32 in [0, 1]; changed in place.
        look: What can occur.
        table: ``(rows, M)`` of ``look``, on the device.

    Returns:
        ``(M, C, S, S)`` in [0, 1]: ``x``, or a new tensor after a blur.
    """
    contrast, saturation = CONTRAST in look.mixes, SATURATION in look.mixes
    hue = 3 * len(look.mixes)
    for row in (*range(0, hue, 3), hue, *range(hue + 1, 2 * hue + 1, 3)):
        if row == hue and look.hue:
            hue_(x, table[row])
        elif row < hue or look.hue:
            mix_(x, table[row], table[row + 1] if contrast else None, table[row + 2] if saturation else None)
    row = 2 * hue + 1
    if look.grey:
        mix_(x, table[row], None, table[row + 1])
    if look.reach:
        x = blur(x, table[row + 3 :].T)
    return solarise_(x, table[row + 2]) if look.solarise else x


def colour_sorted(x: Tensor, look: Look, parameters: Parameters) -> tuple[Tensor, Tensor, Ints]:
    """Apply to each view the colour operations it drew; fast for views in :func:`processing_order`.

    Args:
        x: ``(M, C, S, S)`` float32 in [0, 1] in the host's memory; changed in place.
        look: What can occur.
        parameters: Of these views.

    Returns:
        ``x``, complete but for the views to be blurred; those, blurred; their rows in ``x``.
    """
    _jitter_(x, look, parameters)
    if look.grey and parameters.grey.any():
        grey = _tensor(parameters.grey)
        mix_(x, 1 - grey, None, grey)
    rows = np.flatnonzero(parameters.sigma > 0) if look.reach else np.empty(0, dtype=np.int64)
    blurred = x[:0]
    if len(rows):
        sigma = parameters.sigma[rows]
        blurred = blur(x[torch.from_numpy(rows)], _tensor(kernels(sigma, radius(sigma.max(), x.shape[3]))))
    if look.solarise:
        threshold = _tensor(parameters.solarise)
        solarise_(x, threshold)
        solarise_(blurred, threshold[rows])
    return x, blurred, rows


def _jitter_(x: Tensor, look: Look, parameters: Parameters) -> None:
    """Apply the colour jitter; neighbours that want the same operation next share it."""
    sequence = look.sequence(parameters)
    factors = _tensor(parameters.factors.T)  # (4, M)
    for kinds in sequence.T:
        edges = [0, *(np.flatnonzero(np.diff(kinds)) + 1).tolist(), len(kinds)]
        for start, stop in itertools.pairwise(edges):
            kind, views = kinds[start], x[start:stop]
            factor = factors[kind, start:stop]
            if kind == HUE:
                hue_(views, factor)
            elif kind == BRIGHTNESS:
                mix_(views, factor)
            elif kind == CONTRAST:
                mix_(views, factor, of_mean=1 - factor)
            elif kind == SATURATION:
                mix_(views, factor, of_luma=1 - factor)


def _tensor(array: NDArray[Any]) -> Tensor:
    """Return a host array as a float32 tensor."""
    return torch.from_numpy(array.astype(np.float32))


def statistics(normalisation: str, device: torch.device) -> tuple[Tensor, Tensor]:
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


def processing_order(look: Look, parameters: Parameters, limit: int) -> tuple[Ints, list[slice]]:
    """Sort views so that neighbours want the same colour operations in the same order, and cut them into pieces.

    Args:
        look: What can occur.
        parameters: Of M views.
        limit: Most views in a piece.

    Returns:
        ``(M,)`` the views in their new order; the pieces of that order.
    """
    order = np.lexsort(look.sequence(parameters).T[::-1])
    pieces = -(-len(order) // limit)
    edges = np.linspace(0, len(order), pieces + 1).astype(int).tolist()
    return order, [slice(low, high) for low, high in itertools.pairwise(edges)]
