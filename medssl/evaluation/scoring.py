"""Metrics of predicted probabilities, each with a bootstrap interval.

Every metric equals scikit-learn's. What they do about classes that are missing:

* F1 (macro and weighted) averages over the classes that occur among the labels or the predictions;
* balanced accuracy averages the recall over the classes that occur among the labels;
* AUROC is that of class 1 where there are two classes, and otherwise the mean over the labels' classes of one class
  against all others; with a single class among the labels it does not exist and is ``None``.

ECE is the expected calibration error of the predicted class in 15 bins of equal width (Guo et al. 2017, arXiv
1706.04599, section 2).

The interval is the percentile bootstrap (Efron & Tibshirani 1993, ch. 13). Where groups are known, whole groups are
drawn: two images of one patient are not two independent observations. Resample i counts how often each unit occurs in
row i of ``numpy.random.default_rng(seed).integers(0, U, size=(resamples, U))``, U units, in the order of
``numpy.unique`` for groups. A resample is a column of weights, so one pass over the samples serves hundreds of them.
A resample that lacks one of the labels' classes has no AUROC and is left out of that interval alone.

Legend: n samples, K classes, B resamples at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from medssl.errors import DataError, PluginError
from medssl.settings import EvaluateSettings

__all__ = ["METRICS", "Table", "chunk", "draw_weights", "majority", "ranked_classes", "score"]

METRICS = ("accuracy", "f1_weighted", "f1_macro", "balanced_accuracy", "auroc", "mcc", "ece")

_BINS = 15  # Guo et al. 2017
_CHUNK = 2**20  # weights held at a time: 8 MiB stay in a processor's cache

Array = np.ndarray[Any, np.dtype[Any]]


def score(proba: Array, labels: Array, groups: Array | None, settings: EvaluateSettings, seed: int) -> dict[str, Any]:
    """Compute every metric with its interval.

    Args:
        proba: ``(n, K)`` class probabilities; the predicted class is the first of the largest.
        labels: ``(n,)`` integers in ``0 .. K - 1``.
        groups: ``(n,)`` integers or strings, equal for samples of one group; a sample without a group has a
            value of its own. ``None`` where groups are not known.
        settings: Number of resamples, and the intervals' confidence.
        seed: Of the resamples.

    Returns:
        For each name in :data:`METRICS` ``{"value", "low", "high"}`` (fractions of one; ``None`` where undefined, and
        for the bounds without resamples or with fewer than two units to draw from); ``confusion_matrix`` (K lists of
        K counts, rows the true class); ``n``; ``n_groups``; ``bootstrap``: ``resamples``, ``confidence``, ``unit``
        (``group`` or ``sample``) and ``skipped_auroc``, how many resamples had no AUROC. Plain Python values.

    Raises:
        DataError: There is no sample.
        PluginError: ``proba`` does not hold n distributions over the classes.
    """
    table = Table(*_checked(proba, labels))
    units = np.arange(table.n) if groups is None else np.unique(groups, return_inverse=True)[1].reshape(-1)
    count = int(units.max()) + 1
    resamples = settings.bootstrap if count > 1 else 0

    values = table.metrics(np.ones((table.n, 1)))
    drawn = [table.metrics(weights) for weights in draw_weights(units, resamples, chunk(table), seed)]
    tails = ((1 - settings.confidence) / 2, (1 + settings.confidence) / 2)
    result: dict[str, Any] = {}
    skipped = 0
    for name in METRICS:
        sample = np.concatenate([part[name] for part in drawn]) if drawn else np.empty(0)
        sample = sample[~np.isnan(sample)]
        if name == "auroc":
            skipped = resamples - len(sample)
        low, high = np.quantile(sample, tails) if len(sample) else (np.nan, np.nan)
        result[name] = {"value": _plain(values[name][0]), "low": _plain(low), "high": _plain(high)}
    return result | {
        "confusion_matrix": table.confusion(np.ones((table.n, 1)))[..., 0].astype(int).tolist(),
        "n": table.n,
        "n_groups": None if groups is None else count,
        "bootstrap": {
            "resamples": resamples,
            "confidence": settings.confidence,
            "unit": "sample" if groups is None else "group",
            "skipped_auroc": skipped,
        },
    }


def _checked(proba: Array, labels: Array) -> tuple[Array, Array]:
    proba, labels = np.asarray(proba, dtype=np.float64), np.asarray(labels, dtype=np.int64)
    if not len(labels):
        raise DataError("the test part is empty, so nothing can be scored. Give it images, or labels.")
    if proba.ndim != 2 or len(proba) != len(labels):
        raise PluginError(
            f"the predictions have shape {proba.shape}. Wanted is one row per sample, ({len(labels)}, K)."
        )
    if labels.min() < 0 or labels.max() >= proba.shape[1]:
        raise PluginError(f"the predictions cover {proba.shape[1]} classes. The labels go up to {labels.max()}.")
    if not (np.isfinite(proba).all() and (proba >= 0).all() and np.allclose(proba.sum(axis=1), 1, atol=1e-3)):
        raise PluginError(
            "the predictions are not probabilities. Every row must hold numbers of at least 0 that sum to one. "
            "Check predict_proba of the evaluator."
        )
    return proba, labels


def majority(train: Array, test: Array) -> tuple[int, float | None]:
    """Return the most frequent class in training, and the accuracy on the test part of predicting it for every sample.

    Args:
        train: Labels of the training part, integers from 0; at least one.
        test: Labels of the test part; without any there is no accuracy.

    Of equally frequent classes the first counts.
    """
    frequent = int(np.bincount(train).argmax())
    return frequent, float((test == frequent).mean()) if len(test) else None


def chunk(table: Table) -> int:
    """Return how many resamples to hold at a time."""
    return int(max(1, _CHUNK // max(table.n, table.classes**2)))


def draw_weights(units: Array, resamples: int, width: int, seed: int) -> Iterator[Array]:
    """Yield weights ``(n, B)``: how often each sample occurs in each of up to ``width`` resamples of units.

    Args:
        units: ``(n,)`` integers ``0 .. U - 1``, equal for samples that are drawn together.
        resamples: In all.
        width: At a time; the draws do not depend on it.
        seed: Of the draws.
    """
    count = int(units.max()) + 1
    generator = np.random.default_rng(seed)
    for start in range(0, resamples, width):
        drawn = generator.integers(0, count, size=(min(width, resamples - start), count))
        times = np.stack([np.bincount(row, minlength=count) for row in drawn])  # (B, U)
        yield np.ascontiguousarray(times.T, dtype=np.float64)[units]


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


class Table:
    """Labels and predictions with what the metrics of every resample share.

    Args:
        proba: ``(n, K)`` class probabilities.
        labels: ``(n,)`` integers in ``0 .. K - 1``.
    """

    def __init__(self, proba: Array, labels: Array) -> None:
        self.n, self.classes = proba.shape
        predicted = proba.argmax(axis=1)
        self._cell = labels * self.classes + predicted  # (n,) position in the flattened confusion matrix
        self._calibration = self._calibration_gaps(proba.max(axis=1), predicted == labels)
        self._rankings = [_Ranking(proba[:, c], labels == c) for c in ranked_classes(labels, self.classes)]

    @staticmethod
    def _calibration_gaps(confidence: Array, right: Array) -> Array:
        """Return ``(n, 15)``: in the column of each sample's bin, whether it is right less its confidence."""
        edges = np.linspace(0, 1, _BINS + 1)  # bins (0, 1/15], (1/15, 2/15], ...
        bins = np.searchsorted(edges[1:-1], confidence, side="left")
        gaps = np.zeros((len(confidence), _BINS))
        gaps[np.arange(len(confidence)), bins] = right - confidence
        return gaps

    def confusion(self, weights: Array) -> Array:
        """Return ``(K, K, B)`` for weights ``(n, B)``; rows are the true class."""
        return _sum_by(self._cell, weights, self.classes**2).reshape(self.classes, self.classes, -1)

    def metrics(self, weights: Array) -> dict[str, Array]:
        """Return each metric ``(B,)`` for weights ``(n, B)``; NaN where undefined."""
        confusion = self.confusion(weights)
        true, predicted = confusion.sum(axis=1), confusion.sum(axis=0)  # (K, B)
        right = np.einsum("kkb->kb", confusion)
        total = true.sum(axis=0)
        f1 = 2 * right / np.maximum(true + predicted, 1)
        recall = right / np.maximum(true, 1)
        auroc = [ranking.auroc(weights) for ranking in self._rankings]
        return {
            "accuracy": right.sum(axis=0) / total,
            "f1_weighted": (true * f1).sum(axis=0) / total,
            "f1_macro": f1.sum(axis=0) / (true + predicted > 0).sum(axis=0),
            "balanced_accuracy": recall.sum(axis=0) / (true > 0).sum(axis=0),
            "auroc": np.mean(auroc, axis=0) if auroc else np.full(len(total), np.nan),
            "mcc": _mcc(true, predicted, right.sum(axis=0), total),
            "ece": np.abs(self._calibration.T @ weights).sum(axis=0) / total,
        }


def ranked_classes(labels: Array, classes: int) -> list[int]:
    """List the classes whose AUROC, against all others, is averaged; none where the labels hold a single one.

    Args:
        labels: ``(n,)`` integers in ``0 .. classes - 1``.
        classes: K.
    """
    present = np.unique(labels)
    if len(present) < 2:
        return []
    return [int(c) for c in present if classes > 2 or c == 1]


class _Ranking:
    """One class against all others: where its positives stand among the scores."""

    def __init__(self, scores: Array, positive: Array) -> None:
        levels, self._level = np.unique(scores[positive], return_inverse=True)  # distinct scores of the positives
        self._levels = len(levels)
        self._positive = np.flatnonzero(positive)
        # 2 j + 1 for a sample level with positive score j, 2 j for one below it and above the last
        self._stair = np.searchsorted(levels, scores, side="left") + np.searchsorted(levels, scores, side="right")

    def auroc(self, weights: Array) -> Array:
        """Return ``(B,)``: how often a positive stands above a negative, ties counting half; NaN without either."""
        mass = _sum_by(self._stair, weights, 2 * self._levels + 1)  # (stairs, B)
        between, level = mass[0:-1:2], mass[1::2]
        below = between + level / 2  # becomes the weight of all samples below a level, and half of those on it
        below[1:] += level[:-1] / 2
        for j in range(1, self._levels):  # cumsum along the first axis is ten times as slow
            below[j] += below[j - 1]
        own = _sum_by(self._level, weights[self._positive], self._levels)
        positives = own.sum(axis=0)
        negatives = mass.sum(axis=0) - positives
        pairs = np.einsum("jb,jb->b", own, below) - positives**2 / 2  # less the pairs of two positives
        area: Array = np.full(len(pairs), np.nan)
        np.divide(pairs, positives * negatives, out=area, where=positives * negatives > 0)
        return area


def _sum_by(key: Array, weights: Array, size: int) -> Array:
    """Sum the rows of ``weights`` ``(n, B)`` that share a key: ``(size, B)``."""
    sums = torch.zeros(size, weights.shape[1], dtype=torch.float64)
    total: Array = sums.index_add_(0, torch.from_numpy(key), torch.from_numpy(weights)).numpy()
    return total


def _mcc(true: Array, predicted: Array, right: Array, total: Array) -> Array:
    """Matthews' correlation for K classes (Gorodkin 2004, eq. 8); 0 where one side holds a single class."""
    covariance = right * total - (true * predicted).sum(axis=0)
    spread = (total**2 - (true**2).sum(axis=0)) * (total**2 - (predicted**2).sum(axis=0))
    correlation: Array = np.zeros_like(covariance)
    np.divide(covariance, np.sqrt(spread), out=correlation, where=spread > 0)
    return correlation
