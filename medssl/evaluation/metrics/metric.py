"""Base classes of metrics, and the values that the metrics of one evaluation share.

Notation: n samples, O outputs (classes or findings), B resamples at a time.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, ClassVar, Self, TypeVar, cast

import numpy as np
import torch

from medssl.contracts.targets import Target

__all__ = [
    "MANY",
    "Array",
    "Decided",
    "Metric",
    "PairedTest",
    "PredictionMetric",
    "Resampled",
    "Scored",
    "pooled",
    "sum_by",
]

Array = np.ndarray[Any, np.dtype[Any]]
#: With more classes or findings, a metric of each of them against the rest has no resamples, and most are left out.
MANY = 100
T = TypeVar("T")


class PairedTest(StrEnum):
    """The test of the difference of a metric between two models, from the contributions of each unit.

    Attributes:
        EXACT: Contributions are integers whose sum is proportional to the metric; all sign flips of the units'
            differences are counted (:func:`medssl.evaluation.uncertainty.statistics.sign_flip_exact`).
        SAMPLED: The sum of the contributions is the metric, or increases and decreases with it; signs are flipped at
            random (:func:`medssl.evaluation.uncertainty.statistics.sign_flip_sampled`).
        NORMAL: Contributions are parts of the metric's error, and the sum of their squares is its variance
            (:func:`medssl.evaluation.uncertainty.statistics.t_test`).
        FEW: The same, for metrics whose error may come from a few units: the degrees of freedom are estimated.
    """

    EXACT = "sign flips, all of them"
    SAMPLED = "sign flips, drawn at random"
    NORMAL = "t, with a variance over units"
    FEW = "t, with a variance over units, for few events"


class _Shared:
    """Computes values that several metrics need only once."""

    def __init__(self) -> None:
        self._made: dict[Any, Any] = {}

    def once(self, make: Callable[[Self], T]) -> T:
        """Return ``make(self)``, computed at the first call."""
        if make not in self._made:
            self._made[make] = make(self)
        return cast(T, self._made[make])


@dataclass(frozen=True, kw_only=True)
class Decided:
    """The decisions for n samples in P problems of two outcomes, see :mod:`medssl.evaluation.operating`.

    Attributes:
        positive: ``(n, P)`` float64, 1 for a sample that is called positive, else 0; NaN without an operating point.
        benefit_at: ``(n, P)`` float64, the threshold probability of the net benefit; NaN if there is none.
        miss: Cost of a positive sample that is called negative.
        alarm: Cost of a negative sample that is called positive.
    """

    positive: Array
    benefit_at: Array
    miss: float = 1.0
    alarm: float = 1.0

    def take(self, rows: Array) -> Decided:
        """Return the decisions for these samples, positions or a mask."""
        return replace(self, positive=self.positive[rows], benefit_at=self.benefit_at[rows])


def pooled(parts: Sequence[Decided]) -> Decided:
    """Join the decisions for different samples; the costs are those of the first."""
    return replace(
        parts[0],
        positive=np.concatenate([part.positive for part in parts]),
        benefit_at=np.concatenate([part.benefit_at for part in parts]),
    )


class Scored(_Shared):
    """The truth and one prediction of n samples.

    Args:
        target: The target that was predicted.
        y: Truth of n samples, as the target encodes it; at least partly known for each.
        prediction: ``(n, O)``, valid by the target's :meth:`~medssl.contracts.targets.Target.prediction_error`.
        decided: The decisions at the operating point; ``None`` if there is none.
    """

    def __init__(self, target: Target, y: Array, prediction: Array, decided: Decided | None = None) -> None:
        super().__init__()
        self.target = target
        self.y = y
        self.prediction = np.asarray(prediction, dtype=np.float64)
        self.decided = decided

    @property
    def n(self) -> int:
        """Number of samples."""
        return len(self.y)

    def resampled(self, weights: Array) -> Resampled:
        """Return the same samples with weights ``(n, B)``: how often each sample occurs in each of B resamples."""
        return Resampled(self, weights)

    def as_is(self) -> Resampled:
        """Return the samples with weight one each: B is 1."""
        return self.resampled(np.ones((self.n, 1)))


class Resampled(_Shared):
    """Scored samples with the weights of B resamples.

    Attributes:
        scored: The samples.
        weights: ``(n, B)`` float64.
    """

    def __init__(self, scored: Scored, weights: Array) -> None:
        super().__init__()
        self.scored = scored
        self.weights = weights

    @property
    def total(self) -> Array:
        """``(B,)``: sum of the weights."""
        return self.once(_total)

    def mean(self, values: Array) -> Array:
        """Return ``(B,)``: the weighted mean of values ``(n,)``."""
        return np.asarray(values @ self.weights / self.total)


def _total(drawn: Resampled) -> Array:
    total: Array = np.ones(len(drawn.weights)) @ drawn.weights  # integers, so exact; faster than sum(axis=0)
    return total


class Metric(ABC):
    """A measure of quality, with the facts that a reader needs.

    Attributes:
        name: Key in a result; unique among the metrics of one kind of target.
        title: Title in tables.
        higher_is_better: Whether higher values are better.
        ideal: The best value, if it lies between lower and higher ones; else ``None``.
        targets: The kinds of targets to which it applies.
        source: Its definition: a publication with the section or equation.
        leads: Whether the short table of a run shows it.
        most: Largest number of outputs of a target that has it.
        test: Test of a difference between two models; ``None`` if no valid test is known.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    higher_is_better: ClassVar[bool] = True
    ideal: ClassVar[float | None] = None
    targets: ClassVar[tuple[str, ...]]
    source: ClassVar[str]
    leads: ClassVar[bool] = True
    most: ClassVar[float] = float("inf")
    test: ClassVar[PairedTest | None] = None

    def unit(self, target: Target) -> str:
        """Return the unit of the metric's values; ``""`` for a share or another number without unit."""
        return ""

    @property
    def direction(self) -> str:
        """Which values are better: ``higher``, ``lower`` or ``nearest 1``."""
        if self.ideal is not None:
            return f"nearest {self.ideal:g}"
        return "higher" if self.higher_is_better else "lower"

    def facts(self, target: Target) -> dict[str, Any]:
        """Return the facts about the metric that a reader of a result needs, as plain values."""
        return {
            "title": self.title,
            "direction": self.direction,
            "unit": self.unit(target),
            "source": self.source,
            "leads": self.leads,
        }


class PredictionMetric(Metric):
    """A metric that compares predictions with the truth.

    A subclass defines the metric: its values in many resamples at once, and the contribution of each sample, which the
    paired test uses.
    """

    @abstractmethod
    def values(self, drawn: Resampled) -> Array:
        """Return the metric in each resample, ``(B,)``; NaN if it is not defined."""

    def outputs(self, drawn: Resampled) -> dict[str, Array]:
        """Return the metric of each class or finding, ``(B,)``, by name; empty if it has no such parts."""
        return {}

    def defined(self, scored: Scored) -> bool:
        """Whether the metric belongs to these predictions; one of decisions needs an operating point."""
        return True

    def resampled(self, target: Target) -> bool:
        """Whether the metric has an interval from resamples."""
        return True

    def chance(self, scored: Scored) -> float | None:
        """Return the expected value of predictions at random, if it depends on the samples; else ``None``."""
        return None

    def contributions(self, scored: Scored) -> Array:
        """Return the contribution of each sample to the metric or to its error, ``(n,)``, as :attr:`test` requires.

        A larger sum means a larger value of the metric. Contributions can be summed over groups.

        Raises:
            NotImplementedError: The metric has no paired test (:attr:`test` is ``None``), so nothing asks for them.
        """
        raise NotImplementedError(f"{self.name} has no paired test")


def sum_by(key: Array, weights: Array, size: int) -> Array:
    """Sum the rows of ``weights`` ``(n, B)`` that share a key from ``0`` to ``size - 1``: ``(size, B)``."""
    sums = torch.zeros(size, weights.shape[1], dtype=torch.float64)
    rows, places = (
        torch.from_numpy(np.require(each, requirements="W")) for each in (weights, key)
    )  # torch must not warn
    return np.asarray(sums.index_add_(0, places, rows).numpy())
