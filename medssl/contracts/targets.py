"""What is to be predicted: the four kinds of targets, and none.

A target converts a table's cell to a value, and values to the array ``y`` from which evaluators and methods learn. It
has the width of a prediction, checks predictions, and has the strata that a split balances. No other code depends on
the kind of a target.

==========  ============================  ===========================  =================================
kind        value of one sample           ``y`` of N samples           prediction
==========  ============================  ===========================  =================================
classes     ``int``                       ``(N,)`` int64, -1 unknown   ``(N, K)``, rows sum to one
grades      ``int``                       ``(N,)`` int64, -1 unknown   ``(N, K)``, rows sum to one
findings    ``K`` of ``0, 1, None``       ``(N, K)`` float32, NaN      ``(N, K)``, each from 0 to 1
quantity    ``float``                     ``(N,)`` float32, NaN        ``(N, 1)``, in the unit
==========  ============================  ===========================  =================================

:class:`Unlabelled` is the target of a dataset in which no image has a label; nothing is scored then.

Unknown is a separate value everywhere and never counts as negative: ``None`` for a sample, -1 or NaN in ``y``.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from medssl.errors import shorten

__all__ = ["TARGETS", "Classes", "Findings", "Grades", "Quantity", "Target", "Unlabelled", "Value", "target_from_dict"]

Value = int | float | tuple[int | None, ...]
"""The target's value of one sample; ``None`` stands for an unknown one."""

Array = NDArray[Any]

_SUM = 1e-3  # tolerance for the sum of the probabilities in a row: float32 with some hundred classes
_BINS = 5  # quantity: fifths have enough samples for balancing in a small part
_UNKNOWN = frozenset({"", "na", "n/a", "nan", "none", "null", "unknown", "?"})


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
        """Return ``y`` of N values; see the table above for shape, dtype and unknown values."""

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


@dataclass(frozen=True)
class _Named(Target):
    """A target with one output for each of K names."""

    names: tuple[str, ...]

    def __post_init__(self) -> None:
        _require_names(self.names, self.kind)
        object.__setattr__(self, "names", tuple(self.names))

    @property
    def outputs(self) -> int:
        """K."""
        return len(self.names)

    @property
    def output_names(self) -> tuple[str, ...]:
        """The names."""
        return self.names


@dataclass(frozen=True)
class Classes(_Named):
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
        if text.lower() in _UNKNOWN:
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
        if error := _probability_error(prediction):
            return error
        sums = prediction.sum(axis=1)
        if not np.allclose(sums, 1, atol=_SUM):
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


@dataclass(frozen=True)
class Findings(_Named):
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
        if text.lower() in _UNKNOWN:
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
        return _probability_error(prediction)


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
        if text.lower() in _UNKNOWN:
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


@dataclass(frozen=True)
class Unlabelled(Target):
    """No target: no image has a label. A run pre-trains an encoder, measures its features, and scores nothing."""

    kind: ClassVar[str] = "none"
    stratum: ClassVar[str] = "image"
    every_stratum: ClassVar[bool] = False

    @property
    def outputs(self) -> int:
        """0."""
        return 0

    @property
    def output_names(self) -> tuple[str, ...]:
        """No names."""
        return ()

    @property
    def strata_names(self) -> tuple[str, ...]:
        """One stratum for all images."""
        return ("no label",)

    def parse(self, cell: str) -> None:
        """Every text is unknown."""
        return

    def text(self, value: Value) -> str:
        """Return the same words for every image."""
        return "no label"

    def violation(self, value: object) -> str | None:
        """No value is valid, because every sample is unknown."""
        return "unknown, because the dataset has no labels"

    def encode(self, values: Sequence[Value | None]) -> Array:
        """Return ``(N,)`` int64 of -1."""
        return np.full(len(values), -1, dtype=np.int64)

    def known(self, y: Array) -> NDArray[np.bool_]:
        """Return ``(N,)`` of false."""
        return np.zeros(len(y), dtype=bool)

    def strata(self, values: Sequence[Value]) -> NDArray[np.int64]:
        """Return ``(N, 1)`` of 1."""
        return np.ones((len(values), 1), dtype=np.int64)

    def prediction_error(self, prediction: Array) -> str | None:
        """Nothing can be predicted."""
        return "nothing can be predicted without labels"


TARGETS: Mapping[str, type[Target]] = {each.kind: each for each in (Classes, Grades, Findings, Quantity)}
"""The kinds of targets by name, without :class:`Unlabelled`."""


def target_from_dict(values: Mapping[str, Any]) -> Target:
    """Build the target that :meth:`Target.to_dict` described.

    Raises:
        ValueError: The kind is unknown, or a value is missing.
    """
    given = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    kind = str(given.pop("kind", None))
    if kind == Unlabelled.kind:
        return Unlabelled()
    if kind not in TARGETS:
        raise ValueError(f"a target must be one of {', '.join(TARGETS)}, not '{kind}'")
    try:
        return TARGETS[kind](**given)
    except TypeError as error:
        raise ValueError(f"a target of kind '{kind}' cannot be built from {values}: {error}") from error


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def _require_names(names: Sequence[str], kind: str) -> None:
    if isinstance(names, str) or not names or not all(isinstance(name, str) and name for name in names):
        raise ValueError(f"{kind} must be a list of names, not {names!r}")
    twice = sorted({name for name in names if list(names).count(name) > 1})
    if twice:
        raise ValueError(f"{kind} name '{twice[0]}' twice: {shorten(names, 20)}")


def _probability_error(prediction: Array) -> str | None:
    if not np.isfinite(prediction).all():
        return "probabilities must be finite, but some are not"
    low, high = (float(prediction.min()), float(prediction.max())) if prediction.size else (0.0, 0.0)
    if low < 0 or high > 1 + _SUM:
        return f"probabilities must be between 0 and 1, but they go from {low:.4g} to {high:.4g}"
    return None
