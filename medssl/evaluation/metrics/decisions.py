"""Metrics of decisions at the operating point, which was chosen on the validation part.

A problem without an operating point is left out of the mean; without any, there is no metric of this module.

Notation: n samples, P problems, B resamples at a time. A hit is a positive sample that is called positive, an alarm a
negative one.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import NamedTuple

import numpy as np

from medssl.evaluation.metrics.metric import Array, PairedTest, Resampled, Scored
from medssl.evaluation.metrics.problems import ProblemMetric, outcome_totals, ratio, scored_problems

__all__ = [
    "F1",
    "NPV",
    "PPV",
    "ExpectedCost",
    "NegativeLikelihoodRatio",
    "NetBenefit",
    "PositiveLikelihoodRatio",
    "Sensitivity",
    "Specificity",
]


class _Calls(NamedTuple):
    """Called samples of each problem.

    Attributes:
        positive: ``(P, n)``, 1 for a positive sample.
        negative: ``(P, n)``, 1 for a negative sample.
        called: ``(P, n)``, 1 for a sample that is called positive; NaN without an operating point.
        hit: ``(P, n)``, 1 for a hit.
        alarm: ``(P, n)``, 1 for an alarm.
    """

    positive: Array
    negative: Array
    called: Array
    hit: Array
    alarm: Array


def _calls(scored: Scored) -> _Calls:
    found = scored.once(scored_problems)
    missing = np.full(found.scores.shape, np.nan)
    called = missing if scored.decided is None else scored.decided.positive.T[found.places]
    some = np.nan_to_num(called)
    return _Calls(found.positive, found.negative, called, found.positive * some, found.negative * some)


def _stacked(scored: Scored) -> Array:
    calls = scored.once(_calls)
    return np.concatenate([calls.hit, calls.alarm])


def _called(drawn: Resampled) -> tuple[Array, Array]:
    """Return the weights of hits and alarms, ``(P, B)`` each."""
    totals = drawn.scored.once(_stacked) @ drawn.weights
    return totals[: len(totals) // 2], totals[len(totals) // 2 :]


class _Decision(ProblemMetric):
    leads = False
    test = PairedTest.SAMPLED

    def usable(self, scored: Scored) -> Array:
        """Return the positions of the problems with an operating point for every sample."""
        return np.flatnonzero(~np.isnan(scored.once(_calls).called).any(axis=1))


class Sensitivity(_Decision):
    """Share of the positive samples that are called positive, at the operating point."""

    name = "sensitivity"
    title = "sensitivity"
    source = "Altman & Bland 1994, BMJ 308, 1552; scikit-learn `recall_score`"

    def each(self, drawn: Resampled) -> Array:
        """Return ``(P, B)``."""
        return ratio(drawn.once(_called)[0], drawn.once(outcome_totals)[0])

    def shares(self, scored: Scored) -> Array:
        """Return hits divided by the number of positives."""
        calls = scored.once(_calls)
        return np.asarray(calls.hit / calls.positive.sum(axis=1, keepdims=True))


class Specificity(_Decision):
    """Share of the negative samples that are called negative, at the operating point."""

    name = "specificity"
    title = "specificity"
    source = "Altman & Bland 1994, BMJ 308, 1552; scikit-learn `recall_score(pos_label=0)`"

    def each(self, drawn: Resampled) -> Array:
        """Return ``(P, B)``."""
        return 1 - ratio(drawn.once(_called)[1], drawn.once(outcome_totals)[1])

    def shares(self, scored: Scored) -> Array:
        """Return rejected negatives divided by the number of negatives."""
        calls = scored.once(_calls)
        return np.asarray((calls.negative - calls.alarm) / calls.negative.sum(axis=1, keepdims=True))


class PPV(_Decision):
    """Share of the samples called positive that are positive, at the operating point and the test part's prevalence.

    Not defined if no sample is called positive.
    """

    name = "ppv"
    title = "PPV"
    source = "Altman & Bland 1994, BMJ 309, 102; scikit-learn `precision_score`"
    test = PairedTest.FEW

    def each(self, drawn: Resampled) -> Array:
        """Return ``(P, B)``."""
        hit, alarm = drawn.once(_called)
        return ratio(hit, hit + alarm)

    def shares(self, scored: Scored) -> Array:
        """Return the derivatives by the samples' weights: the infinitesimal jackknife (Efron 1982, ch. 6)."""
        calls, value = scored.once(_calls), self.each(scored.as_is())
        called = calls.hit + calls.alarm
        return np.asarray((calls.hit - value * called) / called.sum(axis=1, keepdims=True))


class NPV(_Decision):
    """Share of the samples called negative that are negative, at the operating point and the test part's prevalence.

    Not defined if no sample is called negative.
    """

    name = "npv"
    title = "NPV"
    source = "Altman & Bland 1994, BMJ 309, 102; scikit-learn `precision_score(pos_label=0)`"
    test = PairedTest.FEW

    def each(self, drawn: Resampled) -> Array:
        """Return ``(P, B)``."""
        (hit, alarm), (positives, negatives) = drawn.once(_called), drawn.once(outcome_totals)
        return ratio(negatives - alarm, negatives - alarm + positives - hit)

    def shares(self, scored: Scored) -> Array:
        """Return the derivatives by the samples' weights: the infinitesimal jackknife (Efron 1982, ch. 6)."""
        calls, value = scored.once(_calls), self.each(scored.as_is())
        right = calls.negative - calls.alarm
        rejected = right + calls.positive - calls.hit
        return np.asarray((right - value * rejected) / rejected.sum(axis=1, keepdims=True))


class F1(_Decision):
    """Harmonic mean of PPV and sensitivity, at the operating point."""

    name = "f1"
    title = "F1"
    source = "van Rijsbergen 1979, Information Retrieval, chapter 7; scikit-learn `f1_score`"
    test = PairedTest.FEW

    def each(self, drawn: Resampled) -> Array:
        """Return ``(P, B)``."""
        hit, alarm = drawn.once(_called)
        return ratio(2 * hit, hit + alarm + drawn.once(outcome_totals)[0])

    def shares(self, scored: Scored) -> Array:
        """Return the derivatives by the samples' weights: the infinitesimal jackknife (Efron 1982, ch. 6)."""
        calls, value = scored.once(_calls), self.each(scored.as_is())
        size = calls.positive + calls.hit + calls.alarm
        return np.asarray((2 * calls.hit - value * size) / size.sum(axis=1, keepdims=True))


class _LikelihoodRatio(_Decision):
    """With several problems the geometric mean, as for all ratios."""

    test = PairedTest.FEW

    def mean(self, values: Array) -> Array:
        """Return ``(B,)``: the geometric mean over the problems."""
        with np.errstate(divide="ignore"):  # a ratio of 0 makes the mean 0
            return np.asarray(np.exp(np.log(values).mean(axis=0)))

    @abstractmethod
    def _rates(self, scored: Scored) -> tuple[Array, Array]:
        """Return the two samples' masks whose shares of positives and negatives are divided, ``(P, n)`` each."""

    def shares(self, scored: Scored) -> Array:
        """Return the derivatives by the samples' weights: the infinitesimal jackknife (Efron 1982, ch. 6)."""
        calls, (over, under) = scored.once(_calls), self._rates(scored)
        logarithm = sum(
            sign * mask * ratio(np.ones((len(mask), 1)), mask.sum(axis=1, keepdims=True))
            for sign, mask in ((1, over), (-1, calls.positive), (-1, under), (1, calls.negative))
        )
        value = self.each(scored.as_is())
        return np.where(value == 0, 0.0, value * logarithm)  # a ratio of 0 stays 0 whatever the weights are

    def contributions(self, scored: Scored) -> Array:
        """Return the derivative of the geometric mean; 0 if the mean is 0."""
        usable = self.usable(scored)
        own, shares = self.each(scored.as_is())[usable], self.shares(scored)[usable]
        if (own == 0).any():
            return np.zeros(shares.shape[1])
        return np.asarray((shares / own).mean(axis=0) * self.mean(own))


class PositiveLikelihoodRatio(_LikelihoodRatio):
    """Sensitivity divided by the share of negatives called positive, at the operating point.

    The odds of disease after a positive result are the odds before it, multiplied by this ratio. Not defined without a
    false alarm.
    """

    name = "lr_positive"
    title = "LR+"
    source = "Deeks & Altman 2004, BMJ 329, 168-169; scikit-learn `class_likelihood_ratios`"

    def each(self, drawn: Resampled) -> Array:
        """Return ``(P, B)``."""
        (hit, alarm), (positives, negatives) = drawn.once(_called), drawn.once(outcome_totals)
        return ratio(hit * negatives, alarm * positives)

    def _rates(self, scored: Scored) -> tuple[Array, Array]:
        calls = scored.once(_calls)
        return calls.hit, calls.alarm


class NegativeLikelihoodRatio(_LikelihoodRatio):
    """Share of positives called negative, divided by the specificity, at the operating point.

    Not defined if no negative is called negative.
    """

    name = "lr_negative"
    title = "LR-"
    higher_is_better = False
    source = "Deeks & Altman 2004, BMJ 329, 168-169; scikit-learn `class_likelihood_ratios`"

    def each(self, drawn: Resampled) -> Array:
        """Return ``(P, B)``."""
        (hit, alarm), (positives, negatives) = drawn.once(_called), drawn.once(outcome_totals)
        return ratio((positives - hit) * negatives, (negatives - alarm) * positives)

    def _rates(self, scored: Scored) -> tuple[Array, Array]:
        calls = scored.once(_calls)
        return calls.positive - calls.hit, calls.negative - calls.alarm


class ExpectedCost(_Decision):
    """Cost of misses and alarms, divided by that of the cheaper of two rules: call all positive, or all negative.

    Above 1 the decisions are worse than no model. A miss and an alarm cost the same unless the operating point is
    `cost=A:B`.
    """

    name = "expected_cost"
    title = "expected cost"
    higher_is_better = False
    source = "Ferrer 2022, arXiv 2209.05355, equations 4 and 9 (normalised)"

    def each(self, drawn: Resampled) -> Array:
        """Return ``(P, B)``."""
        (hit, alarm), (positives, negatives) = drawn.once(_called), drawn.once(outcome_totals)
        miss, false = _costs(drawn.scored)
        return ratio(miss * (positives - hit) + false * alarm, np.minimum(miss * positives, false * negatives))

    def shares(self, scored: Scored) -> Array:
        """Return each sample's cost, divided by that of the cheaper rule."""
        calls, (miss, false) = scored.once(_calls), _costs(scored)
        cheaper = np.minimum(miss * calls.positive.sum(axis=1), false * calls.negative.sum(axis=1))
        return np.asarray((miss * (calls.positive - calls.hit) + false * calls.alarm) / cheaper[:, None])


def _costs(scored: Scored) -> tuple[float, float]:
    return (1.0, 1.0) if scored.decided is None else (scored.decided.miss, scored.decided.alarm)


def _benefits(scored: Scored) -> Array:
    """Return each sample's benefit, ``(P, n)``: 1 for a hit, minus the odds of the threshold probability for an alarm.

    A sample is called positive here if its probability is at least the threshold probability of the net benefit.
    """
    found = scored.once(scored_problems)
    at = np.nan if scored.decided is None else scored.decided.benefit_at.T[found.places]
    called = found.scores >= at
    return np.asarray(called * (found.positive - found.negative * at / (1 - np.asarray(at))))


class NetBenefit(_Decision):
    """Net benefit at one threshold probability: share of hits, minus the share of alarms weighted by its odds.

    The threshold probability is that of the cost ratio for `cost=A:B`, else the share of positive validation images, at
    which treating all and treating none have a benefit of 0. It is the same for all models, and images are positive
    from this probability on, so wrong calibration costs benefit. The decision curve has all other thresholds.
    """

    name = "net_benefit"
    title = "net benefit"
    source = "Vickers & Elkin 2006, Med. Decis. Making 26, 565-574; dcurves `dca`"

    def each(self, drawn: Resampled) -> Array:
        """Return ``(P, B)``."""
        benefit = np.nan_to_num(drawn.scored.once(_benefits)) @ drawn.weights
        return ratio(benefit, np.sum(drawn.once(outcome_totals), axis=0))

    def usable(self, scored: Scored) -> Array:
        """Return the positions of the problems with a threshold probability."""
        return np.flatnonzero(~np.isnan(scored.once(_benefits)).any(axis=1))

    def shares(self, scored: Scored) -> Array:
        """Return each sample's benefit divided by the number of known samples."""
        known = np.sum(scored.as_is().once(outcome_totals), axis=0)
        return np.asarray(scored.once(_benefits) / known)
