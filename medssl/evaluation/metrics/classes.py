"""Metrics of the most likely class among K, ordered or not.

The predicted class is the most likely one; if several are equally likely, the first. A mean over classes covers the
classes that occur among the labels of the test part. A resample that lacks one of them would give a mean over other
classes, so the metric is not defined in it.

Notation: n samples, K classes, B resamples at a time.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from medssl.evaluation.metrics.metric import Array, PairedTest, PredictionMetric, Resampled, Scored, sum_by

__all__ = ["MCC", "Accuracy", "BalancedAccuracy", "Counts", "MacroF1", "WeightedF1", "confusion", "counts", "predicted"]


class Counts(NamedTuple):
    """Margins and diagonal of the confusion matrices of B resamples.

    Attributes:
        true: ``(K, B)``, samples of each class.
        predicted: ``(K, B)``, samples predicted as each class.
        right: ``(K, B)``, correctly predicted samples of each class.
    """

    true: Array
    predicted: Array
    right: Array


def predicted(scored: Scored) -> Array:
    """Return the most likely class of each sample, ``(n,)``."""
    return np.asarray(scored.prediction.argmax(axis=1))


def _cell(scored: Scored) -> Array:
    """Return the positions ``(n,)`` in the flattened confusion matrix."""
    return np.asarray(scored.y * scored.target.outputs + scored.once(predicted))


def confusion(drawn: Resampled) -> Array:
    """Return confusion matrices ``(K, K, B)``; rows are the true class."""
    classes = drawn.scored.target.outputs
    return sum_by(drawn.scored.once(_cell), drawn.weights, classes**2).reshape(classes, classes, -1)


def counts(drawn: Resampled) -> Counts:
    """Return margins and diagonal of the confusion matrices, without the matrices: they may be large."""
    y, guessed, size = drawn.scored.y, drawn.scored.once(predicted), drawn.scored.target.outputs
    right = np.flatnonzero(y == guessed)
    pairs = ((y, drawn.weights), (guessed, drawn.weights), (y[right], drawn.weights[right]))
    return Counts(*(sum_by(key, weights, size) for key, weights in pairs))


def _f1(drawn: Resampled) -> Array:
    """Return the F1 of each class, ``(K, B)``; 0 if it occurs neither in labels nor in predictions."""
    true, predicted, right = drawn.once(counts)
    return np.asarray(2 * right / np.maximum(true + predicted, 1))


def _by_class(drawn: Resampled, values: Array) -> dict[str, Array]:
    """Return the rows of values ``(K, B)`` by class name, for classes among the labels; NaN if a resample lacks it."""
    names, true = drawn.scored.target.output_names, drawn.once(counts).true
    return {names[c]: np.where(true[c] > 0, values[c], np.nan) for c in np.unique(drawn.scored.y).tolist()}


class _OfClasses(PredictionMetric):
    targets = ("classes", "grades")


class _ClassMean(_OfClasses):
    """The mean of a metric per class, over the classes among the labels."""

    def values(self, drawn: Resampled) -> Array:
        """Return ``(B,)``; NaN if a resample lacks one of the classes."""
        return np.asarray(np.mean(list(self.outputs(drawn).values()), axis=0))


class Accuracy(_OfClasses):
    """Share of samples whose predicted class is the true one."""

    name = "accuracy"
    title = "accuracy"
    source = "Share of correct predictions; scikit-learn `accuracy_score`"
    test = PairedTest.EXACT

    def values(self, drawn: Resampled) -> Array:
        """Return ``(B,)``."""
        return np.asarray(drawn.once(counts).right.sum(axis=0) / drawn.total)

    def contributions(self, scored: Scored) -> Array:
        """Return 1 for a correctly predicted sample, else 0."""
        return np.asarray((scored.once(predicted) == scored.y).astype(np.int64))


class WeightedF1(_OfClasses):
    """Mean of the classes' F1, weighted by their number of samples."""

    name = "f1_weighted"
    title = "weighted F1"
    source = 'van Rijsbergen 1979, Information Retrieval, chapter 7; scikit-learn `f1_score(average="weighted")`'

    def values(self, drawn: Resampled) -> Array:
        """Return ``(B,)``."""
        return np.asarray((drawn.once(counts).true * drawn.once(_f1)).sum(axis=0) / drawn.total)


class MacroF1(_ClassMean):
    """Mean of the classes' F1, over the classes among the labels. A resample that lacks one of them is left out."""

    name = "f1_macro"
    title = "macro F1"
    source = 'van Rijsbergen 1979, Information Retrieval, ch. 7; scikit-learn `f1_score(average="macro", labels=...)`'

    def outputs(self, drawn: Resampled) -> dict[str, Array]:
        """Return the F1 of each class."""
        return _by_class(drawn, drawn.once(_f1))


class BalancedAccuracy(_ClassMean):
    """Mean of the classes' recall, over the classes among the labels. A resample that lacks one of them is left out."""

    name = "balanced_accuracy"
    title = "balanced acc."
    source = "Brodersen et al. 2010, ICPR, 3121-3124; scikit-learn `balanced_accuracy_score`"
    test = PairedTest.SAMPLED

    def outputs(self, drawn: Resampled) -> dict[str, Array]:
        """Return the recall of each class."""
        true, _, right = drawn.once(counts)
        return _by_class(drawn, right / np.maximum(true, 1))

    def contributions(self, scored: Scored) -> Array:
        """Return, for a correct sample, 1 / (samples of its class x number of classes); else 0."""
        classes, number, count = np.unique(scored.y, return_inverse=True, return_counts=True)
        return np.asarray((scored.once(predicted) == scored.y) / (len(classes) * count[number]))


class MCC(_OfClasses):
    """Matthews correlation of true and predicted class; 0 if one of both has a single class."""

    name = "mcc"
    title = "MCC"
    source = "Gorodkin 2004, Comput. Biol. Chem. 28, 367-374, equation 8; scikit-learn `matthews_corrcoef`"

    def values(self, drawn: Resampled) -> Array:
        """Return ``(B,)``, from -1 to 1."""
        (true, guessed, right), total = drawn.once(counts), drawn.total
        covariance = right.sum(axis=0) * total - (true * guessed).sum(axis=0)
        spread = (total**2 - (true**2).sum(axis=0)) * (total**2 - (guessed**2).sum(axis=0))
        correlation: Array = np.zeros_like(covariance)
        np.divide(covariance, np.sqrt(spread), out=correlation, where=spread > 0)
        return correlation
