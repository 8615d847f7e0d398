"""How well the probabilities order the samples: areas and points of the ROC and the precision-recall curve.

For two classes a metric is that of the positive class; for more classes, grades and findings it is the mean, each
against the rest (see :mod:`medssl.evaluation.metrics.problems`). No metric of this module depends on a threshold.

Notation: n samples, P problems, B resamples at a time.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from medssl.evaluation.metrics.curves import auroc_shares, average_precision_shares
from medssl.evaluation.metrics.metric import Array, PairedTest, Resampled, Scored
from medssl.evaluation.metrics.problems import ProblemMetric, areas, scored_problems

__all__ = ["AUROC", "AveragePrecision", "SensitivityAt", "SpecificityAt"]


class _OfCurve(ProblemMetric):
    """A metric of the curves, which are computed once for all of them."""

    part: str

    def each(self, drawn: Resampled) -> Array:
        """Return ``(P, B)``."""
        found = [getattr(one, self.part) for one in drawn.once(areas)]
        return np.stack(found) if found else np.empty((0, drawn.weights.shape[1]))


def _by_problem(scored: Scored, shares: Callable[[Array, Array], Array]) -> Array:
    """Return ``(P, n)``: the contributions of the known samples of each problem; 0 for unknown ones."""
    found = scored.once(scored_problems)
    result: Array = np.zeros(found.scores.shape)
    for row, positive, negative, scores in zip(list(result), found.positive, found.negative, found.scores, strict=True):
        known = positive + negative > 0
        row[known] = shares(scores[known], positive[known] > 0)
    return result


class AUROC(_OfCurve):
    """Area under the ROC curve: the share of pairs in which the positive sample has the higher probability."""

    name = "auroc"
    title = "AUROC"
    most = float("inf")
    source = 'Hanley & McNeil 1982, Radiology 143, 29-36; scikit-learn `roc_auc_score(multi_class="ovr")`'
    test = PairedTest.NORMAL
    part = "auroc"

    def shares(self, scored: Scored) -> Array:
        """Return DeLong's contributions."""
        return _by_problem(scored, auroc_shares)


class AveragePrecision(_OfCurve):
    """Average precision, the area under the precision-recall curve.

    Predictions at random have the prevalence of the positives, which stands beside it as `chance`.
    """

    name = "average_precision"
    title = "avg. precision"
    most = float("inf")
    source = "Davis & Goadrich 2006, ICML, 233-240; scikit-learn `average_precision_score`"
    test = PairedTest.FEW
    part = "average_precision"

    def shares(self, scored: Scored) -> Array:
        """Return the contributions by the infinitesimal jackknife."""
        return _by_problem(scored, average_precision_shares)

    def chance(self, scored: Scored) -> float | None:
        """Return the prevalence, with several problems their mean."""
        found = scored.once(scored_problems)
        if not found.names:
            return None
        positives, negatives = found.positive.sum(axis=1), found.negative.sum(axis=1)
        return float(np.mean(positives / (positives + negatives)))


class SensitivityAt(_OfCurve):
    """Largest sensitivity of a threshold with a specificity of at least 0.9: a point of the test part's ROC curve.

    It describes the curve. The threshold is not known beforehand; that of the operating point is.
    """

    name = "sensitivity_at_specificity"
    title = "sens. at spec. .9"
    source = "Pepe 2003, The Statistical Evaluation of Medical Tests, section 4.3; scikit-learn `roc_curve`"
    leads = False
    part = "sensitivity"


class SpecificityAt(_OfCurve):
    """Largest specificity of a threshold with a sensitivity of at least 0.95: a point of the test part's ROC curve.

    It describes the curve. The threshold is not known beforehand; that of the operating point is.
    """

    name = "specificity_at_sensitivity"
    title = "spec. at sens. .95"
    source = "Pepe 2003, The Statistical Evaluation of Medical Tests, section 4.3; scikit-learn `roc_curve`"
    leads = False
    part = "specificity"
