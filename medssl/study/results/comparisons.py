"""Paired differences between rows, tested and corrected for their number."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np

from medssl.study.results.estimates import Evidence
from medssl.study.results.predictions import Predictions
from medssl.study.results.rows import Row
from medssl.study.results.statistics import (
    auroc_shares,
    holm,
    interval,
    normal_test,
    sign_flip_exact,
    sign_flip_sampled,
    sum_by_unit,
)

__all__ = ["TESTED", "Comparison", "compare"]

TESTED = ("accuracy", "balanced_accuracy", "auroc")

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """How one row differs from another on the same test images.

    Attributes:
        dataset: Name of the dataset.
        evaluator: Name of the evaluator.
        metric: Name of the metric, one of :data:`TESTED`.
        first: Label of a row.
        second: Label of another row of the dataset.
        difference: The first's value less the second's.
        low: Lower end of the difference's interval; ``None`` where there is none.
        high: Upper end.
        p: Of the paired test, before correction.
        p_adjusted: After Holm's correction over the comparisons of one table.
        shown: Whether a difference is shown: the corrected test rejects and the interval leaves out zero.
    """

    dataset: str
    evaluator: str
    metric: str
    first: str
    second: str
    difference: float
    low: float | None
    high: float | None
    p: float
    p_adjusted: float
    shown: bool


def compare(evidence: Sequence[Evidence], confidence: float) -> list[Comparison]:
    """Test the differences that a reader will look for.

    Compared are rows tested on the same images that differ in one thing: in the method (and its weights and options),
    the batch size, the backbone, the image size, or other settings. A baseline is compared with every method, whatever
    its batch size. Accuracy and balanced accuracy are sums over images, and their test flips signs unit by unit
    (:func:`~medssl.study.results.statistics.sign_flip_exact`, and random signs); the test of AUROCs is DeLong's, for
    clusters (:func:`~medssl.study.results.statistics.auroc_shares`). One table holds all evaluators of a dataset's rows
    that were tested on the same images with the same share of labels, in one metric; Holm's correction is over all
    comparisons of one table.

    The test asks about other patients and takes the trained models as given; the interval also draws seeds. A
    difference counts as shown only where both say so.

    Args:
        evidence: Of each row.
        confidence: One minus the level of the tests, and that of the intervals.
    """
    tables: dict[Any, list[Evidence]] = defaultdict(list)
    for item in evidence:
        if item.predictions:
            images = (item.ids, item.predictions[0].label.tobytes())
            tables[item.row.dataset, item.row.label_fraction, images].append(item)
    found: list[Comparison] = []
    for items in tables.values():
        for metric in TESTED:
            found.extend(_corrected(_table(items, metric, confidence), 1 - confidence))
    return found


def _corrected(table: Sequence[Comparison], level: float) -> Iterator[Comparison]:
    for comparison, p in zip(table, holm([comparison.p for comparison in table]), strict=True):
        apart = comparison.low is None or comparison.high is None or comparison.low > 0 or comparison.high < 0
        yield replace(comparison, p_adjusted=p, shown=p <= level and apart)


def _table(items: Sequence[Evidence], metric: str, confidence: float) -> list[Comparison]:
    """Compare every pair that asks a question, uncorrected."""
    found, differences = [], []
    for first, second in _pairs(items):
        for evaluator in first.row.scores:
            if _has(first, evaluator, metric) and _has(second, evaluator, metric):
                by_unit = _differences(first.predictions, second.predictions, evaluator, metric)
                found.append(_comparison(first, second, evaluator, metric, by_unit, confidence))
                differences.append(by_unit)
    if metric != "balanced_accuracy" or not found:
        return found
    sampled = sign_flip_sampled(np.stack(differences, axis=1))
    return [replace(comparison, p=float(p)) for comparison, p in zip(found, sampled, strict=True)]


def _comparison(
    first: Evidence, second: Evidence, evaluator: str, metric: str, by_unit: Array, confidence: float
) -> Comparison:
    values = [item.row.scores[evaluator][metric].value or 0.0 for item in (first, second)]
    difference = values[0] - values[1]
    tests = {"accuracy": lambda: sign_flip_exact(by_unit), "auroc": lambda: normal_test(difference, by_unit)}
    low, high = None, None
    if evaluator in first.draws and evaluator in second.draws:
        low, high = interval(first.draws[evaluator][metric] - second.draws[evaluator][metric], confidence)
    return Comparison(
        dataset=first.row.dataset,
        evaluator=evaluator,
        metric=metric,
        first=first.row.label,
        second=second.row.label,
        difference=difference,
        low=low,
        high=high,
        p=tests[metric]() if metric in tests else 1.0,
        p_adjusted=1.0,
        shown=False,
    )


def _has(item: Evidence, evaluator: str, metric: str) -> bool:
    """Whether a row has this metric by this evaluator, and the predictions behind it."""
    estimate = item.row.scores.get(evaluator, {}).get(metric)
    measured = estimate is not None and estimate.value is not None
    return measured and all(evaluator in part.proba for part in item.predictions)


def _differences(first: Sequence[Predictions], second: Sequence[Predictions], evaluator: str, metric: str) -> Array:
    """Return ``(U,)``: what each unit adds to the difference of the metric, of AUROCs to the error in it.

    For accuracy whole numbers in a unit of their own: the sum over all pairs of seeds.
    """
    label = first[0].label
    if metric == "auroc":
        shares = [np.mean([auroc_shares(p.proba[evaluator], label) for p in rows], axis=0) for rows in (first, second)]
        return sum_by_unit((shares[0] - shares[1])[:, None], first[0].unit)[:, 0]
    right = [
        sum((p.proba[evaluator].argmax(axis=1) == label).astype(np.int64) for p in rows) for rows in (first, second)
    ]
    oftener = right[0] * len(second) - right[1] * len(first)  # (n,)
    if metric == "balanced_accuracy":
        classes, number, count = np.unique(label, return_inverse=True, return_counts=True)
        oftener = oftener / (len(first) * len(second) * len(classes) * count[number])
    by_unit: Array = sum_by_unit(oftener[:, None], first[0].unit)[:, 0]
    return by_unit


def _pairs(items: Sequence[Evidence]) -> Iterator[tuple[Evidence, Evidence]]:
    for first, second in combinations(items, 2):
        if _asks(first.row, second.row):
            yield (second, first) if first.row.baseline and not second.row.baseline else (first, second)


def _asks(first: Row, second: Row) -> bool:
    """Whether two rows differ in one thing."""
    method = (first.method, first.init) != (second.method, second.init)
    batch = first.batch_size != second.batch_size and not (first.baseline or second.baseline)
    others = [getattr(first, name) != getattr(second, name) for name in ("backbone", "image_size", "recipe")]
    return [method, batch, *others].count(True) <= 1
