"""Metrics of predicted probabilities: calibration, and two proper scores.

A probability of exactly 0 or 1 is moved by 2.2e-16, the spacing of double precision, before its logarithm is taken, as
in scikit-learn: a completely wrong prediction costs 36 nats instead of infinity.

Notation: n samples, K classes or findings, B resamples at a time.
"""

from __future__ import annotations

from abc import abstractmethod

import numpy as np

from medssl.contracts.targets import Target
from medssl.evaluation.metrics.classes import predicted
from medssl.evaluation.metrics.findings import known_findings
from medssl.evaluation.metrics.metric import Array, PairedTest, PredictionMetric, Resampled, Scored

__all__ = ["BINS", "ECE", "Brier", "FindingsBrier", "FindingsLogLoss", "LogLoss", "clipped", "confidence_bins"]

BINS = 15  # of equal width: Guo et al. 2017
_SMALLEST = float(np.finfo(np.float64).eps)


def confidence_bins(confidence: Array) -> Array:
    """Return the bin numbers ``(n,)`` of confidences ``(n,)``, for the 15 bins (0, 1/15], (1/15, 2/15], ..."""
    edges = np.linspace(0, 1, BINS + 1)
    return np.asarray(np.searchsorted(edges[1:-1], confidence, side="left"))


def clipped(probability: Array) -> Array:
    """Move probabilities of 0 and 1 by 2.2e-16, so that they have a logarithm."""
    return np.asarray(np.clip(probability, _SMALLEST, 1 - _SMALLEST))


def _gaps(scored: Scored) -> Array:
    """Return ``(n, 15)``: in the column of each sample's bin, 1 if it is correct, else 0, minus its confidence."""
    confidence = scored.prediction.max(axis=1)
    gaps = np.zeros((scored.n, BINS))
    gaps[np.arange(scored.n), confidence_bins(confidence)] = (scored.once(predicted) == scored.y) - confidence
    return gaps


class ECE(PredictionMetric):
    """Expected calibration error of the predicted class in 15 bins of equal width."""

    name = "ece"
    title = "ECE"
    higher_is_better = False
    targets = ("classes", "grades")
    source = "Guo et al. 2017, arXiv 1706.04599, equation 3"

    def values(self, drawn: Resampled) -> Array:
        """Return ``(B,)``."""
        return np.asarray(np.abs(drawn.scored.once(_gaps).T @ drawn.weights).sum(axis=0) / drawn.total)


class _Loss(PredictionMetric):
    """The mean over samples of a loss per sample."""

    higher_is_better = False
    targets = ("classes", "grades")
    test = PairedTest.SAMPLED

    @abstractmethod
    def losses(self, scored: Scored) -> Array:
        """Return ``(n,)``."""

    def values(self, drawn: Resampled) -> Array:
        """Return ``(B,)``."""
        return drawn.mean(drawn.scored.once(self.losses))

    def contributions(self, scored: Scored) -> Array:
        """Return the losses divided by n."""
        return np.asarray(scored.once(self.losses) / scored.n)


class Brier(_Loss):
    """Mean squared difference of probability and outcome.

    For two classes the square for class 1, from 0 to 1; for more classes the sum over the classes, from 0 to 2.
    """

    name = "brier"
    title = "Brier score"
    source = "Brier 1950, Mon. Weather Rev. 78, 1-3, equation 2; scikit-learn `brier_score_loss`"

    def losses(self, scored: Scored) -> Array:
        """Return ``(n,)``."""
        squares: Array = scored.prediction.copy()
        squares[np.arange(scored.n), scored.y] -= 1
        np.square(squares, out=squares)
        return np.asarray(squares[:, 1] if scored.target.outputs == 2 else squares.sum(axis=1))


class LogLoss(_Loss):
    """Mean negative logarithm of the true class's probability."""

    name = "log_loss"
    title = "log loss"
    source = "Good 1952, J. R. Stat. Soc. B 14, 107-114; scikit-learn `log_loss`"
    leads = False

    def unit(self, target: Target) -> str:
        """Return ``nats``, because the logarithm is natural."""
        return "nats"

    def losses(self, scored: Scored) -> Array:
        """Return ``(n,)``."""
        likely: Array = clipped(scored.prediction[np.arange(scored.n), scored.y])
        return np.asarray(-np.log(likely))


class _FindingsLoss(PredictionMetric):
    """The mean over findings of the mean loss of their known samples.

    Findings without a known sample are left out. So is a resample in which another finding has no known sample.
    """

    higher_is_better = False
    targets = ("findings",)
    test = PairedTest.SAMPLED

    @staticmethod
    @abstractmethod
    def loss(probability: Array, positive: Array) -> Array:
        """Return losses ``(m,)`` of the known samples of one finding."""

    def _parts(self, scored: Scored) -> dict[str, tuple[Array, Array]]:
        """Return the known samples' positions and losses, by finding."""
        found = scored.once(known_findings)
        return {name: (k.rows, self.loss(k.scores, k.positive)) for name, k in found.items() if len(k.rows)}

    def outputs(self, drawn: Resampled) -> dict[str, Array]:
        """Return the mean loss of each finding that has a known sample."""
        return drawn.once(self._means)

    def _means(self, drawn: Resampled) -> dict[str, Array]:
        found = {}
        for name, (rows, losses) in drawn.scored.once(self._parts).items():
            weights = drawn.weights[rows]
            total = weights.sum(axis=0)
            mean = np.full(len(total), np.nan)
            np.divide(losses @ weights, total, out=mean, where=total > 0)
            found[name] = mean
        return found

    def values(self, drawn: Resampled) -> Array:
        """Return ``(B,)``, the mean over the findings."""
        return np.asarray(np.mean(list(self.outputs(drawn).values()), axis=0))

    def contributions(self, scored: Scored) -> Array:
        """Return losses, divided by the finding's known samples and the number of findings, summed over findings."""
        found = np.zeros(scored.n)
        parts = scored.once(self._parts)
        for rows, losses in parts.values():
            found[rows] += losses / (len(rows) * len(parts))
        return found


class FindingsBrier(_FindingsLoss):
    """Mean over the findings of the mean squared difference of probability and outcome, from 0 to 1."""

    name = "brier"
    title = "Brier score"
    source = "Brier 1950, Mon. Weather Rev. 78, 1-3; scikit-learn `brier_score_loss` of each finding"

    @staticmethod
    def loss(probability: Array, positive: Array) -> Array:
        """Return ``(m,)`` squares."""
        return np.asarray(np.square(probability - positive))


class FindingsLogLoss(_FindingsLoss):
    """Mean over the findings of the mean negative logarithm of the outcome's probability."""

    name = "log_loss"
    title = "log loss"
    source = "Good 1952, J. R. Stat. Soc. B 14, 107-114; scikit-learn `log_loss` of each finding"
    leads = False

    def unit(self, target: Target) -> str:
        """Return ``nats``, because the logarithm is natural."""
        return "nats"

    @staticmethod
    def loss(probability: Array, positive: Array) -> Array:
        """Return ``(m,)`` in nats."""
        likely: Array = clipped(np.where(positive, probability, 1 - probability))
        return np.asarray(-np.log(likely))
