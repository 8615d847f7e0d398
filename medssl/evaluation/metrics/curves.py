"""Areas under the ROC and the precision-recall curve of one score, for many resamples at once.

Notation: n samples, L distinct scores of the positives, B resamples.
"""

from __future__ import annotations

import numpy as np

from medssl.evaluation.metrics.metric import Array, sum_by

__all__ = ["Curve", "auroc_shares", "average_precision_shares"]


class Curve:
    """The order of positives and negatives by their scores.

    Args:
        scores: ``(n,)``; a higher score means that positive is more likely.
        positive: ``(n,)`` bool.
    """

    def __init__(self, scores: Array, positive: Array) -> None:
        levels, self._level = np.unique(scores[positive], return_inverse=True)  # distinct scores of the positives
        self._levels = len(levels)
        self._positive = np.flatnonzero(positive)
        # 2 j + 1 for a sample whose score equals positive score j, 2 j for one between j - 1 and j
        self._stair = np.searchsorted(levels, scores, side="left") + np.searchsorted(levels, scores, side="right")

    def auroc(self, weights: Array) -> Array:
        """Return ``(B,)``: how often a positive scores above a negative, ties count half; NaN without either."""
        mass = sum_by(self._stair, weights, 2 * self._levels + 1)  # (stairs, B)
        between, level = mass[0:-1:2], mass[1::2]
        below = between + level / 2  # becomes the weight of all samples below a level, and half of those on it
        below[1:] += level[:-1] / 2
        for j in range(1, self._levels):  # cumsum along the first axis would be ten times slower
            below[j] += below[j - 1]
        own = sum_by(self._level, weights[self._positive], self._levels)
        positives = own.sum(axis=0)
        negatives = mass.sum(axis=0) - positives
        pairs = np.einsum("jb,jb->b", own, below) - positives**2 / 2  # minus the pairs of two positives
        area: Array = np.full(len(pairs), np.nan)
        np.divide(pairs, positives * negatives, out=area, where=positives * negatives > 0)
        return area

    def average_precision(self, weights: Array) -> Array:
        """Return ``(B,)``: the mean, over the positives, of the precision at their scores; NaN without a positive.

        Samples with equal scores are counted together, as in scikit-learn's ``average_precision_score``.
        """
        mass = sum_by(self._stair, weights, 2 * self._levels + 1)  # (stairs, B)
        own = sum_by(self._level, weights[self._positive], self._levels)
        above = mass[1::2] + mass[2::2]  # becomes the weight of all samples at a level or above it
        found = own.copy()  # becomes that of the positives
        for j in range(self._levels - 2, -1, -1):
            above[j] += above[j + 1]
            found[j] += found[j + 1]
        precision = found / np.maximum(above, 1)  # weights are integers
        positives = own.sum(axis=0)
        area: Array = np.full(len(positives), np.nan)
        np.divide(np.einsum("jb,jb->b", own, precision), positives, out=area, where=positives > 0)
        return area


def auroc_shares(scores: Array, positive: Array) -> Array:
    """Return the contribution of each sample to the error of an AUROC, ``(n,)``.

    An AUROC is the mean, over the positives, of the share of negatives with a lower score, and likewise a mean over the
    negatives. The contribution of a sample is the difference of its own share from that mean, divided by the number of
    positives or negatives. The squares of the contributions sum to the variance of DeLong et al. 1988 (Biometrics 44,
    837-845, equations 4 to 6).

    Args:
        scores: ``(n,)``.
        positive: ``(n,)`` bool, of both kinds.
    """
    found = np.zeros(len(scores))
    for own, sign in ((positive, 1), (~positive, -1)):
        others = np.sort(sign * scores[~own])
        mine = sign * scores[own]
        below = (np.searchsorted(others, mine, "left") + np.searchsorted(others, mine, "right")) / (2 * len(others))
        count = len(mine)
        found[own] += (below - below.mean()) / np.sqrt(count * max(1, count - 1))
    return found


def average_precision_shares(scores: Array, positive: Array) -> Array:
    """Return the contribution of each sample to the error of an average precision, ``(n,)``.

    It is the derivative of the average precision by the sample's weight, the infinitesimal jackknife (Efron 1982, The
    Jackknife, the Bootstrap and Other Resampling Plans, chapter 6). The sum of the squares is the variance.

    Args:
        scores: ``(n,)``.
        positive: ``(n,)`` bool, at least one.
    """
    hits = scores[positive]
    levels, count = np.unique(hits, return_counts=True)  # (L,) ascending
    above = len(scores) - np.searchsorted(np.sort(scores), levels, side="left")  # (L,) samples at a level or above it
    precision = np.cumsum(count[::-1])[::-1] / above
    area = float((count * precision).sum() / len(hits))
    # contribution of a sample to the precision of all levels up to its own; for a positive minus the precision itself
    gained = np.concatenate([[0.0], np.cumsum(count / above)])
    lost = np.concatenate([[0.0], np.cumsum(count * precision / above)])
    reached = np.searchsorted(levels, scores, side="right")
    shares: Array = positive * gained[reached] - lost[reached]
    shares[positive] += precision[reached[positive] - 1] - area
    return shares / len(hits)
