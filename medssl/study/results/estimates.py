"""Computes every metric of a row with its confidence interval and its spread over seeds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from medssl.evaluation.metrics import prediction_metrics
from medssl.evaluation.predictions import Predictions, group_predictions, pool, read_predictions
from medssl.evaluation.scoring import chunk, draw_weights, measure
from medssl.evaluation.uncertainty.bootstrap import percentile_interval
from medssl.evaluation.uncertainty.statistics import draw_seeds, spread
from medssl.results.directory import RunResult
from medssl.results.scores import Scores
from medssl.study.results.rows import Estimate, Row, repeats

__all__ = ["Evidence", "estimate"]

_SEED = 0  # of the resamples of test units; the same for all rows, so that their differences are paired

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """The data from which a row is compared with others.

    Attributes:
        row: The row, with its scores.
        predictions: Predictions of each seed, all on the same n test images, or groups of images if the row is scored
            by group.
        draws: ``(B,)`` by evaluator and metric: the mean over seeds in each resample of units and seeds.
    """

    row: Row
    predictions: tuple[Predictions, ...]
    draws: Mapping[str, Mapping[str, Array]]

    @property
    def ids(self) -> tuple[str, ...]:
        """Ids of the test images or groups."""
        return self.predictions[0].ids if self.predictions else ()


def estimate(row: Row, resamples: int, unit: str = "image") -> Evidence:
    """Compute a row's scores.

    A single run keeps the values and intervals of its ``result.json``. For several seeds, the value is the mean and the
    interval that of :func:`~medssl.evaluation.uncertainty.statistics.draw_seeds`. Folds of one seed are pooled and
    scored together.

    Args:
        row: The row.
        resamples: B, the same for all rows that may be compared; 0: only the runs' own intervals are used.
        unit: What the row is compared by: ``image``, or ``group`` if some group has several images.

    Raises:
        CheckpointError: A run's predictions are damaged.
    """
    seeds = repeats(row)
    predictions = [_pooled(folds) for folds in seeds]
    seeds, predictions, notes = _comparable(seeds, predictions)
    usable = tuple(part for part in predictions if part is not None)
    known = usable if len(usable) == len(seeds) else ()
    draws = _draws(row, known, resamples)
    scores = _every(row, seeds, known, draws, lambda run: run.scores)
    row = replace(row, notes=notes)
    if not any(_of_groups(run) for run in row.runs):
        return Evidence(row=replace(row, scores=scores), predictions=known, draws=draws)
    groups = [_pooled(folds, group_predictions) for folds in seeds] if known else []
    patients = tuple(part for part in groups if part is not None)
    drawn = _draws(row, patients, resamples)
    by_group = _every(row, seeds, patients, drawn, _of_groups)
    if unit == "group" and by_group:
        row = replace(row, unit=unit, scores=by_group, beside=scores)
        return Evidence(row=row, predictions=patients, draws=drawn)
    return Evidence(row=replace(row, scores=scores, beside=by_group), predictions=known, draws=draws)


def _of_groups(run: RunResult) -> Mapping[str, Scores]:
    """Return the scores of groups by evaluator."""
    return {name: scores.per_group for name, scores in run.scores.items() if scores.per_group is not None}


def _every(
    row: Row,
    seeds: Sequence[Sequence[RunResult]],
    predictions: Sequence[Predictions],
    draws: Mapping[str, Mapping[str, Array]],
    of: Callable[[RunResult], Mapping[str, Scores]],
) -> dict[str, dict[str, Estimate]]:
    """Estimate every metric that all runs have; ``of`` returns the scores of a run, per image or per group."""
    known = [[of(run) for run in folds] for folds in seeds]
    return {
        name: {metric: _one(row, known, predictions, name, metric, draws) for metric in metrics}
        for name, metrics in _metrics_of(known)
    }


def _pooled(
    folds: Sequence[RunResult], read: Callable[[RunResult], Predictions | None] = read_predictions
) -> Predictions | None:
    parts = [part for run in folds if (part := read(run)) is not None]
    return pool(parts) if len(parts) == len(folds) else None


def _comparable(
    seeds: list[list[RunResult]], predictions: list[Predictions | None]
) -> tuple[list[list[RunResult]], list[Predictions | None], tuple[str, ...]]:
    """Keep the seeds that were tested on the most images; a seed is left out until all its folds are complete."""
    known = [part for part in predictions if part is not None]
    if len(known) < len(seeds):
        return seeds, predictions, ()
    ids = max((part.ids for part in known), key=len)
    kept = [i for i, part in enumerate(known) if part.ids == ids]
    notes = [
        f"seed {folds[0].seed} is left out: it was tested on other images ({len(part.ids)}, not {len(ids)})"
        for folds, part in zip(seeds, known, strict=True)
        if part.ids != ids
    ]
    there, wanted = len(seeds[kept[0]]), known[kept[0]].folds
    if wanted and there < wanted:
        notes.append(f"{there} of {wanted} folds")
    return [seeds[i] for i in kept], [predictions[i] for i in kept], tuple(notes)


def _metrics_of(seeds: Sequence[Sequence[Mapping[str, Scores]]]) -> Iterator[tuple[str, list[str]]]:
    """Yield each evaluator that every run has, with its metrics."""
    runs = [run for folds in seeds for run in folds]
    for name in runs[0]:
        if all(name in run for run in runs):
            scores = [run[name] for run in runs]
            yield name, [m for m in scores[0] if all(m in other for other in scores)]


def _draws(row: Row, predictions: Sequence[Predictions], resamples: int) -> dict[str, dict[str, Array]]:
    if not predictions or not resamples or len(set(predictions[0].group)) < 2:
        return {}
    seed = int(min(str(run.values["recipe"].get("hash", "0")) for run in row.runs), 16)
    found: dict[str, dict[str, Array]] = {}
    for name in predictions[0].proba:
        if all(name in part.proba for part in predictions):
            tables = [part.scored(name) for part in predictions]
            metrics = prediction_metrics(predictions[0].target)
            weights = draw_weights(predictions[0].unit, resamples, chunk(tables[0]), _SEED)
            parts = [[measure(table, metrics, w) for table in tables] for w in weights]
            found[name] = {
                m.name: draw_seeds(np.concatenate([[t[m.name] for t in part] for part in parts], axis=1), seed)
                for m in metrics
            }
    return found


def _one(
    row: Row,
    seeds: Sequence[Sequence[Mapping[str, Scores]]],
    predictions: Sequence[Predictions],
    name: str,
    metric: str,
    draws: Mapping[str, Mapping[str, Array]],
) -> Estimate:
    if len(row.runs) == 1:
        own = seeds[0][0][name][metric]
        return Estimate(value=own.value, low=own.low, high=own.high, std=None, runs=1)
    values = [_value(folds, i, predictions, name, metric) for i, folds in enumerate(seeds)]
    defined = [value for value in values if value is not None]
    if len(defined) < len(values):
        return Estimate(value=None, low=None, high=None, std=None, runs=len(seeds))
    confidence = float(row.runs[0].recipe["evaluate"]["confidence"])
    low, high = percentile_interval(draws[name][metric], confidence) if metric in draws.get(name, {}) else (None, None)
    return Estimate(value=float(np.mean(defined)), low=low, high=high, std=spread(defined), runs=len(seeds))


def _value(
    folds: Sequence[Mapping[str, Scores]], seed: int, predictions: Sequence[Predictions], name: str, metric: str
) -> float | None:
    """Return the value of one seed: from its only run, or from the pooled predictions of its folds."""
    if len(folds) == 1:
        return folds[0][name][metric].value
    if not predictions or name not in predictions[seed].proba:
        return None
    part = predictions[seed]
    wanted = [m for m in prediction_metrics(part.target) if m.name == metric]
    pooled = [float(m.values(part.scored(name).as_is())[0]) for m in wanted]
    return None if not pooled or np.isnan(pooled[0]) else pooled[0]
