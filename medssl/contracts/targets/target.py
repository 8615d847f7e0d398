"""The base class of targets."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["UNKNOWN_CELLS", "Array", "Target", "Value"]

Value = int | float | tuple[int | None, ...]
"""The target's value of one sample; ``None`` stands for an unknown one."""

Array = NDArray[Any]

UNKNOWN_CELLS = frozenset({"", "na", "n/a", "nan", "none", "null", "unknown", "?"})


class Target(ABC):
    """The target of a dataset: what is to be predicted for each sample.

    Attributes:
        kind: ``classes``, ``grades``, ``findings`` or ``quantity``.
        stratum: The word for a stratum in a sentence.
        every_stratum: Whether each part of a split must have a sample of each stratum.
    """

    kind: ClassVar[str]
    stratum: ClassVar[str]
    every_stratum: ClassVar[bool]

    @property
    @abstractmethod
    def outputs(self) -> int:
        """O, the width of a prediction."""

    @property
    @abstractmethod
    def output_names(self) -> tuple[str, ...]:
        """O names: of the classes, grades or findings, or the unit."""

    @property
    @abstractmethod
    def strata_names(self) -> tuple[str, ...]:
        """S names of the strata that a split balances."""

    @abstractmethod
    def parse(self, cell: str) -> Value | None:
        """Read a value from the text of a table's cell; ``None`` if it is unknown.

        Raises:
            ValueError: The text is not a value; the message says what is expected.
        """

    @abstractmethod
    def text(self, value: Value) -> str:
        """Write a known value as text for people; :meth:`parse` can read it back if no part of it is unknown."""

    @abstractmethod
    def violation(self, value: object) -> str | None:
        """Describe the valid values if this value is not valid; ``None`` if it is valid."""

    @abstractmethod
    def encode(self, values: Sequence[Value | None]) -> Array:
        """Return ``y`` of N values; see :mod:`medssl.contracts.targets` for shape, dtype and unknown values."""

    @abstractmethod
    def known(self, y: Array) -> NDArray[np.bool_]:
        """Return ``(N,)``: whether any value of a sample is known."""

    @abstractmethod
    def strata(self, values: Sequence[Value]) -> NDArray[np.int64]:
        """Return ``(N, S)`` of 0 and 1: the strata that each sample counts in. A split balances the columns' sums."""

    @abstractmethod
    def prediction_error(self, prediction: Array) -> str | None:
        """Describe what is wrong with the values of a prediction ``(n, O)``; ``None`` if they are valid."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values from which :func:`target_from_dict` builds an equal target."""
        return {"kind": self.kind, **{name: _plain(value) for name, value in asdict(self).items()}}  # type: ignore[call-overload]


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value
