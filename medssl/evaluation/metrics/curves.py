"""Areas under the ROC and the precision-recall curve of one score, for many resamples at once.

Notation: n samples, L distinct scores of the positives, B resamples.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from medssl.evaluation.metrics.metric import Array, sum_by

__all__ = ["FIXED_SENSITIVITY", "FIXED_SPECIFICITY", "Areas", "Curve", "auroc_shares", "average_precision_shares"]

FIXED_SPECIFICITY, FIXED_SENSITIVITY = 0.9, 0.95  # bounds of screening studies; with an operating rule, the user's own
_LEAST = 1e-9  # a share that differs by rounding from a bound reaches it


class Areas(NamedTuple):
    """What the curves of one problem give in B resamples, ``(B,)`` each; NaN where it is not defined.

    Attributes:
        auroc: How often a positive scores above a negative; ties count half.
        average_precision: Mean, over the positives, of the precision at their scores.
        sensitivity: The largest sensitivity of a threshold with a specificity of at least 0.9.
        specificity: The largest specificity of a threshold with a sensitivity of at least 0.95.
    """

    auroc: Array
    average_precision: Array
    sensitivity: Array
    specificity: Array


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

    def areas(self, weights: Array) -> Areas:
        """Return the areas and points of the curves for weights ``(n, B)``.

        Samples with equal scores are counted together, as in scikit-learn.
        """
        mass = sum_by(self._stair, weights, 2 * self._levels + 1)  # (stairs, B)
        own = sum_by(self._level, weights[self._positive], self._levels)
        positives = own.sum(axis=0)
        negatives = mass.sum(axis=0) - positives
        above = mass[1::2] + mass[2::2]  # becomes the weight of all samples at a level or above it
        found = own.copy()  # becomes that of the positives
        for j in range(self._levels - 2, -1, -1):  # cumsum along the first axis would be ten times slower
            above[j] += above[j + 1]
            found[j] += found[j + 1]
        precision = found / np.maximum(above, 1)  # weights are integers
        alarms = np.subtract(above, found, out=above)  # negatives at a level or above it
        reached = alarms <= (1 - FIXED_SPECIFICITY + _LEAST) * negatives
        most = np.where(reached, found, 0).max(axis=0, initial=0)
        reached = found >= (FIXED_SENSITIVITY - _LEAST) * positives
        least = np.where(reached, alarms, negatives).min(axis=0, initial=np.inf)
        ties = mass[1::2] - own  # negatives at a level
        pairs = np.einsum("jb,jb->b", own, ties) / 2 - np.einsum("jb,jb->b", own, alarms) + positives * negatives
        both = positives * negatives > 0
        return Areas(
            auroc=_ratio(pairs, positives * negatives, both),
            average_precision=_ratio(np.einsum("jb,jb->b", own, precision), positives, positives > 0),
            sensitivity=_ratio(most, positives, both),
            specificity=1 - _ratio(least, negatives, both),
        )


def _ratio(numerator: Array, denominator: Array, where: Array) -> Array:
    found: Array = np.full(len(numerator), np.nan)
    np.divide(numerator, denominator, out=found, where=where)
    return found


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
