"""Greyscale: colour is removed.

Source: Chen et al. 2020, SimCLR, arXiv 2002.05709, appendix A.

Shapes in this file: M views.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from medssl.data.views.colour import mix_
from medssl.data.views.operation import Floats, Ints, Operation, Parameters, Piece

__all__ = ["Greyscale"]


@dataclass(frozen=True)
class Greyscale(Operation):
    """Draws ``grey``: whether colour is removed, ``(M,)`` bool. Weights: colours and brightness.

    Attributes:
        probability: Probability of greyscale.
    """

    fields = ("greyscale",)
    switch = "greyscale"
    columns = slice(32, 33)
    coloured = True

    probability: float

    def draw(self, u: Floats, places: Ints) -> Parameters:
        """Draw which views."""
        return {"grey": u[0] < self.probability}

    def table(self, parameters: Parameters) -> NDArray[Any]:
        """Return ``(2, M)``: the weight of the view and that of its brightness."""
        grey = parameters["grey"]
        return np.stack([1.0 - grey, grey])

    def neutral(self) -> Floats:
        """Return the weights that keep the view unchanged."""
        return np.array([1.0, 0.0])

    def likeness(self, parameters: Parameters) -> tuple[NDArray[Any], ...]:
        """Sort grey views together, so that pieces without them skip the operation."""
        return (parameters["grey"],)

    def apply(self, x: Tensor, piece: Piece) -> Tensor:
        """Mix each view with its brightness."""
        return mix_(x, piece.table[0], None, piece.table[1]) if piece.busy.any() else x
