"""Paired differences between rows, tested and corrected for multiple comparisons."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np

from medssl.evaluation.metrics import PairedTest, PredictionMetric, prediction_metrics
from medssl.evaluation.uncertainty.bootstrap import percentile_interval
from medssl.evaluation.uncertainty.paired import paired_test
from medssl.evaluation.uncertainty.statistics import holm, sum_by_unit
from medssl.study.results.estimates import Evidence
from medssl.study.results.rows import Row

__all__ = ["Comparison", "compare"]

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The difference of two rows on the same test images.

    Attributes:
        dataset: Name of the dataset.
        evaluator: Name of the evaluator.
        metric: Name of the metric, which has a paired test.
        first: Key of a row.
        second: Key of another row of the dataset.
        difference: Value of the first row minus that of the second.
        low: Lower end of the difference's confidence interval; ``None`` if there is none.
        high: Upper end.
        p: p-value of the paired test, before correction.
        p_adjusted: p-value after Holm's correction over the comparisons of one table.
        shown: Whether the difference is reported: the corrected test is significant, and the interval excludes zero.
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
    """Test the differences that answer a question of the reader.

    Two rows that were tested on the same images are compared if they differ in one thing: the method (with its weights
    and options), the batch size, the backbone, the image size, or other settings. An encoder with given weights that is
    evaluated as it is counts as one thing with its network and image size. A baseline is compared with every
    method at any batch size. A metric is tested with its :class:`~medssl.evaluation.metrics.PairedTest`, from the
    contribution of each unit to the metric. One table contains, for one metric, all evaluators of those rows of a
    dataset that were tested on the same images with the same fraction of labels. Holm's correction covers all
    comparisons of one table.

    The test refers to other patients and treats the trained models as given; the interval also covers other seeds. A
    difference is reported only if both agree.

    Args:
        evidence: Evidence of each row.
        confidence: Level of the confidence intervals; the level of the tests is one minus this value.
    """
    tables: dict[Any, list[Evidence]] = defaultdict(list)
    for item in evidence:
        if item.predictions:
            target, y = item.predictions[0].target, item.predictions[0].y
            images = (item.ids, target, y.tobytes())
            tables[item.row.dataset, item.row.label_fraction, images].append(item)
    found: list[Comparison] = []
    for items in tables.values():
        for metric in prediction_metrics(items[0].predictions[0].target):
            if metric.test is not None:
                found.extend(_corrected(_table(items, metric, confidence), 1 - confidence))
    return found


def _corrected(table: Sequence[Comparison], level: float) -> Iterator[Comparison]:
    for comparison, p in zip(table, holm([comparison.p for comparison in table]), strict=True):
        apart = comparison.low is None or comparison.high is None or comparison.low > 0 or comparison.high < 0
        yield replace(comparison, p_adjusted=p, shown=p <= level and apart)


def _table(items: Sequence[Evidence], metric: PredictionMetric, confidence: float) -> list[Comparison]:
    """Compare every pair of rows that answers a question, without correction."""
    shares = {item.row.key: _contributions(item, metric) for item in items}
    found, differences = [], []
    for first, second in _pairs(items):
        own, other = shares[first.row.key], shares[second.row.key]
        for evaluator in first.row.scores:
            if evaluator in own and evaluator in other:
                apart = own[evaluator] - other[evaluator]
                if metric.test is PairedTest.EXACT:  # must be integers: the sum over all pairs of seeds
                    apart = own[evaluator] * len(second.predictions) - other[evaluator] * len(first.predictions)
                differences.append(sum_by_unit(apart[:, None], first.predictions[0].unit)[:, 0])
                found.append(_comparison(first, second, evaluator, metric.name, confidence))
    tested = zip(found, paired_test(metric, [each.difference for each in found], differences), strict=True)
    return [replace(comparison, p=p) for comparison, p in tested]


def _contributions(item: Evidence, metric: PredictionMetric) -> Mapping[str, Array]:
    """Return, by evaluator, each sample's contribution ``(n,)`` to the metric: mean over seeds, for integers the sum.

    Evaluators without the metric are left out.
    """
    found = {}
    for evaluator in item.row.scores:
        if _has(item, evaluator, metric.name):
            seeds = [metric.contributions(part.scored(evaluator)) for part in item.predictions]
            found[evaluator] = np.sum(seeds, axis=0) if metric.test is PairedTest.EXACT else np.mean(seeds, axis=0)
    return found


def _has(item: Evidence, evaluator: str, metric: str) -> bool:
    """Whether a row has this metric by this evaluator, and its predictions are available."""
    estimate = item.row.scores.get(evaluator, {}).get(metric)
    measured = estimate is not None and estimate.value is not None
    return measured and all(evaluator in part.proba for part in item.predictions)


def _comparison(first: Evidence, second: Evidence, evaluator: str, metric: str, confidence: float) -> Comparison:
    values = [item.row.scores[evaluator][metric].value or 0.0 for item in (first, second)]
    low, high = None, None
    if evaluator in first.draws and evaluator in second.draws:
        low, high = percentile_interval(first.draws[evaluator][metric] - second.draws[evaluator][metric], confidence)
    return Comparison(
        dataset=first.row.dataset,
        evaluator=evaluator,
        metric=metric,
        first=first.row.key,
        second=second.row.key,
        difference=values[0] - values[1],
        low=low,
        high=high,
        p=1.0,
        p_adjusted=1.0,
        shown=False,
    )


def _pairs(items: Sequence[Evidence]) -> Iterator[tuple[Evidence, Evidence]]:
    for first, second in combinations(items, 2):
        if _asks(first.row, second.row):
            yield (second, first) if first.row.baseline and not second.row.baseline else (first, second)


def _asks(first: Row, second: Row) -> bool:
    """Whether two rows differ in one thing."""
    method = (first.method, first.init) != (second.method, second.init)
    batch = first.batch_size != second.batch_size and not (first.baseline or second.baseline)
    network, size, recipe = (getattr(first, n) != getattr(second, n) for n in ("backbone", "image_size", "recipe"))
    if first.given or second.given:  # weights come with their network and size: together they are one thing
        method, network, size = method or network or size, False, False
    return [method, batch, network, size, recipe].count(True) <= 1
