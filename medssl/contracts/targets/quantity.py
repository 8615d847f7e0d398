"""A number with a unit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from medssl.contracts.targets.target import UNKNOWN_CELLS, Array, Target, Value

__all__ = ["Quantity"]

_BINS = 5  # fifths have enough samples for balancing in a small part


@dataclass(frozen=True)
class Quantity(Target):
    """A number with a unit, such as an age in years.

    Attributes:
        unit: Of values and predictions.
        low: Smallest possible value; ``None`` for no bound.
        high: Largest possible value; ``None`` for no bound.
        edges: Limits between the strata of a split, ascending; set by the dataset with :meth:`with_edges`.
    """

    unit: str
    low: float | None = None
    high: float | None = None
    edges: tuple[float, ...] = ()

    kind: ClassVar[str] = "quantity"
    stratum: ClassVar[str] = "range"
    every_stratum: ClassVar[bool] = False

    def with_edges(self, values: Sequence[Value | None]) -> Quantity:
        """Return the same quantity with strata of equal size: fifths of the known values."""
        known = np.array([value for value in values if value is not None], dtype=np.float64)
        edges = np.quantile(known, np.arange(1, _BINS) / _BINS) if len(known) else np.empty(0)
        return Quantity(self.unit, self.low, self.high, tuple(float(edge) for edge in np.unique(edges)))

    @property
    def outputs(self) -> int:
        """1."""
        return 1

    @property
    def output_names(self) -> tuple[str, ...]:
        """The unit."""
        return (self.unit,)

    @property
    def strata_names(self) -> tuple[str, ...]:
        """Ranges of values."""
        ends = [f"{edge:g}" for edge in self.edges]
        if not ends:
            return (f"any {self.unit}",)
        between = [f"{low} to {high}" for low, high in pairwise(ends)]
        return (f"up to {ends[0]}", *between, f"above {ends[-1]}")

    def parse(self, cell: str) -> float | None:
        """Read a number."""
        text = cell.strip()
        if text.lower() in UNKNOWN_CELLS:
            return None
        try:
            value = float(text)
        except ValueError as error:
            raise ValueError(f"'{text}' is not a number in {self.unit}") from error
        if problem := self.violation(value):
            raise ValueError(f"{text} must be {problem}")
        return value

    def text(self, value: Value) -> str:
        """Write the number without its unit."""
        return f"{value:g}"

    def violation(self, value: object) -> str | None:
        """Values are finite numbers within the bounds."""
        low, high = (-math.inf if self.low is None else self.low), (math.inf if self.high is None else self.high)
        number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
        if number and math.isfinite(value) and low <= value <= high:  # type: ignore[arg-type,operator]  # a number
            return None
        ends = f" from {low:g} to {high:g}" if (self.low, self.high) != (None, None) else ""
        return f"a finite number{ends} in {self.unit}"

    def encode(self, values: Sequence[Value | None]) -> Array:
        """Return ``(N,)`` float32, NaN for unknown."""
        return np.array([math.nan if value is None else value for value in values], dtype=np.float32)

    def known(self, y: Array) -> NDArray[np.bool_]:
        """Return ``(N,)``."""
        return np.asarray(~np.isnan(y))

    def strata(self, values: Sequence[Value]) -> NDArray[np.int64]:
        """Return ``(N, S)``, one 1 in each row, for the range of the value."""
        place = np.searchsorted(np.array(self.edges), np.array(values, dtype=np.float64), side="left")
        return np.eye(len(self.edges) + 1, dtype=np.int64)[place]

    def prediction_error(self, prediction: Array) -> str | None:
        """Values are finite."""
        return None if np.isfinite(prediction).all() else "predicted numbers must be finite, but some are not"
