"""What a metric is, and what the metrics of one evaluation share.

Legend: n samples, O outputs (classes or findings), B resamples at a time.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from enum import StrEnum
from typing import Any, ClassVar, Self, TypeVar, cast

import numpy as np
import torch

from medssl.contracts.targets import Target

__all__ = ["Array", "Metric", "PairedTest", "PredictionMetric", "Resampled", "Scored", "sum_by"]

Array = np.ndarray[Any, np.dtype[Any]]
T = TypeVar("T")


class PairedTest(StrEnum):
    """How the difference of a metric between two models is tested, unit by unit, from its contributions.

    Attributes:
        EXACT: Contributions are integers whose sum is proportional to the metric; all ways to flip the signs of units'
            differences are counted (:func:`medssl.study.results.statistics.sign_flip_exact`).
        SAMPLED: The sum of the contributions is the metric, or rises and falls with it; signs are flipped at random
            (:func:`medssl.study.results.statistics.sign_flip_sampled`).
        NORMAL: Contributions are parts of the metric's error, and the sum of their squares is its variance
            (:func:`medssl.study.results.statistics.normal_test`).
    """

    EXACT = "sign flips, all of them"
    SAMPLED = "sign flips, drawn at random"
    NORMAL = "normal, with a variance over units"


class _Shared:
    """Computes what several metrics need once."""

    def __init__(self) -> None:
        self._made: dict[Any, Any] = {}

    def once(self, make: Callable[[Self], T]) -> T:
        """Return ``make(self)``, computed at the first call."""
        if make not in self._made:
            self._made[make] = make(self)
        return cast(T, self._made[make])


class Scored(_Shared):
    """The truth and one prediction of n samples.

    Args:
        target: What was predicted.
        y: Truth of n samples, as the target encodes it; each known at least in part.
        prediction: ``(n, O)``, valid by the target's :meth:`~medssl.contracts.targets.Target.prediction_error`.
    """

    def __init__(self, target: Target, y: Array, prediction: Array) -> None:
        super().__init__()
        self.target = target
        self.y = y
        self.prediction = np.asarray(prediction, dtype=np.float64)

    @property
    def n(self) -> int:
        """Number of samples."""
        return len(self.y)

    def resampled(self, weights: Array) -> Resampled:
        """Return the same samples under weights ``(n, B)``: how often each occurs in each of B resamples."""
        return Resampled(self, weights)

    def as_is(self) -> Resampled:
        """Return the samples as they are, each once: B is 1."""
        return self.resampled(np.ones((self.n, 1)))


class Resampled(_Shared):
    """Scored samples under the weights of B resamples.

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
        mean: Array = values @ self.weights / self.total
        return mean


def _total(drawn: Resampled) -> Array:
    total: Array = np.ones(len(drawn.weights)) @ drawn.weights  # whole numbers: exact, and faster than sum(axis=0)
    return total


class Metric(ABC):
    """A number that says how good something is, and the facts that a reader needs with it.

    Attributes:
        name: Key in a result; no two metrics of one kind of target share it.
        title: As tables show it.
        higher_is_better: The direction.
        targets: The kinds of targets it applies to.
        source: Where it is defined: a publication with the section or equation.
        leads: Whether the short table of a run shows it.
        test: How a difference between two models is tested; ``None`` where no sound test is known.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    higher_is_better: ClassVar[bool] = True
    targets: ClassVar[tuple[str, ...]]
    source: ClassVar[str]
    leads: ClassVar[bool] = True
    test: ClassVar[PairedTest | None] = None

    def unit(self, target: Target) -> str:
        """Return the unit of the metric's values; ``""`` for a share or another number without a unit."""
        del target
        return ""

    def facts(self, target: Target) -> dict[str, Any]:
        """Return what a reader of a result needs to know of the metric, as plain values."""
        return {
            "title": self.title,
            "direction": "higher" if self.higher_is_better else "lower",
            "unit": self.unit(target),
            "source": self.source,
            "leads": self.leads,
        }


class PredictionMetric(Metric):
    """A metric of predictions beside the truth.

    One class defines a metric: its values in many resamples at once, and each sample's contribution to it, which gives
    the paired test.
    """

    @abstractmethod
    def values(self, drawn: Resampled) -> Array:
        """Return the metric in each resample, ``(B,)``; NaN where it is not defined."""

    def outputs(self, drawn: Resampled) -> dict[str, Array]:
        """Return the metric of single classes or findings, each ``(B,)``, by name; empty where it has no such parts."""
        del drawn
        return {}

    def contributions(self, scored: Scored) -> Array:
        """Return what each sample adds to the metric or to its error, ``(n,)``, as :attr:`test` needs it.

        A larger sum stands for a larger value of the metric. Sums over groups keep their meaning.
        """
        raise NotImplementedError(f"{self.name} has no paired test")


def sum_by(key: Array, weights: Array, size: int) -> Array:
    """Sum the rows of ``weights`` ``(n, B)`` that share a key from ``0`` to ``size - 1``: ``(size, B)``."""
    sums = torch.zeros(size, weights.shape[1], dtype=torch.float64)
    total: Array = sums.index_add_(0, torch.from_numpy(key), torch.from_numpy(weights)).numpy()
    return total
