"""Metrics of ordered classes, in addition to :mod:`medssl.evaluation.metrics.classes`: small errors cost less.

Notation: n samples, K grades, B resamples at a time.
"""

from __future__ import annotations

import numpy as np

from medssl.contracts.targets import Target
from medssl.evaluation.metrics.classes import confusion, counts, predicted
from medssl.evaluation.metrics.metric import Array, PairedTest, PredictionMetric, Resampled, Scored

__all__ = ["GradeError", "QuadraticKappa"]


class QuadraticKappa(PredictionMetric):
    """Agreement of true and predicted grade beyond chance; a disagreement is weighted by the square of its size.

    Not defined if truth and prediction contain only one grade, the same in both.
    """

    name = "kappa_quadratic"
    title = "quadratic kappa"
    targets = ("grades",)
    source = 'Cohen 1968, Psychol. Bull. 70, 213-220; scikit-learn `cohen_kappa_score(weights="quadratic")`'
    test = PairedTest.NORMAL

    def values(self, drawn: Resampled) -> Array:
        """Return ``(B,)``, at most 1."""
        cost = _cost(drawn.scored)
        true, guessed, _ = drawn.once(counts)
        seen = np.einsum("ij,ijb->b", cost, drawn.once(confusion)) * drawn.total
        by_chance = np.einsum("ij,ib,jb->b", cost, true, guessed)
        kappa: Array = np.full(len(seen), np.nan)
        np.divide(by_chance - seen, by_chance, out=kappa, where=by_chance > 0)
        return kappa

    def contributions(self, scored: Scored) -> Array:
        """Return the derivatives of kappa by the samples' weights: the infinitesimal jackknife (Efron 1982, ch. 6)."""
        cost, guess = _cost(scored), scored.once(predicted)
        true, guessed, _ = (part[:, 0] / scored.n for part in scored.as_is().once(counts))
        seen, by_chance = cost[scored.y, guess], true @ cost @ guessed
        own = cost[scored.y] @ guessed + cost[:, guess].T @ true  # contribution to the disagreement by chance
        share: Array = (seen.mean() * (own - 2 * by_chance) / by_chance - (seen - seen.mean())) / (by_chance * scored.n)
        return share


def _cost(scored: Scored) -> Array:
    """Return ``(K, K)``: the squared distance of two grades."""
    grades = np.arange(scored.target.outputs, dtype=np.float64)
    return np.asarray(np.square(grades[:, None] - grades[None, :]))


class GradeError(PredictionMetric):
    """Mean absolute difference of true and predicted grade."""

    name = "mean_absolute_error"
    title = "mean abs. error"
    higher_is_better = False
    targets = ("grades",)
    source = "Willmott & Matsuura 2005, Clim. Res. 30, 79-82; scikit-learn `mean_absolute_error` of the grades' numbers"
    test = PairedTest.EXACT

    def unit(self, target: Target) -> str:
        """Return ``grades``."""
        return "grades"

    def values(self, drawn: Resampled) -> Array:
        """Return ``(B,)`` in grades."""
        return drawn.mean(self.contributions(drawn.scored).astype(np.float64))

    def contributions(self, scored: Scored) -> Array:
        """Return by how many grades each prediction is wrong."""
        return np.asarray(np.abs(scored.once(predicted) - scored.y).astype(np.int64))
