"""Operating points: decision thresholds that are chosen on the validation part, never on the test part.

Groups (patients, slides) have thresholds of their own, chosen from the pooled predictions of the validation groups: the
largest of five probabilities is not on the scale of one.

The choice of a threshold is separate from the choice of an evaluator's settings. The settings are chosen by a proper
score, so that the probabilities are good; the threshold depends on what a miss and a false alarm cost.

A target with two classes has one threshold, for its positive class. With more classes, each class has a threshold
against the rest, and so has each finding. An image is called positive if its probability is at least the threshold. A
threshold lies halfway between two neighbouring validation probabilities, so that rounding does not change a decision.
If several thresholds are equally good, the lowest is chosen: it misses the fewest.

The decision for one of more than two classes is the class with the largest probability after division by its frequency
in training, which aims at equal sensitivity for rare and frequent classes (Bayes' rule for equal priors; Saerens et al.
2002, Neural Comput. 14, 21-41, equation 2.4). With ``cost=A:B`` all classes cost the same, so it is the class with the
largest probability.

Notation: n samples, O outputs, P problems of two outcomes: 1 for two classes, else O.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from medssl.contracts.targets import Classes, Findings, Target
from medssl.errors import CheckpointError, shorten
from medssl.evaluation.metrics.metric import Array, Decided
from medssl.evaluation.metrics.problems import problem_names, problem_outcomes
from medssl.recipe.operating_rule import OperatingRule

__all__ = ["OperatingPoint", "OperatingPoints", "choose_operating_points", "choose_threshold"]


@dataclass(frozen=True, kw_only=True)
class OperatingPoint:
    """The threshold of one problem, with what it reaches on the validation part.

    Attributes:
        threshold: An image is positive from this probability on; ``None`` if there is no operating point.
        sensitivity: On the validation part; ``None`` without a threshold.
        specificity: Likewise.
        positives: Validation images with the class or finding.
        negatives: Validation images without it.
        net_benefit_at: Threshold probability of the net benefit: what the cost ratio implies, or the share of positive
            validation images; ``None`` without a threshold.
        reason: Why there is no threshold; ``None`` if there is one.
    """

    threshold: float | None = None
    sensitivity: float | None = None
    specificity: float | None = None
    positives: int
    negatives: int
    net_benefit_at: float | None = None
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class OperatingPoints:
    """The decisions of one evaluator.

    Attributes:
        rule: As in the setting ``evaluate.operating_point``.
        points: The operating point of each problem, by the name of its positive class or finding.
        decision: The decision in words.
        priors: By class, what probabilities are divided by before the largest is taken; ``None``: nothing is divided,
            or the target has two classes or findings.
    """

    rule: str
    points: Mapping[str, OperatingPoint]
    decision: str
    priors: Mapping[str, float] | None = None

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build the operating points that :meth:`to_dict` wrote."""
        points = {name: OperatingPoint(**point) for name, point in values["points"].items()}
        return cls(rule=values["rule"], points=points, decision=values["decision"], priors=values["priors"])

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for ``result.json``."""
        return asdict(self)

    @property
    def notes(self) -> list[str]:
        """A sentence for each reason why there is no operating point."""
        reasons: dict[str, list[str]] = {}
        for name, point in self.points.items():
            if point.reason is not None:
                reasons.setdefault(point.reason, []).append(name)
        return [f"No operating point for {shorten(names, 10)}: {reason}." for reason, names in reasons.items()]

    def decided(self, target: Target, prediction: Array) -> Decided:
        """Apply the thresholds to predictions ``(n, O)``."""
        scores = problem_outcomes(target, None, prediction)[1]  # (n, P)
        points = list(self.points.values())
        if len(points) != scores.shape[1]:
            raise CheckpointError(
                f"a result has {len(points)} operating points for {scores.shape[1]} outputs, so its file is damaged or "
                "was changed. Use the file that the run wrote, or run again with --force."
            )
        rule = OperatingRule.parse(self.rule)
        threshold = np.array([np.nan if p.threshold is None else p.threshold for p in points])
        at = np.array([np.nan if p.net_benefit_at is None else p.net_benefit_at for p in points])
        return Decided(
            positive=np.where(np.isnan(threshold), np.nan, scores >= threshold),
            benefit_at=np.broadcast_to(at, scores.shape),
            miss=rule.miss,
            alarm=rule.alarm,
        )

    def decide(self, target: Target, prediction: Array) -> Array | None:
        """Decide for each sample.

        Args:
            target: The target.
            prediction: ``(n, O)``.

        Returns:
            For classes ``(n,)`` int64; for findings ``(n, K)`` bool. ``None`` if a threshold that is needed is missing.
        """
        if isinstance(target, Classes) and target.outputs > 2:
            priors = np.ones(target.outputs) if self.priors is None else np.array(list(self.priors.values()))
            return np.asarray((prediction / priors).argmax(axis=1))
        if any(point.threshold is None for point in self.points.values()):
            return None
        positive = self.decided(target, prediction).positive > 0
        if not isinstance(target, Classes):
            return positive
        return np.where(positive[:, 0], target.positive_index, 1 - target.positive_index)


def choose_operating_points(
    target: Target, y: Array, prediction: Array, rule: str, train: Array, unit: str = "image"
) -> OperatingPoints | None:
    """Choose a threshold for each class or finding on the validation part.

    Args:
        target: The target.
        y: Truth of the validation part, as the target encodes it.
        prediction: ``(n, O)`` of the validation part.
        rule: As in the setting ``evaluate.operating_point``.
        train: Truth of the training part, whose class frequencies are the priors.
        unit: What a row is, for the sentences: ``image`` or ``group``.

    Returns:
        The operating points; ``None`` for a quantity.
    """
    if not isinstance(target, Classes | Findings):
        return None
    known = OperatingRule.parse(rule)
    outcomes, scores = problem_outcomes(target, y, prediction)
    points = {}
    for place, name in enumerate(problem_names(target)):
        own = ~np.isnan(outcomes[:, place])
        points[name] = choose_threshold(known, scores[own, place], outcomes[own, place] > 0, unit)
    divided = isinstance(target, Classes) and target.outputs > 2 and known.kind != "cost"
    priors = _priors(target, train) if divided else None
    return OperatingPoints(rule=rule, points=points, decision=_words(target, points, priors, unit), priors=priors)


def choose_threshold(rule: OperatingRule, scores: Array, positive: Array, unit: str = "image") -> OperatingPoint:
    """Choose the threshold of one problem.

    Args:
        rule: What it must reach.
        scores: ``(m,)`` validation probabilities.
        positive: ``(m,)`` bool.
        unit: What a row is, for the sentences.
    """
    count: dict[str, Any] = {"positives": int(positive.sum()), "negatives": int((~positive).sum())}
    if not count["positives"] or not count["negatives"]:
        missing = "positive" if not count["positives"] else "negative"
        return OperatingPoint(**count, reason=f"the validation part has no {missing} {unit}")
    levels, place = np.unique(scores, return_inverse=True)
    # from the threshold below all scores (all positive) to that above all (none positive)
    called = [np.concatenate([_from(place[own], len(levels)), [0]]) for own in (positive, ~positive)]
    sensitivity, specificity = called[0] / count["positives"], 1 - called[1] / count["negatives"]
    merit = _merit(rule, sensitivity, specificity, count)
    best = int(np.flatnonzero(merit >= merit.max() - 1e-12)[0])
    if best in (0, len(levels)) or not np.isfinite(merit[best]):
        called_all = f"no threshold satisfies the rule better than calling every validation {unit} {_call(best)}"
        return OperatingPoint(**count, reason=called_all)
    prevalence = count["positives"] / len(scores)
    return OperatingPoint(
        **count,
        threshold=float((levels[best - 1] + levels[best]) / 2),
        sensitivity=float(sensitivity[best]),
        specificity=float(specificity[best]),
        net_benefit_at=rule.costs if rule.kind == "cost" else prevalence,
    )


def _call(best: int) -> str:
    return "negative" if best else "positive"


def _from(place: Array, levels: int) -> Array:
    """Count the samples at each level or above it."""
    return np.asarray(np.bincount(place, minlength=levels)[::-1].cumsum()[::-1])


def _merit(rule: OperatingRule, sensitivity: Array, specificity: Array, count: Mapping[str, int]) -> Array:
    """Return what the rule makes as large as possible; minus infinity where a bound is not reached."""
    if rule.kind == "sensitivity":
        return np.where(sensitivity >= rule.bound - 1e-12, specificity, -np.inf)
    if rule.kind == "specificity":
        return np.where(specificity >= rule.bound - 1e-12, sensitivity, -np.inf)
    if rule.kind == "cost":
        missed = rule.miss * (1 - sensitivity) * count["positives"]
        return np.asarray(-(missed + rule.alarm * (1 - specificity) * count["negatives"]))
    return np.asarray(sensitivity + specificity)


def _priors(target: Target, train: Array) -> dict[str, float]:
    """Return each class's share of the training part; that of a class without a training image is that of one image."""
    counted = np.maximum(np.bincount(train[train >= 0], minlength=target.outputs), 1)
    return dict(zip(target.output_names, (counted / counted.sum()).tolist(), strict=True))


def _words(target: Target, points: Mapping[str, OperatingPoint], priors: Mapping[str, float] | None, unit: str) -> str:
    if isinstance(target, Findings):
        return "A finding is called present if its probability is at least its threshold."
    if target.outputs > 2:
        divided = f"after division by the class's share of the training {unit}s" if priors else "as predicted"
        return f"The class with the largest probability, {divided}."
    positive, point = next(iter(points.items()), ("", None))
    if point is None or point.threshold is None:
        return "None: there is no operating point."
    other = next(name for name in target.output_names if name != positive)
    return f"'{positive}' if its probability is at least {point.threshold:.4g}, otherwise '{other}'."
