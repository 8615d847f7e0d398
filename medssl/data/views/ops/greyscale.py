"""Greyscale: colour is taken away.

Source: Chen et al. 2020, SimCLR, arXiv 2002.05709, appendix A.

Shapes in this file: M views.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from medssl.contracts import Augmentation
from medssl.data.views.colour import mix_
from medssl.data.views.operation import Floats, Ints, Operation, Parameters, Piece, Scene

__all__ = ["Greyscale"]


@dataclass(frozen=True)
class Greyscale(Operation):
    """Draws ``grey``: whether colour is taken away, ``(M,)`` bool. Weights: of the colours, and of the brightness.

    Attributes:
        probability: Of that.
    """

    fields = ("greyscale",)
    switch = "greyscale"
    columns = slice(32, 33)
    coloured = True

    probability: float

    @classmethod
    def of(cls, augmentation: Augmentation, scene: Scene) -> Self | None:
        """Read it from a recipe."""
        del scene
        return cls(augmentation.greyscale) if augmentation.greyscale > 0 else None

    def draw(self, u: Floats, places: Ints) -> Parameters:
        """Draw which views."""
        del places
        return {"grey": u[0] < self.probability}

    def table(self, parameters: Parameters) -> NDArray[Any]:
        """Return ``(2, M)``: the weight of the view and that of its brightness."""
        grey = parameters["grey"]
        return np.stack([1.0 - grey, grey])

    def neutral(self) -> Floats:
        """All of the view."""
        return np.array([1.0, 0.0])

    def likeness(self, parameters: Parameters) -> tuple[NDArray[Any], ...]:
        """A piece without a grey view skips it."""
        return (parameters["grey"],)

    def apply(self, x: Tensor, piece: Piece) -> Tensor:
        """Mix each view with its brightness."""
        return mix_(x, piece.table[0], None, piece.table[1]) if piece.busy.any() else x
