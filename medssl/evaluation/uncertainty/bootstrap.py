"""The percentile bootstrap interval (Efron & Tibshirani 1993, ch. 13)."""

from __future__ import annotations

import numpy as np

from medssl.evaluation.metrics.metric import Array

__all__ = ["percentile_interval"]

_LEAST_DEFINED = 0.5  # our choice: below it, the interval describes a minority of the resamples


def percentile_interval(draws: Array, confidence: float) -> tuple[float | None, float | None]:
    """Return the interval of a metric from its values in the resamples.

    A resample in which the metric is not defined, for instance because it lacks a class, is left out. If more than half
    of them are left out, there is no interval: the remaining resamples are similar, and their interval would be too
    narrow.

    Args:
        draws: ``(B,)`` float64, the metric in each resample; NaN where it is not defined.
        confidence: Level of the interval, 0 to 1.

    Returns:
        The lower and the upper end; ``None`` twice if there is no interval.
    """
    defined = draws[~np.isnan(draws)]
    if not len(defined) or len(defined) < _LEAST_DEFINED * len(draws):
        return None, None
    low, high = np.quantile(defined, ((1 - confidence) / 2, (1 + confidence) / 2))
    return float(low), float(high)
