"""Solarisation: bright pixels are inverted.

Source: Grill et al. 2020, BYOL, arXiv 2006.07733, appendix B.

Shapes in this file: M views, C channels, H x W pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from medssl.data.views.operation import Floats, Ints, Operation, Parameters, Piece

__all__ = ["Solarise", "solarise_"]

_NEVER = 2.0  # a threshold above every pixel value


@dataclass(frozen=True)
class Solarise(Operation):
    """Draws ``solarise``: ``(M,)`` the threshold at and above which pixels are inverted; 2: none are.

    Attributes:
        probability: Probability of solarisation.
        threshold: Fraction of the full range.
    """

    fields = ("solarise", "solarise_threshold")
    switch = "solarise"
    columns = slice(35, 36)

    probability: float
    threshold: float

    def draw(self, u: Floats, places: Ints) -> Parameters:
        """Draw which views."""
        return {"solarise": np.where(u[0] < self.probability, self.threshold, _NEVER)}

    def table(self, parameters: Parameters) -> NDArray[Any]:
        """Return the thresholds ``(1, M)``."""
        return parameters["solarise"][None]

    def neutral(self) -> Floats:
        """Return a threshold above every pixel value."""
        return np.array([_NEVER])

    def apply(self, x: Tensor, piece: Piece) -> Tensor:
        """Invert."""
        return solarise_(x, piece.table[0]) if piece.busy.any() else x


def solarise_(x: Tensor, threshold: Tensor) -> Tensor:
    """Invert the pixels at or above the threshold, in place.

    Args:
        x: ``(M, C, H, W)`` in [0, 1].
        threshold: ``(M,)``; a value above 1 changes nothing.
    """
    above = x.clone().ge_(threshold.view(-1, 1, 1, 1))  # 0 or 1, so that |above - x| is x or 1 - x
    return x.sub_(above).abs_()
