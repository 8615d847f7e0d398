"""Computes the values of a reliability diagram, which compares predicted confidence with accuracy."""

from __future__ import annotations

from typing import Any

import numpy as np

from medssl.evaluation.metrics.calibration import BINS, confidence_bins
from medssl.evaluation.metrics.metric import Array

__all__ = ["reliability"]


def reliability(proba: Array, labels: Array) -> dict[str, list[Any]]:
    """Compare confidence and accuracy of the predicted class, by confidence in 15 bins of equal width.

    The mean over the samples of their bins' gaps, ``|accuracy - confidence|``, is the expected calibration error.

    Source: Guo et al. 2017 (arXiv 1706.04599), section 2 and figure 1.

    Args:
        proba: ``(n, K)`` class probabilities.
        labels: ``(n,)`` integers in ``0 .. K - 1``.

    Returns:
        By bin, from (0, 1/15] to (14/15, 1]: ``count``, mean ``confidence``, ``accuracy``; ``None`` in an empty bin.
    """
    confidence = np.asarray(proba, dtype=np.float64).max(axis=1)
    bins = confidence_bins(confidence)
    count = np.bincount(bins, minlength=BINS)

    def mean(values: Array) -> list[float | None]:
        total = np.bincount(bins, weights=values, minlength=BINS)
        return [float(t / c) if c else None for t, c in zip(total, count, strict=True)]

    right = proba.argmax(axis=1) == labels
    return {"count": count.tolist(), "confidence": mean(confidence), "accuracy": mean(right)}
