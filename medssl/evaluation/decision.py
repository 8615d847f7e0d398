"""Curves of predicted probabilities for figures: decision curve, smooth calibration curve, histograms by outcome.

They are computed on the test part when a run is scored, so a report only draws them. Nothing is chosen from them.

Notation: n samples of one problem of two outcomes, T thresholds, G grid points, B resamples at a time.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from medssl.contracts.targets import Classes, Findings
from medssl.evaluation.metrics.metric import Array, Scored, sum_by
from medssl.evaluation.metrics.problems import problem_names, scored_problems
from medssl.evaluation.scoring import chunk, draw_weights
from medssl.evaluation.uncertainty.bootstrap import percentile_interval
from medssl.recipe.settings import EvaluateSettings

__all__ = ["THRESHOLDS", "calibration_grid", "curves", "net_benefits", "smooth_calibration"]

THRESHOLDS: Array = np.arange(1, 100) / 100  # as in dcurves, without 0, where every curve is the prevalence
_BARS = 20  # of a histogram
_GRID = 41  # points of a smooth curve
_SPAN = 0.75  # share of the samples in a neighbourhood: the default of R's loess, as in Van Calster et al. 2019
_MOST = 14  # problems with curves: more do not fit a page
_LEAST = 10  # samples of each outcome for a smooth curve; a handful is shown by the histogram alone


def net_benefits(scores: Array, positive: Array, weights: Array) -> tuple[Array, Array]:
    """Return the net benefit of a model and of treating all, ``(T, B)`` each.

    Net benefit is the share of true positives minus the share of false positives, weighted by the odds of the threshold
    probability (Vickers & Elkin 2006, Med. Decis. Making 26, 565-574). That of treating none is 0.

    Args:
        scores: ``(n,)``; a sample is treated if its probability is at least the threshold.
        positive: ``(n,)`` bool.
        weights: ``(n, B)``.
    """
    reached = np.searchsorted(THRESHOLDS, scores, side="right")  # the number of thresholds up to the score
    count, odds = len(THRESHOLDS), (THRESHOLDS / (1 - THRESHOLDS))[:, None]
    total = weights.sum(axis=0)
    treated = [
        sum_by(reached[own], weights[own], count + 1)[::-1].cumsum(axis=0)[::-1][1:] for own in (positive, ~positive)
    ]
    share = weights[positive].sum(axis=0) / total
    return treated[0] / total - treated[1] / total * odds, share - (1 - share) * odds


def calibration_grid(scores: Array) -> Array:
    """Return ``(G,)`` probabilities: from the lowest to the highest prediction, in equal steps."""
    return np.asarray(np.linspace(scores.min(), scores.max(), _GRID))


def smooth_calibration(scores: Array, positive: Array, grid: Array, weights: Array) -> Array:
    """Return the smoothed share of positives at the grid's probabilities, ``(G, B)``.

    It is a local linear regression with tricube weights on the nearest 75 % of the samples, that is loess of degree 1
    without robustness steps (Cleveland 1979, J. Am. Stat. Assoc. 74, 829-836, section 2; for calibration Austin &
    Steyerberg 2014, Stat. Med. 33, 517-535). A resample keeps the neighbourhoods of all samples.

    Args:
        scores: ``(n,)``.
        positive: ``(n,)`` bool.
        grid: ``(G,)``.
        weights: ``(n, B)``.

    Returns:
        Values from 0 to 1; NaN where a neighbourhood has no sample.
    """
    near = max(2, round(_SPAN * len(scores) + 1e-10))
    apart = scores - grid[:, None]  # (G, n)
    width = np.partition(np.abs(apart), near - 1, axis=1)[:, near - 1, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        kernel = np.where(width > 0, np.clip(1 - np.abs(apart / width) ** 3, 0, None) ** 3, apart == 0)
    y = positive.astype(np.float64)
    zero, one, two = (kernel * apart**k @ weights for k in range(3))
    flat, sloped = (kernel * y * apart**k @ weights for k in range(2))
    determinant = zero * two - one**2
    with np.errstate(divide="ignore", invalid="ignore"):
        line = (two * flat - one * sloped) / determinant
        mean = flat / zero  # all samples of a neighbourhood have the same score
    return np.asarray(np.clip(np.where(determinant > 1e-12 * zero * two, line, mean), 0, 1))


def curves(scored: Scored, units: Array, settings: EvaluateSettings, seed: int) -> dict[str, Any]:
    """Return the curves of each problem by its name, as plain values.

    Args:
        scored: Truth and predictions.
        units: ``(n,)`` integers from 0, equal for samples that are drawn together.
        settings: Number of resamples and level of the intervals.
        seed: Seed of the resamples; the same as for the metrics.

    Returns:
        By problem ``net_benefit`` (``threshold``, ``model``, ``low``, ``high``, ``all``), ``smooth``
        (``predicted``, ``observed``, ``low``, ``high``; without values if an outcome has fewer than ten samples) and
        ``histogram`` (``positive`` and ``negative`` counts in twenty equal bins from 0 to 1). Intervals are there for
        two classes only. Empty for a quantity, without both outcomes, and for more than 14 problems.
    """
    if not isinstance(scored.target, Classes | Findings) or len(problem_names(scored.target)) > _MOST:
        return {}
    found = scored.once(scored_problems)
    alone = len(problem_names(scored.target)) == 1
    resamples = settings.bootstrap if alone and units.max() else 0
    weights = [np.ones((scored.n, 1)), *draw_weights(units, resamples, chunk(scored), seed)]
    result = {}
    for name, positive, negative, scores in zip(found.names, found.positive, found.negative, found.scores, strict=True):
        known = positive + negative > 0
        own = [w[known] for w in weights]
        result[name] = _of_problem(scores[known], positive[known] > 0, own, settings.confidence)
    return result


def _of_problem(scores: Array, positive: Array, weights: list[Array], confidence: float) -> dict[str, Any]:
    pairs = [net_benefits(scores, positive, w) for w in weights]
    edges = np.linspace(0, 1, _BARS + 1)
    bars = {
        name: np.histogram(scores[own], edges)[0].tolist()
        for name, own in (("positive", positive), ("negative", ~positive))
    }
    return {
        "net_benefit": {
            "threshold": THRESHOLDS.tolist(),
            **_band("model", [pair[0] for pair in pairs], confidence),
            "all": pairs[0][1][:, 0].tolist(),
        },
        "smooth": _calibration(scores, positive, weights, confidence),
        "histogram": bars,
    }


def _calibration(scores: Array, positive: Array, weights: list[Array], confidence: float) -> dict[str, Any]:
    if min(positive.sum(), (~positive).sum()) < _LEAST or np.ptp(scores) == 0:
        return {"predicted": [], "observed": [], "low": None, "high": None}
    grid = calibration_grid(scores)
    band = _band("observed", [smooth_calibration(scores, positive, grid, w) for w in weights], confidence)
    return {"predicted": grid.tolist(), **band}


def _band(name: str, parts: list[Array], confidence: float) -> dict[str, Any]:
    """Return the values of the first part, and the interval of the others, row by row."""
    value = [None if np.isnan(v) else float(v) for v in parts[0][:, 0]]
    if len(parts) == 1:
        return {name: value, "low": None, "high": None}
    ends = [percentile_interval(row, confidence) for row in np.concatenate(parts[1:], axis=1)]
    return {name: value, "low": [low for low, _ in ends], "high": [high for _, high in ends]}
