"""Types for a plugin's options: a wrong value is refused before anything is downloaded or trained."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Gt, Le

__all__ = ["Fraction", "NonNegative", "Positive", "PositiveInt"]

Positive = Annotated[float, Gt(0)]
NonNegative = Annotated[float, Ge(0)]
Fraction = Annotated[float, Ge(0), Le(1)]
PositiveInt = Annotated[int, Gt(0)]
