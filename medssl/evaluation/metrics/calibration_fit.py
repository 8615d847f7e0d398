"""Calibration of each problem's probability: slope and intercept of a logistic model, class-wise ECE, scaled Brier.

The logistic model predicts the outcome from the logit of the probability (Cox 1958, Biometrika 45, 562-565). A
probability of exactly 0 or 1 is moved by 2.2e-16 before its logit is taken, as in
:mod:`medssl.evaluation.metrics.calibration`. Such a sample has a logit of -36 or 36 and much influence.

Notation: n samples, P problems, m known samples of a problem, B resamples at a time.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import numpy as np
import torch
from scipy.special import expit

from medssl.evaluation.metrics.calibration import BINS, clipped, confidence_bins
from medssl.evaluation.metrics.metric import Array, PairedTest, Resampled, Scored
from medssl.evaluation.metrics.problems import ProblemMetric, outcome_totals, ratio, scored_problems

__all__ = ["CalibrationIntercept", "CalibrationSlope", "ClasswiseECE", "Logistic", "ScaledBrier"]

_ITERATIONS, _DONE = 40, 1e-9  # Newton's method squares the error in each step, so it is 1e-18 after one below 1e-9
_STEEP = 1.5  # largest change of the linear predictor across half a range, for the accuracy below
_NODES = np.cos(np.pi * (np.arange(14) + 0.5) / 14)  # Chebyshev points from -1 to 1
_FLAT = 1e-10  # below this share of the weights, the model explains every outcome, and the slope is infinite


def logits(probability: Array) -> Array:
    """Return the logits of probabilities, at most 36 in size."""
    likely = clipped(probability)
    return np.asarray(np.log(likely) - np.log1p(-likely))


class Logistic:
    """Logistic models of one problem, fitted in many resamples at once.

    With few distinct logits, or many samples, the sums of Newton's method run over fewer points: the distinct logits,
    or 14 Chebyshev nodes in each short range of logits, to which the weights of its samples are moved. For the analytic
    functions that are summed, this changes the sums by less than 1e-9 of the total weight (Trefethen 2013,
    Approximation Theory and Approximation Practice, theorem 8.2). A resample with a slope that is too steep for the
    ranges is fitted on the samples themselves.

    Args:
        x: ``(m,)`` logits.
        positive: ``(m,)`` bool, of both kinds.
    """

    def __init__(self, x: Array, positive: Array) -> None:
        self.centre = float(x.mean())  # intercept and slope are nearly independent around the middle
        self.x, self.y = x - self.centre, positive.astype(np.float64)
        rate = float(positive.mean())
        start = np.array([[np.log(rate / (1 - rate))], [0.0]])
        ones = np.ones((len(x), 1))
        full = _newton(self.x, ones, self._known(ones), start)
        self.start = np.where(np.isnan(full), start, full)
        self.shift = float(_intercept(self.x + self.centre, ones, self._known(ones)[0], 0.0)[0])
        self.reach = 1 / max(1.0, abs(float(self.start[1, 0])))
        self.nodes, self._moves = _points(self.x, self.reach)

    def fit(self, weights: Array) -> tuple[Array, Array]:
        """Fit ``P(positive) = 1 / (1 + exp(-(a + b x)))`` by maximum likelihood for weights ``(m, B)``.

        Returns:
            b, ``(B,)``, NaN where the model has no maximum, because a threshold separates the outcomes; and a of the
            model with b = 1, ``(B,)``, NaN where a resample has a single outcome.
        """
        known, start = self._known(weights), np.repeat(self.start, weights.shape[1], axis=1)
        moved = self._moved(weights)
        slope = _newton(self.nodes, moved, known, start)[1]
        steep = ~(np.abs(slope) * self.reach <= _STEEP)
        if steep.any() and len(self.nodes) < len(self.x):
            slope[steep] = _newton(self.x, weights[:, steep], known[:, steep], start[:, steep])[1]
        return slope, _intercept(self.nodes + self.centre, moved, known[0], self.shift)

    def _known(self, weights: Array) -> Array:
        """Return the sums of the outcomes, and of the outcomes times the logits, ``(2, B)``."""
        return np.asarray(np.stack([self.y, self.y * self.x]) @ weights)

    def _moved(self, weights: Array) -> Array:
        """Return the weights of the points, ``(points, B)``."""
        if self._moves is None:
            return weights
        return np.concatenate([move @ weights[rows] for rows, move in self._moves])


def _points(x: Array, reach: float) -> tuple[Array, list[tuple[Array, Array]] | None]:
    """Choose the points of the sums, and how weights are moved to them; ``None``: the points are the samples."""
    distinct, place = np.unique(x, return_inverse=True)
    number = np.floor((x - distinct[0]) / (2 * reach))
    ranges = np.unique(number)
    if len(distinct) <= min(len(ranges) * len(_NODES), len(x) // 2):
        return distinct, [(np.arange(len(x)), (place == np.arange(len(distinct))[:, None]).astype(np.float64))]
    if len(ranges) * len(_NODES) > len(x) // 2:
        return x, None
    nodes, moves = [], []
    for own in ranges:
        rows = np.flatnonzero(number == own)
        middle = distinct[0] + (2 * own + 1) * reach
        nodes.append(middle + reach * _NODES)
        moves.append((rows, _lagrange((x[rows] - middle) / reach)))
    return np.concatenate(nodes), moves


def _lagrange(t: Array) -> Array:
    """Return the Lagrange polynomials of the nodes at ``t`` from -1 to 1, ``(14, len(t))``."""
    apart = t - _NODES[:, None]
    found = np.empty(apart.shape)
    for j in range(len(_NODES)):
        others = np.arange(len(_NODES)) != j
        found[j] = np.prod(apart[others] / (_NODES[j] - _NODES[others])[:, None], axis=0)
    return found


def _newton(x: Array, weights: Array, known: Array, start: Array) -> Array:
    """Return a and b, ``(2, B)``, from points ``(m,)``, their weights ``(m, B)`` and the sums of the outcomes."""
    w, one, total = torch.from_numpy(weights), torch.from_numpy(x), torch.from_numpy(weights.sum(axis=0))
    powers, wanted = torch.from_numpy(np.stack([np.ones_like(x), x, x * x])), torch.from_numpy(known)
    a, b = (torch.from_numpy(row.copy()) for row in start)
    done = flat = torch.zeros(len(a), dtype=torch.bool)
    for _ in range(_ITERATIONS):
        p = torch.outer(one, b).add_(a).sigmoid_()
        guessed = p * w
        gradient = wanted - powers[:2] @ guessed
        h = powers @ guessed.mul_(p.neg_().add_(1))
        flat = ~(h[0] > _FLAT * total)
        determinant = h[0] * h[2] - h[1] ** 2
        step_a = (h[2] * gradient[0] - h[1] * gradient[1]) / determinant
        step_b = (h[0] * gradient[1] - h[1] * gradient[0]) / determinant
        a, b = a + step_a, b + step_b
        done = (step_a.abs() < _DONE * (1 + a.abs())) & (step_b.abs() < _DONE * (1 + b.abs()))
        if bool((done | flat).all()):
            break
    return torch.stack([a, b]).where(done & ~flat, torch.nan).numpy()


def _intercept(x: Array, weights: Array, known: Array, start: float) -> Array:
    """Return a, ``(B,)``: Newton's method inside a shrinking interval."""
    w, offset, wanted = torch.from_numpy(weights), torch.from_numpy(x)[:, None], torch.from_numpy(known)
    total = w.sum(dim=0)
    a = torch.full((w.shape[1],), start, dtype=torch.float64)
    both = (wanted > 0.5) & (wanted < total - 0.5)  # weights are integers
    low, high = torch.full_like(a, -80.0), torch.full_like(a, 80.0)  # logits are within 36: the root is inside
    for _ in range(100):
        p = (offset + a).sigmoid_()
        guessed = p * w
        missing = wanted - guessed.sum(dim=0)
        low, high = torch.where(missing > 0, a, low), torch.where(missing > 0, high, a)
        newton = a + missing / guessed.mul_(p.neg_().add_(1)).sum(dim=0)
        following = newton.where((newton >= low) & (newton <= high), (low + high) / 2)  # else bisect
        done = (following - a).abs() < _DONE * (1 + following.abs())
        a = following
        if bool((done | ~both).all()):
            break
    return a.where(both, torch.nan).numpy()


def _models(scored: Scored) -> list[tuple[Array | None, Logistic]]:
    """Return the model of each problem with the positions of its known samples; ``None``: all are known."""
    found, models = scored.once(scored_problems), []
    for positive, negative, scores in zip(found.positive, found.negative, found.scores, strict=True):
        known = positive + negative > 0
        rows = None if known.all() else np.flatnonzero(known)
        models.append((rows, Logistic(logits(scores[known]), positive[known] > 0)))
    return models


def _fitted(drawn: Resampled) -> Array:
    """Return slope and intercept of each problem, ``(2, P, B)``."""
    models = drawn.scored.once(_models)
    found = [model.fit(drawn.weights if rows is None else drawn.weights[rows]) for rows, model in models]
    return np.stack(found, axis=1) if found else np.empty((2, 0, drawn.weights.shape[1]))


class _Fitted(ProblemMetric):
    leads = False
    test = PairedTest.NORMAL

    place: ClassVar[int]  # of its values among those of a fit

    @staticmethod
    @abstractmethod
    def influence(model: Logistic) -> Array:
        """Return the influence of each sample on the estimate, ``(m,)``."""

    def each(self, drawn: Resampled) -> Array:
        """Return ``(P, B)``."""
        return np.asarray(drawn.once(_fitted)[self.place])

    def shares(self, scored: Scored) -> Array:
        """Return the influence of each sample on the maximum-likelihood estimate (Huber 1967, Berkeley Symp. 1)."""
        result: Array = np.zeros(scored.once(scored_problems).scores.shape)
        for row, (rows, model) in zip(list(result), scored.once(_models), strict=True):
            row[slice(None) if rows is None else rows] = self.influence(model)
        return result


class CalibrationSlope(_Fitted):
    """Slope of the logistic model: below 1 the probabilities are too extreme, above 1 too moderate.

    Not defined if a threshold separates the outcomes without an error.
    """

    name = "calibration_slope"
    title = "calibration slope"
    ideal = 1.0
    source = "Cox 1958, Biometrika 45, 562-565; Van Calster et al. 2019, BMC Med. 17, 230"
    place = 0

    @staticmethod
    def influence(model: Logistic) -> Array:
        """Return ``(m,)``."""
        a, b = model.start[:, 0]
        p = expit(a + b * model.x)
        design, v = np.stack([np.ones_like(p), model.x]), p * (1 - p)
        return np.asarray((np.linalg.inv((design * v) @ design.T) @ (design * (model.y - p)))[1])


class CalibrationIntercept(_Fitted):
    """Intercept of the logistic model with slope 1: above 0 the probabilities are too low on average, below 0 too high.

    It is also called calibration in the large.
    """

    name = "calibration_intercept"
    title = "calibration intercept"
    ideal = 0.0
    source = "Cox 1958, Biometrika 45, 562-565; Van Calster et al. 2019, BMC Med. 17, 230"
    place = 1

    @staticmethod
    def influence(model: Logistic) -> Array:
        """Return ``(m,)``."""
        p = expit(model.x + model.centre + model.shift)
        return np.asarray((model.y - p) / (p * (1 - p)).sum())


def _class_gaps(scored: Scored) -> list[Array]:
    """Return ``(n, 15)`` for each problem: in a sample's bin, its outcome minus its probability; 0 if unknown."""
    found, gaps = scored.once(scored_problems), []
    for positive, negative, scores in zip(found.positive, found.negative, found.scores, strict=True):
        own = np.zeros((BINS, scored.n))
        own[confidence_bins(scores), np.arange(scored.n)] = (positive - scores) * (positive + negative)
        gaps.append(own)
    return gaps


class ClasswiseECE(ProblemMetric):
    """Expected calibration error of the probability of each class or finding, in 15 bins of equal width."""

    name = "ece_classwise"
    title = "class-wise ECE"
    higher_is_better = False
    source = "Kull et al. 2019, arXiv 1910.12656, equation 4; netcal `ECE` of each class"
    leads = False

    def each(self, drawn: Resampled) -> Array:
        """Return ``(P, B)``."""
        gaps = drawn.scored.once(_class_gaps)
        error = np.stack([np.abs(own @ drawn.weights).sum(axis=0) for own in gaps]) if gaps else np.empty((0, 1))
        return ratio(error, np.sum(drawn.once(outcome_totals), axis=0))


def _squares(scored: Scored) -> Array:
    """Return the squared difference of probability and outcome, ``(P, n)``; 0 if unknown."""
    found = scored.once(scored_problems)
    return np.asarray(np.square(found.scores - found.positive) * (found.positive + found.negative))


class ScaledBrier(ProblemMetric):
    """1 - Brier score / Brier score of predicting the test part's prevalence; 0 or less: no better than that."""

    name = "brier_scaled"
    title = "scaled Brier"
    source = "Steyerberg et al. 2010, Epidemiology 21, 128-138, equation for the scaled Brier score"
    leads = False
    test = PairedTest.SAMPLED

    def each(self, drawn: Resampled) -> Array:
        """Return ``(P, B)``."""
        positives, negatives = drawn.once(outcome_totals)
        return 1 - ratio(
            drawn.scored.once(_squares) @ drawn.weights, ratio(positives * negatives, positives + negatives)
        )

    def shares(self, scored: Scored) -> Array:
        """Return the squares divided by the sum that predicting the prevalence has, times -1."""
        positives, negatives = scored.as_is().once(outcome_totals)
        return np.asarray(-scored.once(_squares) / (positives * negatives / (positives + negatives)))
