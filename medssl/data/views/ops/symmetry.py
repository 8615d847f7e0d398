"""Flips and turns by right angles: the eight symmetries of a square.

Shapes in this file: M views, C channels, S side of a view.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from medssl.data.views.operation import Floats, Ints, Operation, Parameters
from medssl.data.views.pixels import to_device
from medssl.tools.images import SYMMETRIES, turn

__all__ = ["Symmetry", "symmetries", "turn_each"]


@dataclass(frozen=True)
class Symmetry(Operation):
    """Flips and quarter turns, applied with :func:`medssl.tools.images.turn`.

    Draws ``mirror``, ``upend`` and ``transpose``, each ``(M,)`` bool. Pixels are moved in the cheapest step: during
    resampling, or when a finished view is copied to its destination.

    Attributes:
        horizontal: Probability of a horizontal flip (left and right).
        vertical: Probability of a vertical flip (top and bottom).
        quarters: Probability of one, two or three quarter turns.
    """

    fields = ("horizontal_flip", "vertical_flip", "rotate90")
    columns = slice(22, 26)

    horizontal: float
    vertical: float
    quarters: float

    def draw(self, u: Floats, places: Ints) -> Parameters:
        """Draw two flips and a number of quarter turns, and combine them into one symmetry."""
        turns = np.where(u[2] < self.quarters, 1 + np.floor(u[3] * 3), 0)  # counterclockwise
        return {
            # A quarter turn reverses columns, then swaps rows and columns; three turns reverse rows instead.
            "mirror": (u[0] < self.horizontal) ^ (turns == 1) ^ (turns == 2),
            "upend": (u[1] < self.vertical) ^ (turns == 2) ^ (turns == 3),
            "transpose": (turns == 1) | (turns == 3),
        }


def turn_each(x: Tensor, parameters: Parameters) -> Tensor:
    """Turn and mirror views ``(M, C, S, S)``, each as its own parameters say."""
    names = "mirror", "upend", "transpose"
    wanted = to_device(np.stack([parameters[name] for name in names])[..., None, None, None], x.device)
    for i, step in enumerate(np.eye(3, dtype=bool).tolist()):
        x = torch.where(wanted[i], turn(x, *step), x)
    return x


def symmetries(parameters: Parameters) -> Floats:
    """Return the maps ``(M, 2, 2)`` from a view's (x, y) to those of its crop before it was turned and mirrored."""
    return np.asarray(_MAPS[parameters["mirror"] * 1 + parameters["upend"] * 2 + parameters["transpose"] * 4])


def _map(mirror: bool, upend: bool, transpose: bool) -> Floats:
    """Return the map ``(2, 2)`` of coordinates under a symmetry, measured on an image of 2 x 2 pixels."""
    pixels = turn(np.stack(np.meshgrid([-1.0, 1.0], [-1.0, 1.0])), mirror, upend, transpose)  # (x or y, row, column)
    return np.asarray(np.stack([pixels[:, 0, 1] - pixels[:, 0, 0], pixels[:, 1, 0] - pixels[:, 0, 0]], axis=1) / 2)


_MAPS = np.stack([_map(*symmetry) for symmetry in SYMMETRIES])
