"""Several findings at once, each present, absent or unknown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from medssl.contracts.targets.named import NamedOutputs, probability_error
from medssl.contracts.targets.target import UNKNOWN_CELLS, Array, Value
from medssl.errors import shorten

__all__ = ["Findings"]


@dataclass(frozen=True)
class Findings(NamedOutputs):
    """K findings, each present (1), absent (0) or unknown (``None``), independently of the others.

    Attributes:
        names: K names in their fixed order.
    """

    kind: ClassVar[str] = "findings"
    stratum: ClassVar[str] = "finding"
    every_stratum: ClassVar[bool] = False  # a rare finding may be missing in a part; the split warns of it

    @property
    def strata_names(self) -> tuple[str, ...]:
        """The findings, and having none."""
        return (*self.names, "no finding")

    def parse(self, cell: str) -> tuple[int | None, ...] | None:
        """Read the findings that are present, joined by a bar; ``No Finding`` or ``Normal`` alone means none.

        For example, ChestX-ray14 has ``Effusion|Infiltration`` and ``No Finding``.
        """
        text = cell.strip()
        if text.lower() in UNKNOWN_CELLS:
            return None
        present = {part.strip() for part in text.split("|") if part.strip()}
        if strangers := sorted(present - set(self.names)):
            if len(present) == 1 and strangers[0].lower() in ("no finding", "no findings", "normal"):
                return (0,) * self.outputs
            raise ValueError(f"'{strangers[0]}' is not one of {shorten(self.names, 20)}")
        return tuple(int(name in present) for name in self.names)

    def text(self, value: Value) -> str:
        """Join the findings that are present by a bar."""
        parts = zip(self.names, value, strict=True)  # type: ignore[arg-type]  # a tuple
        return "|".join(name for name, part in parts if part) or "no finding"

    def violation(self, value: object) -> str | None:
        """Values are K of 0, 1 and ``None``."""
        right = isinstance(value, tuple) and len(value) == self.outputs and all(part in (0, 1, None) for part in value)
        return None if right else f"a tuple of {self.outputs} values, each 0, 1 or None"

    def encode(self, values: Sequence[Value | None]) -> Array:
        """Return ``(N, K)`` float32 of 0, 1 and NaN for unknown."""
        blank = (None,) * self.outputs
        rows = [blank if value is None else value for value in values]
        return np.array(rows, dtype=np.float32).reshape(len(rows), self.outputs)

    def known(self, y: Array) -> NDArray[np.bool_]:
        """Return ``(N,)``: whether any finding is known."""
        return np.asarray(~np.isnan(y).all(axis=1))

    def strata(self, values: Sequence[Value]) -> NDArray[np.int64]:
        """Return ``(N, K + 1)``: the findings that are present; the last column means that none is present."""
        present = np.nan_to_num(self.encode(values)).astype(np.int64)
        return np.concatenate([present, 1 - present.max(axis=1, keepdims=True, initial=0)], axis=1)

    def prediction_error(self, prediction: Array) -> str | None:
        """Each value is a probability."""
        return probability_error(prediction)
