"""Metrics of several findings at once: each is the mean over the findings of the same metric of one finding.

A finding is included if the known samples of the test part contain both outcomes. If the metric of one of these
findings is not defined in a resample, the resample is left out. An unknown outcome counts neither as present nor as
absent.

Notation: n samples, K findings, B resamples at a time.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np

from medssl.evaluation.metrics.curves import Curve, auroc_shares, average_precision_shares
from medssl.evaluation.metrics.metric import Array, PairedTest, PredictionMetric, Resampled, Scored

__all__ = ["FindingsAUROC", "FindingsAveragePrecision", "Known", "known_findings", "outcome_counts"]


@dataclass(frozen=True, kw_only=True)
class Known:
    """The samples with a known outcome of one finding, m of them.

    Attributes:
        rows: ``(m,)`` positions of the samples.
        positive: ``(m,)`` bool, whether the finding is present.
        scores: ``(m,)`` predicted probabilities.
    """

    rows: Array
    positive: Array
    scores: Array

    @property
    def has_both(self) -> bool:
        """Whether both outcomes occur."""
        return bool(self.positive.any() and not self.positive.all())


def known_findings(scored: Scored) -> dict[str, Known]:
    """Return the known samples of every finding, by its name."""
    found = {}
    for k, name in enumerate(scored.target.output_names):
        rows = np.flatnonzero(~np.isnan(scored.y[:, k]))
        found[name] = Known(rows=rows, positive=scored.y[rows, k] > 0, scores=scored.prediction[rows, k])
    return found


def outcome_counts(scored: Scored) -> dict[str, dict[str, int]]:
    """Return, by finding, how many samples are ``present``, ``absent`` and ``unknown``."""
    found = {}
    for name, known in scored.once(known_findings).items():
        present = int(known.positive.sum())
        found[name] = {"present": present, "absent": len(known.rows) - present, "unknown": scored.n - len(known.rows)}
    return found


def _curves(scored: Scored) -> dict[str, tuple[Known, Curve]]:
    found = scored.once(known_findings)
    return {name: (known, Curve(known.scores, known.positive)) for name, known in found.items() if known.has_both}


class _OfFindings(PredictionMetric):
    """The mean over findings of an area under a curve."""

    targets = ("findings",)
    test = PairedTest.NORMAL

    @staticmethod
    @abstractmethod
    def area(curve: Curve, weights: Array) -> Array:
        """Return the area of one finding, ``(B,)``, for the weights of its known samples."""

    @staticmethod
    @abstractmethod
    def shares(scores: Array, positive: Array) -> Array:
        """Return ``(m,)``: the contribution of each known sample of one finding to the error of its area."""

    def values(self, drawn: Resampled) -> Array:
        """Return ``(B,)``, the mean over the findings with both outcomes."""
        areas = self.outputs(drawn)
        return np.mean(list(areas.values()), axis=0) if areas else np.full(drawn.weights.shape[1], np.nan)

    def outputs(self, drawn: Resampled) -> dict[str, Array]:
        """Return the area of each finding with both outcomes."""
        return drawn.once(self._areas)

    def _areas(self, drawn: Resampled) -> dict[str, Array]:
        curves = drawn.scored.once(_curves)
        return {name: self.area(curve, drawn.weights[known.rows]) for name, (known, curve) in curves.items()}

    def contributions(self, scored: Scored) -> Array:
        """Return the mean of the contributions over the findings with both outcomes."""
        found = np.zeros(scored.n)
        both = [known for known in scored.once(known_findings).values() if known.has_both]
        for known in both:
            found[known.rows] += self.shares(known.scores, known.positive) / len(both)
        return found


class FindingsAUROC(_OfFindings):
    """Mean over the findings of the area under the ROC curve."""

    name = "auroc"
    title = "AUROC"
    source = 'Hanley & McNeil 1982, Radiology 143, 29-36; scikit-learn `roc_auc_score(average="macro")`'

    @staticmethod
    def area(curve: Curve, weights: Array) -> Array:
        """Return the area of one finding, ``(B,)``; NaN if a resample has a single outcome."""
        return curve.auroc(weights)

    @staticmethod
    def shares(scores: Array, positive: Array) -> Array:
        """Return DeLong's contributions."""
        return auroc_shares(scores, positive)


class FindingsAveragePrecision(_OfFindings):
    """Mean over the findings of the average precision, the area under the precision-recall curve.

    A finding that is predicted at random has about its prevalence.
    """

    name = "average_precision"
    title = "avg. precision"
    source = 'Davis & Goadrich 2006, ICML, 233-240; scikit-learn `average_precision_score(average="macro")`'

    @staticmethod
    def area(curve: Curve, weights: Array) -> Array:
        """Return the value of one finding, ``(B,)``; NaN if a resample has no positive."""
        return curve.average_precision(weights)

    @staticmethod
    def shares(scores: Array, positive: Array) -> Array:
        """Return the contributions by the infinitesimal jackknife."""
        return average_precision_shares(scores, positive)
