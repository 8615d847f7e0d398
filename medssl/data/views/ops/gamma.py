"""Gamma: grey levels are raised to a power.

Source: Isensee et al. 2021, nnU-Net, 10.1038/s41592-020-01008-z, supplement 4.

Shapes in this file: M views.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from torch import Tensor

from medssl.contracts import Augmentation
from medssl.data.views.operation import Floats, Ints, Operation, Parameters, Piece, Scene, change_some, send

__all__ = ["Gamma"]


@dataclass(frozen=True)
class Gamma(Operation):
    """Draws ``gamma``: exponents ``(M,)``, log-uniformly; 1 where none is drawn.

    Attributes:
        probability: Of drawing one.
        low: Logarithm of the smallest exponent.
        high: Logarithm of the largest one.
    """

    fields = ("gamma", "gamma_range")
    switch = "gamma"
    columns = slice(40, 42)

    probability: float
    low: float
    high: float

    @classmethod
    def of(cls, augmentation: Augmentation, scene: Scene) -> Self | None:
        """Read it from a recipe."""
        low, high = np.log(augmentation.gamma_range)
        return cls(augmentation.gamma, low, high) if augmentation.gamma > 0 else None

    def draw(self, u: Floats, places: Ints) -> Parameters:
        """Draw exponents."""
        drawn = np.exp(self.low + u[1] * (self.high - self.low))
        return {"gamma": np.where(u[0] < self.probability, drawn, 1.0)}

    def apply(self, x: Tensor, piece: Piece) -> Tensor:
        """Raise each view to its own power, with logarithms, which torch vectorises."""
        exponent = piece.parameters["gamma"]

        def power(some: Tensor, rows: Ints) -> Tensor:
            return some.log_().mul_(send(exponent[rows, None, None, None], some)).exp_()

        return change_some(x, exponent != 1, power)
