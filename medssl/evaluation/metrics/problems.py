"""The problems of two outcomes in a target: the positive one of two classes, each of several classes, each finding.

A metric of a problem compares a probability, or the decision at the operating point, with a positive or negative
outcome. With several problems the metric is the mean over those with both outcomes among the labels. If one of them
lacks an outcome in a resample, the resample is left out. An unknown outcome counts neither as positive nor as negative.

Notation: n samples, O outputs, P problems, B resamples at a time.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, NamedTuple

import numpy as np

from medssl.contracts.targets import Classes, Findings, Target
from medssl.evaluation.metrics.curves import Areas, Curve
from medssl.evaluation.metrics.metric import MANY, Array, PredictionMetric, Resampled, Scored

__all__ = [
    "ProblemMetric",
    "Problems",
    "areas",
    "outcome_totals",
    "problem_names",
    "problem_outcomes",
    "ratio",
    "scored_problems",
]


class Problems(NamedTuple):
    """The problems with both outcomes among the labels.

    Attributes:
        names: P names of the positive class or finding.
        places: P positions among all problems of the target.
        positive: ``(P, n)`` bool, the positive samples.
        negative: ``(P, n)`` likewise; neither if the outcome is unknown.
        scores: ``(P, n)`` predicted probabilities.
    """

    names: tuple[str, ...]
    places: Array
    positive: Array
    negative: Array
    scores: Array


def problem_names(target: Target) -> tuple[str, ...]:
    """Return the name of each problem: that of its positive class or finding."""
    return tuple(target.output_names[place] for place in _places(target))


def _places(target: Target) -> list[int]:
    """Return the output of each problem: the positive one of two classes, else all."""
    if isinstance(target, Classes) and target.outputs == 2:
        return [target.positive_index]
    every = list(range(target.outputs))
    return every if isinstance(target, Findings) or len(every) > 2 else every[1:]


def problem_outcomes(target: Target, y: Array | None, prediction: Array) -> tuple[Array, Array]:
    """Return the outcome (1, 0 or NaN) and the probability of each problem, ``(n, P)`` each.

    Args:
        target: Classes, grades or findings.
        y: Truth of n samples, as the target encodes it; ``None``: all outcomes are unknown.
        prediction: ``(n, O)``.
    """
    places = _places(target)
    scores = np.asarray(prediction, dtype=np.float64)[:, places]
    if y is None:
        return np.full(scores.shape, np.nan), scores
    if isinstance(target, Findings):
        return np.asarray(y, dtype=np.float64), scores
    outcomes = (y[:, None] == np.array(places, dtype=np.int64)).astype(np.float64)
    outcomes[y < 0] = np.nan
    return outcomes, scores


def scored_problems(scored: Scored) -> Problems:
    """Return the problems with both outcomes."""
    outcomes, scores = problem_outcomes(scored.target, scored.y, scored.prediction)
    positive, negative = (outcomes == 1).T, (outcomes == 0).T
    del outcomes  # as large as all predictions
    places = np.flatnonzero(positive.any(axis=1) & negative.any(axis=1))
    names = problem_names(scored.target)
    return Problems(
        names=tuple(names[place] for place in places.tolist()),
        places=places,
        positive=positive[places],
        negative=negative[places],
        scores=np.ascontiguousarray(scores.T[places]),
    )


def _masks(scored: Scored) -> Array:
    found = scored.once(scored_problems)
    return np.concatenate([found.positive, found.negative], dtype=np.float64)


def outcome_totals(drawn: Resampled) -> tuple[Array, Array]:
    """Return the weights of the positives and of the negatives of each problem, ``(P, B)`` each."""
    count = len(drawn.scored.once(scored_problems).names)
    totals = drawn.scored.once(_masks) @ drawn.weights
    return totals[:count], totals[count:]


def _curves(scored: Scored) -> list[tuple[Array | None, Curve]]:
    """Return the curve of each problem with the positions of its known samples; ``None``: all are known."""
    found, curves = scored.once(scored_problems), []
    for positive, negative, scores in zip(found.positive, found.negative, found.scores, strict=True):
        known = positive + negative > 0
        rows = None if known.all() else np.flatnonzero(known)
        own = slice(None) if rows is None else rows
        curves.append((rows, Curve(scores[own], positive[own] > 0)))
    return curves


def areas(drawn: Resampled) -> list[Areas]:
    """Return what the curves of each problem give, in one pass over the samples."""
    found = drawn.scored.once(_curves)
    return [curve.areas(drawn.weights if rows is None else drawn.weights[rows]) for rows, curve in found]


class ProblemMetric(PredictionMetric):
    """A metric of two outcomes; with several problems their mean."""

    targets = ("classes", "grades", "findings")
    most: ClassVar[float] = MANY

    def resampled(self, target: Target) -> bool:
        """Whether the problems are few enough: each is sorted anew in each resample."""
        return target.outputs <= MANY

    @abstractmethod
    def each(self, drawn: Resampled) -> Array:
        """Return the metric of each problem, ``(P, B)``; NaN where it is not defined."""

    def usable(self, scored: Scored) -> Array:
        """Return the positions of the problems that have the metric."""
        return np.arange(len(scored.once(scored_problems).names))

    def defined(self, scored: Scored) -> bool:
        """Whether any problem could have the metric."""
        return bool(len(self.usable(scored))) or not len(scored.once(scored_problems).names)

    def mean(self, values: Array) -> Array:
        """Return ``(B,)``: the mean over the problems."""
        return np.asarray(values.mean(axis=0))

    def values(self, drawn: Resampled) -> Array:
        """Return ``(B,)``."""
        usable = self.usable(drawn.scored)
        if not len(usable):
            return np.full(drawn.weights.shape[1], np.nan)
        return self.mean(drawn.once(self.each)[usable])

    def outputs(self, drawn: Resampled) -> dict[str, Array]:
        """Return the metric of each problem, if there can be several."""
        if len(problem_names(drawn.scored.target)) < 2:
            return {}
        names, values = drawn.scored.once(scored_problems).names, drawn.once(self.each)
        return {names[place]: values[place] for place in self.usable(drawn.scored).tolist()}

    def shares(self, scored: Scored) -> Array:
        """Return ``(P, n)``: the contribution of each sample to the metric of each problem, or to its error."""
        raise NotImplementedError(f"{self.name} has no paired test")

    def contributions(self, scored: Scored) -> Array:
        """Return the mean of the contributions over the problems."""
        return np.asarray(self.shares(scored)[self.usable(scored)].mean(axis=0))


def ratio(numerator: Array, denominator: Array) -> Array:
    """Divide; NaN where the denominator is not above 0."""
    found = np.full(np.broadcast_shapes(numerator.shape, denominator.shape), np.nan)
    np.divide(numerator, denominator, out=found, where=denominator > 0)
    return found
