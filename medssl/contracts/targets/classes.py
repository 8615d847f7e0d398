"""One of several classes, ordered (grades) or not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from medssl.contracts.targets.named import SUM, NamedOutputs, probability_error
from medssl.contracts.targets.target import UNKNOWN_CELLS, Array, Value
from medssl.errors import shorten

__all__ = ["Classes", "Grades"]


@dataclass(frozen=True)
class Classes(NamedOutputs):
    """One of K classes.

    Attributes:
        names: K names in a fixed order; a value is an index into them.
        positive: Which of two classes sensitivity, predictive values and operating points are about; ``None``: the
            second. A run sets it by ``evaluate.positive``; it changes no value and no prediction.
    """

    positive: str | None = None

    kind: ClassVar[str] = "classes"
    stratum: ClassVar[str] = "class"
    every_stratum: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        right = self.kind == "classes" and self.outputs == 2 and self.positive in self.names
        if self.positive is not None and not right:
            raise ValueError(f"'{self.positive}' is no positive class of two {self.kind}: {shorten(self.names, 20)}")

    @property
    def positive_index(self) -> int:
        """The position of the positive class, of two; 1 if none was chosen."""
        return 1 if self.positive is None else self.names.index(self.positive)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, with ``positive`` only if it was chosen."""
        return {key: value for key, value in super().to_dict().items() if key != "positive" or value}

    @property
    def strata_names(self) -> tuple[str, ...]:
        """The classes."""
        return self.names

    def parse(self, cell: str) -> int | None:
        """Read a class by its name."""
        text = cell.strip()
        if text in self.names:
            return self.names.index(text)
        if text.lower() in UNKNOWN_CELLS:
            return None
        raise ValueError(f"'{text}' is not one of {shorten(self.names, 20)}")

    def text(self, value: Value) -> str:
        """Return the class's name."""
        return self.names[int(value)]  # type: ignore[arg-type]  # a class is a number

    def violation(self, value: object) -> str | None:
        """Values are whole numbers from 0 to K - 1."""
        right = isinstance(value, int | np.integer) and not isinstance(value, bool) and 0 <= int(value) < self.outputs
        return None if right else f"a whole number from 0 to {self.outputs - 1}"

    def encode(self, values: Sequence[Value | None]) -> Array:
        """Return ``(N,)`` int64, -1 for unknown."""
        return np.array([-1 if value is None else value for value in values], dtype=np.int64)

    def known(self, y: Array) -> NDArray[np.bool_]:
        """Return ``(N,)``."""
        return np.asarray(y >= 0)

    def strata(self, values: Sequence[Value]) -> NDArray[np.int64]:
        """Return ``(N, K)``, one 1 in each row."""
        return np.eye(self.outputs, dtype=np.int64)[np.array(values, dtype=np.int64).reshape(-1)]

    def prediction_error(self, prediction: Array) -> str | None:
        """Rows are probabilities that sum to one."""
        if error := probability_error(prediction):
            return error
        sums = prediction.sum(axis=1)
        if not np.allclose(sums, 1, atol=SUM):
            worst = float(sums[np.abs(sums - 1).argmax()])
            return f"the probabilities of each sample must sum to one, but one row sums to {worst:.4g}"
        return None


@dataclass(frozen=True)
class Grades(Classes):
    """One of K ordered classes, from the lowest to the highest.

    Attributes:
        names: K names, ascending; a value is an index into them.
    """

    kind: ClassVar[str] = "grades"
    stratum: ClassVar[str] = "grade"
