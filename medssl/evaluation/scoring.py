"""Scores of predictions: every metric of the target, each with a bootstrap interval.

The metrics are defined in :mod:`medssl.evaluation.metrics`; this module computes them on the test part.

The interval is the percentile bootstrap (Efron & Tibshirani 1993, ch. 13). If groups are known, whole groups are
drawn, because two images of one patient are not independent. Resample i counts how often each unit occurs in
row i of ``numpy.random.default_rng(seed).integers(0, U, size=(resamples, U))``, U units, in the order of
``numpy.unique`` for groups. A resample is a column of weights, so one pass over the samples computes hundreds of them.
If a metric is not defined in a resample, only the interval of that metric leaves the resample out; if it is not defined
in more than half of the resamples, there is no interval (:mod:`medssl.evaluation.uncertainty.bootstrap`).

Notation: n samples, O outputs (classes or findings), B resamples at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from medssl.contracts.targets import Classes, Findings, Grades, Target
from medssl.errors import DataError, PluginError
from medssl.evaluation.metrics import PredictionMetric, Scored, prediction_metrics
from medssl.evaluation.metrics.classes import confusion
from medssl.evaluation.metrics.findings import outcome_counts
from medssl.evaluation.metrics.metric import MANY, Array
from medssl.evaluation.operating import OperatingPoints
from medssl.evaluation.reliability import reliability
from medssl.evaluation.uncertainty.bootstrap import percentile_interval
from medssl.recipe.settings import EvaluateSettings

__all__ = ["check_prediction", "chunk", "draw_weights", "majority", "measure", "score"]

_CHUNK = 2**20  # number of weights in memory at a time: 8 MiB fit into a processor's cache


def score(
    target: Target,
    y: Array,
    prediction: Array,
    groups: Array | None,
    settings: EvaluateSettings,
    seed: int,
    points: OperatingPoints | None = None,
) -> dict[str, Any]:
    """Compute every metric of a target with its confidence interval.

    Args:
        target: The target that was predicted.
        y: Truth of the samples, as the target encodes it. Samples with completely unknown truth are left out.
        prediction: ``(n, O)``, one row per sample.
        groups: ``(n,)`` integers or strings, equal for samples of one group; a sample without a group has a unique
            value. ``None`` if groups are not known.
        settings: Number of resamples, and level of the confidence intervals.
        seed: Seed of the resamples.
        points: The operating points, chosen on the validation part; ``None``: metrics of decisions are left out.

    Returns:
        By name of each metric ``{"value", "low", "high"}``, and ``chance`` if the value of predictions at random
        depends on the samples. A value is ``None`` if it is undefined; the bounds are also ``None`` without resamples
        or with fewer than two units. With more than 100 outputs, metrics of one output against the rest have no
        bounds, most of them are left out, and so is the confusion matrix. For a mean over classes or findings also
        ``outputs``: the same three values of each class or finding by name. ``n``: number of samples; ``n_unknown``:
        number left out; ``n_groups``; ``bootstrap``: ``resamples``, ``confidence``, ``unit`` (``group`` or ``sample``)
        and, if there are any, ``skipped``: by metric, the number of resamples in which it is not defined. For classes
        also ``confusion_matrix`` (K lists of K counts, rows are the true class) and ``reliability``; for findings
        ``outcomes``. Plain Python values.

    Raises:
        DataError: The truth of all samples is unknown.
        PluginError: ``prediction`` is not a valid prediction of the target for these samples.
    """
    scored, groups = _checked(target, np.asarray(y), np.asarray(prediction), groups, points)
    units = np.arange(scored.n) if groups is None else np.unique(groups, return_inverse=True)[1].reshape(-1)
    count = int(units.max()) + 1
    resamples = settings.bootstrap if count > 1 else 0

    metrics = [metric for metric in prediction_metrics(target) if metric.defined(scored)]
    values = _measured(scored, metrics, np.ones((scored.n, 1)))
    again = [metric for metric in metrics if metric.resampled(target)]
    drawn = [_measured(scored, again, w) for w in draw_weights(units, resamples, chunk(scored), seed)]
    found = {
        key: _interval(value, [part[key] for part in drawn if key in part], settings.confidence)
        for key, value in values.items()
    }
    skipped = {metric.name: found[metric.name, None].pop("skipped") for metric in metrics}
    result: dict[str, Any] = {}
    for (name, output), interval in found.items():
        if output is None:
            result[name] = interval
        else:
            interval.pop("skipped")
            result[name].setdefault("outputs", {})[output] = interval
    for metric in metrics:
        if (chance := metric.chance(scored)) is not None:
            result[metric.name]["chance"] = chance
    return result | {
        "n": scored.n,
        "n_unknown": len(y) - scored.n,
        "n_groups": None if groups is None else count,
        "bootstrap": {
            "resamples": resamples,
            "confidence": settings.confidence,
            "unit": "sample" if groups is None else "group",
            "skipped": {name: count for name, count in skipped.items() if count},
        },
        **_details(scored),
    }


def check_prediction(target: Target, prediction: Array, n: int) -> Array:
    """Return predictions of n samples as float64.

    Raises:
        PluginError: They are not valid predictions of the target for n samples.
    """
    prediction = np.asarray(prediction, dtype=np.float64)
    if prediction.shape != (n, target.outputs):
        raise PluginError(
            f"the predictions have the shape {prediction.shape}. Expected is one row per sample and one column per "
            f"output, ({n}, {target.outputs}). Check the predictions of the evaluator."
        )
    if error := target.prediction_error(prediction):
        raise PluginError(f"the predictions are not valid: {error}. Check the predictions of the evaluator.")
    return prediction


def _checked(
    target: Target, y: Array, prediction: Array, groups: Array | None, points: OperatingPoints | None
) -> tuple[Scored, Array | None]:
    """Check the predictions, decide, and leave out the samples with completely unknown truth."""
    prediction = check_prediction(target, prediction, len(y))
    known = target.known(y)
    if not known.any():
        raise DataError(
            "the test part has no sample with a known target, so nothing can be scored. Add targets, or change the "
            "split."
        )
    rows = slice(None) if known.all() else known
    decided = None if points is None else points.decided(target, prediction[rows])
    return Scored(target, y[rows], prediction[rows], decided), None if groups is None else groups[rows]


def majority(train: Array, test: Array) -> tuple[int, float | None]:
    """Return the most frequent class of the training part, and the test accuracy of always predicting it.

    Args:
        train: Labels of the training part, integers from 0; at least one.
        test: Labels of the test part; if empty, there is no accuracy.

    If several classes are equally frequent, the first is returned.
    """
    frequent = int(np.bincount(train).argmax())
    return frequent, float((test == frequent).mean()) if len(test) else None


def measure(scored: Scored, metrics: Sequence[PredictionMetric], weights: Array) -> dict[str, Array]:
    """Return the values ``(B,)`` of each metric in resamples ``(n, B)``, by name; NaN where there is none."""
    drawn, none = scored.resampled(weights), np.full(weights.shape[1], np.nan)
    return {metric.name: metric.values(drawn) if metric.resampled(scored.target) else none for metric in metrics}


def _measured(
    scored: Scored, metrics: Sequence[PredictionMetric], weights: Array
) -> dict[tuple[str, str | None], Array]:
    """Do the same for the metrics and their outputs, by the names of both."""
    drawn = scored.resampled(weights)
    found: dict[tuple[str, str | None], Array] = {}
    for metric in metrics:
        found[metric.name, None] = metric.values(drawn)
        found |= {(metric.name, output): values for output, values in metric.outputs(drawn).items()}
    return found


def _interval(value: Array, drawn: Sequence[Array], confidence: float) -> dict[str, Any]:
    sample = np.concatenate(drawn) if drawn else np.empty(0)
    low, high = percentile_interval(sample, confidence)
    return {"value": _plain(value[0]), "low": low, "high": high, "skipped": int(np.isnan(sample).sum())}


def _details(scored: Scored) -> Mapping[str, Any]:
    """Return details of the predictions that reports show beside the metrics."""
    if isinstance(scored.target, Classes):
        found: dict[str, Any] = {"reliability": reliability(scored.prediction, scored.y)}
        if scored.target.outputs <= MANY:
            found["confusion_matrix"] = scored.as_is().once(confusion)[..., 0].astype(int).tolist()
        return found
    return {"outcomes": outcome_counts(scored)} if isinstance(scored.target, Findings) else {}


def chunk(scored: Scored) -> int:
    """Return the number of resamples to hold in memory at a time."""
    outputs = scored.target.outputs
    return int(max(1, _CHUNK // max(scored.n, outputs**2 if isinstance(scored.target, Grades) else outputs)))


def draw_weights(units: Array, resamples: int, width: int, seed: int) -> Iterator[Array]:
    """Yield weights ``(n, B)``: how often each sample occurs in each of up to ``width`` resamples of units.

    Args:
        units: ``(n,)`` integers ``0 .. U - 1``, equal for samples that are drawn together.
        resamples: Total number of resamples.
        width: Number of resamples at a time; it does not change the draws.
        seed: Seed of the draws.
    """
    count = int(units.max()) + 1
    generator = np.random.default_rng(seed)
    for start in range(0, resamples, width):
        drawn = generator.integers(0, count, size=(min(width, resamples - start), count))
        times = np.stack([np.bincount(row, minlength=count) for row in drawn])  # (B, U)
        yield np.ascontiguousarray(times.T, dtype=np.float64)[units]


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
