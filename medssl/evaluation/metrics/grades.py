"""Metrics of ordered classes, beside those of :mod:`medssl.evaluation.metrics.classes`: a near miss costs less.

Legend: n samples, K grades, B resamples at a time.
"""

from __future__ import annotations

import numpy as np

from medssl.contracts.targets import Target
from medssl.evaluation.metrics.classes import confusion, counts, predicted
from medssl.evaluation.metrics.metric import Array, PairedTest, PredictionMetric, Resampled, Scored

__all__ = ["GradeError", "QuadraticKappa"]


class QuadraticKappa(PredictionMetric):
    """Agreement of true and predicted grade beyond chance; a disagreement counts by the square of its size.

    Not defined where truth and prediction hold one and the same grade alone.
    """

    name = "kappa_quadratic"
    title = "quadratic kappa"
    targets = ("grades",)
    source = 'Cohen 1968, Psychol. Bull. 70, 213-220; scikit-learn `cohen_kappa_score(weights="quadratic")`'

    def values(self, drawn: Resampled) -> Array:
        """Return ``(B,)``, at most 1."""
        grades = np.arange(drawn.scored.target.outputs)
        cost = np.square(grades[:, None] - grades[None, :]).astype(np.float64)
        true, guessed, _ = drawn.once(counts)
        seen = np.einsum("ij,ijb->b", cost, drawn.once(confusion)) * drawn.total
        by_chance = np.einsum("ij,ib,jb->b", cost, true, guessed)
        kappa: Array = np.full(len(seen), np.nan)
        np.divide(by_chance - seen, by_chance, out=kappa, where=by_chance > 0)
        return kappa


class GradeError(PredictionMetric):
    """Mean absolute difference of true and predicted grade."""

    name = "mean_absolute_error"
    title = "mean abs. error"
    higher_is_better = False
    targets = ("grades",)
    source = "Mean of |predicted - true|; scikit-learn `mean_absolute_error` of the grades' numbers"
    test = PairedTest.EXACT

    def unit(self, target: Target) -> str:
        """Return ``grades``."""
        del target
        return "grades"

    def values(self, drawn: Resampled) -> Array:
        """Return ``(B,)`` in grades."""
        return drawn.mean(self.contributions(drawn.scored).astype(np.float64))

    def contributions(self, scored: Scored) -> Array:
        """Return how many grades the prediction is off."""
        off: Array = np.abs(scored.once(predicted) - scored.y).astype(np.int64)
        return off
