"""The colour jitter of torchvision: brightness, contrast, saturation and hue, in a random order for each view.

Brightness, contrast and saturation are one operation with different weights (:func:`medssl.data.views.colour.mix_`);
only the hue is different. So a batch passes through slots: up to three mixes, the hue once, up to three mixes. A view
is active in the slots that match its own order. In the other slots it is neutral and does not change.

On a GPU every slot runs over the whole batch: few launches, shapes that never change. On a CPU the batch is sorted by
what its views need and handled in pieces that fit the cache; a slot that is neutral for a whole piece is skipped.
(Another variant was also measured: one call for each series of views with the same next operation. It does less work,
but below 224 px the calls cost more than they save.)

Source: Chen et al. 2020, SimCLR, arXiv 2002.05709, appendix A.

Shapes in this file: M views, H x W pixels, K kinds of mixes.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medssl.contracts import Augmentation
from medssl.data.views.colour import mix_
from medssl.data.views.operation import Bools, Floats, Ints, Operation, Parameters, Piece, Scene

__all__ = ["BRIGHTNESS", "CONTRAST", "HUE", "SATURATION", "Jitter", "hue_"]

#: Numbers of the four operations, as in torchvision's ColorJitter; a view draws an order of them.
BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)

_ORDERS = np.array(list(itertools.permutations(range(4))))
_NEUTRAL = np.array([1.0, 1.0, 1.0, 0.0])  # factors and a shift


@dataclass(frozen=True)
class Jitter(Operation):
    """Four colour operations that are drawn together.

    Draws ``jitter``: whether they are applied, ``(M,)`` bool; ``order``: ``(M, 4)`` their numbers in the order of their
    application; ``factors``: ``(M, 4)`` three factors (1: unchanged) and the hue's shift in turns (0: unchanged).

    The table of weights has three rows for each mix before the hue, the hue's shift, and three for each mix after it.

    Attributes:
        probability: Of the jitter.
        strengths: ``(4,)`` of brightness, contrast, saturation and hue.
        mixes: The operations, without the hue, that can change a pixel.
        hue: Whether the hue can change.
    """

    fields = ("jitter", "brightness", "contrast", "saturation", "hue")
    switch = "jitter"
    columns = slice(26, 32)

    probability: float
    strengths: Floats
    mixes: tuple[int, ...]
    hue: bool

    @classmethod
    def of(cls, augmentation: Augmentation, scene: Scene) -> Self | None:
        """Read it from a recipe; only images of three channels have saturation and hue."""
        a = augmentation
        strengths = np.array([a.brightness, a.contrast, a.saturation, a.hue])
        changing = strengths > 0
        if scene.pixels.channels != 3:
            changing[[SATURATION, HUE]] = False
        if a.jitter == 0 or not changing.any():
            return None
        mixes = tuple(kind for kind in (BRIGHTNESS, CONTRAST, SATURATION) if changing[kind])
        return cls(a.jitter, strengths, mixes, bool(changing[HUE]))

    def draw(self, u: Floats, places: Ints) -> Parameters:
        """Draw whether, in which order and how strongly the operations are applied."""
        jitter = u[0] < self.probability
        low = np.where(_NEUTRAL > 0, np.maximum(0.0, 1.0 - self.strengths), -self.strengths)
        drawn = low + u[2:].T * (_NEUTRAL + self.strengths - low)
        order = _ORDERS[(u[1] * len(_ORDERS)).astype(np.int64)]
        return {"jitter": jitter, "order": order, "factors": np.where(jitter[:, None], drawn, _NEUTRAL)}

    def table(self, parameters: Parameters) -> NDArray[Any]:
        """Return the weights of the mixes and the shift of the hue, ``(6 K + 1, M)``."""
        before, after = self._mixes(parameters)
        return np.concatenate([before, parameters["factors"][None, :, HUE] * self.hue, after])

    def _mixes(self, parameters: Parameters) -> Floats:
        """Return the weights of the mixes before and after the hue, ``(2, 3 K, M)``."""
        orders = parameters["order"]
        views, count = len(orders), len(self.mixes)
        row, rank = np.nonzero(np.array([kind in self.mixes for kind in range(4)])[orders])
        kind = orders[row, rank]  # the mixes of the first view in its order, then those of the next
        before = rank < np.argmax(orders == HUE, 1)[row] if self.hue else np.ones(len(row), dtype=bool)
        factor = parameters["factors"][row, kind]
        weights = np.array([factor, (1 - factor) * (kind == CONTRAST), (1 - factor) * (kind == SATURATION)])
        neutral = np.array([[1.0], [0.0], [0.0]])
        sides = np.array([np.where(before, weights, neutral), np.where(before, neutral, weights)])  # (2, 3, M K)
        return sides.reshape(2, 3, views, count).transpose(0, 3, 1, 2).reshape(2, 3 * count, views)

    def neutral(self) -> Floats:
        """Return the weights that do not change a view."""
        mixes = [1.0, 0.0, 0.0] * len(self.mixes)
        return np.array([*mixes, 0.0, *mixes])

    def possible(self) -> Bools:
        """Return which weights can differ from that."""
        mixes = [True, CONTRAST in self.mixes, SATURATION in self.mixes] * len(self.mixes)
        return np.array([*mixes, self.hue, *(self.hue and busy for busy in mixes)])

    def needed(self, parameters: Parameters) -> Bools:
        """Return which views are jittered; the others skip all slots."""
        return np.asarray(parameters["jitter"])

    def likeness(self, parameters: Parameters) -> tuple[NDArray[Any], ...]:
        """Sort by the position of the hue, then by the whole order, so that neighbours share slots."""
        order, jitter = parameters["order"], parameters["jitter"]
        return np.argmax(order == HUE, 1) * jitter, order @ np.array([64, 16, 4, 1]) * jitter

    def apply(self, x: Tensor, piece: Piece) -> Tensor:
        """Apply the slots that are not neutral."""
        table, busy = piece.table, piece.busy
        hue = 3 * len(self.mixes)
        for row in (*range(0, hue, 3), hue, *range(hue + 1, 2 * hue + 1, 3)):
            if row == hue:
                x = hue_(x, table[row]) if busy[row] else x
            elif busy[row : row + 3].any():
                mean, grey = (table[row + i] if busy[row + i] else None for i in (1, 2))
                mix_(x, table[row], mean, grey)
        return x


def hue_(x: Tensor, shift: Tensor) -> Tensor:
    """Rotate the hue in HSV and keep value and saturation; a grey image does not change.

    The computation has no branches. With ``C = max - min`` and channels scaled to ``c' = (c - min) / C``, walk the
    circle in sixths of a turn from red through green to cyan: ``g' + b' - r'`` rises from -1 to 2 at unit speed;
    through blue it does the same, mirrored. So the signed distance from cyan is ``t = 2 - (g' + b' - r')`` with the
    sign of ``b - g``, and a channel has its maximum up to one sixth of a turn from its own colour, and falls to zero at
    two sixths.

    Args:
        x: ``(M, C, H, W)`` in [0, 1]; changed in place.
        shift: ``(M,)`` in turns of the circle, -0.5 to 0.5.
    """
    if x.shape[1] == 1:
        return x
    red, green, blue = x.unbind(1)
    low = x.amin(1)
    chroma = x.amax(1).sub_(low)
    t = (green + blue).sub_(red).sub_(low).div_(chroma.clamp_min(1e-6)).sub_(2).copysign_(blue - green)
    t.add_(shift.view(-1, 1, 1) * 6)
    t.sub_((t / 6).round_().mul_(6))  # back into [-3, 3]
    torch.sub(3, t.abs(), out=red)  # distances on the circle from red (at 3 and -3), green (-1) and blue (1)
    torch.add(t, 1, out=green).abs_()
    torch.sub(t, 1, out=blue).abs_()
    torch.sub(2, x, out=x).clamp_(0, 1)
    return torch.addcmul(low[:, None], x, chroma[:, None], out=x)
