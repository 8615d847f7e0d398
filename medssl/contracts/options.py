"""Types for a plugin's options: a wrong value gives an error before anything is downloaded or trained."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Gt, Le

__all__ = ["Fraction", "NonNegative", "Positive", "PositiveInt"]

Positive = Annotated[float, Gt(0)]
"""A number above 0."""
NonNegative = Annotated[float, Ge(0)]
"""A number, 0 or above."""
Fraction = Annotated[float, Ge(0), Le(1)]
"""A number from 0 to 1."""
PositiveInt = Annotated[int, Gt(0)]
"""A whole number, 1 or above."""
