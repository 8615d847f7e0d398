"""Paired differences between two sets of predictions on the same test images, by evaluator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from medssl.evaluation.metrics import PairedTest, PredictionMetric, prediction_metrics
from medssl.evaluation.predictions import Predictions
from medssl.evaluation.scoring import chunk, draw_weights, measure
from medssl.evaluation.uncertainty.bootstrap import percentile_interval
from medssl.evaluation.uncertainty.statistics import holm, sign_flip_exact, sign_flip_sampled, sum_by_unit, t_test
from medssl.results.scores import Difference

__all__ = ["paired_differences", "paired_test"]

_SEED = 0  # of the resamples of test units, as in a study's comparisons

Array = np.ndarray[Any, np.dtype[Any]]


def paired_differences(
    first: Predictions, second: Predictions, *, resamples: int, confidence: float
) -> dict[str, dict[str, Difference]]:
    """Test every metric that has a paired test, for each evaluator in both sets of predictions.

    Args:
        first: Predictions for n test images.
        second: Other predictions for the same images.
        resamples: Number of resamples of groups for the confidence intervals; 0 for none.
        confidence: Level of the confidence intervals; the level of the tests is one minus this value.

    Returns:
        Differences by evaluator and metric; a metric that is undefined for one of the two is left out.
    """
    found: dict[str, dict[str, Difference]] = {name: {} for name in first.proba if name in second.proba}
    draws = {name: _draws(first, second, name, resamples) for name in found}
    for metric in prediction_metrics(first.target):
        if metric.test is not None:
            tested = {name: _difference(first, second, name, metric) for name in found}
            known = {name: pair for name, pair in tested.items() if pair is not None}
            p_values = paired_test(metric, [value for value, _ in known.values()], [x for _, x in known.values()])
            for (name, (value, _)), p, adjusted in zip(known.items(), p_values, holm(p_values), strict=True):
                low, high = percentile_interval(draws[name][metric.name], confidence) if draws[name] else (None, None)
                one = Difference(value=value, low=low, high=high, p=p, p_adjusted=adjusted)
                apart = low is None or high is None or low > 0 or high < 0
                found[name][metric.name] = replace(one, shown=adjusted <= 1 - confidence and apart)
    return found


def paired_test(metric: PredictionMetric, values: Sequence[float], by_unit: Sequence[Array]) -> list[float]:
    """Return the p-value of each difference of one metric.

    Args:
        metric: A metric that has a paired test.
        values: The differences.
        by_unit: The contribution of each unit to each difference, ``(U,)``.
    """
    if not values:
        return []
    if metric.test is PairedTest.EXACT:
        return [sign_flip_exact(part) for part in by_unit]
    if metric.test is PairedTest.SAMPLED:
        return [float(p) for p in sign_flip_sampled(np.stack(by_unit, axis=1))]
    few = metric.test is PairedTest.FEW
    return [t_test(value, part, few=few) for value, part in zip(values, by_unit, strict=True)]


def _difference(
    first: Predictions, second: Predictions, name: str, metric: PredictionMetric
) -> tuple[float, Array] | None:
    """Return the difference and the contribution of each unit to it, ``(U,)``; ``None`` if it is not defined."""
    scored = [part.scored(name) for part in (first, second)]
    one, other = (float(metric.values(each.as_is())[0]) for each in scored)
    if np.isnan(one) or np.isnan(other):
        return None
    apart = metric.contributions(scored[0]) - metric.contributions(scored[1])
    return one - other, sum_by_unit(apart[:, None], first.unit)[:, 0]


def _draws(first: Predictions, second: Predictions, name: str, resamples: int) -> Mapping[str, Array]:
    """Return the difference of each metric in each resample, ``(B,)``; empty if nothing can be resampled."""
    if not resamples or len(set(first.group)) < 2:
        return {}
    scored, metrics = [part.scored(name) for part in (first, second)], prediction_metrics(first.target)
    weights = draw_weights(first.unit, resamples, chunk(scored[0]), _SEED)
    parts = [[measure(each, metrics, w) for each in scored] for w in weights]
    return {m.name: np.concatenate([one[m.name] - other[m.name] for one, other in parts]) for m in metrics}
