"""What the record of a run says about its results: the part of :mod:`medssl.export.documents.answers` with numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from medssl.errors import counted
from medssl.export.documents.record import Record, Stated
from medssl.results.metrics_table import lead_metric, metric_text, metric_title
from medssl.results.scores import Interval

__all__ = ["RESULTS", "written"]


def _metrics(record: Record) -> list[Stated]:
    facts = record.value("metrics")
    own = [f"{facts[name]['title']} ({facts[name]['source']})" for name in record.run.scores[record.evaluator]
           if name in facts]  # fmt: skip
    return [Stated(f"{'; '.join(own)}.", ("metrics",))]


def _uncertainty(record: Record) -> list[Stated]:
    drawn = record.run.scores[record.evaluator].bootstrap
    if not drawn.resamples:
        return []
    unit = record.run.data.group_kind or "group" if drawn.unit == "group" else "image"
    text = (
        f"{drawn.confidence:.0%} percentile bootstrap intervals from {drawn.resamples} resamples of the test part by "
        f"{unit}. They do not cover the choice of seed."
    )
    return [Stated(text, (f"{record.scores}.bootstrap", "recipe.evaluate"))]


def _performance(record: Record) -> list[Stated]:
    facts, found = record.value("metrics"), []
    for name, score in record.run.scores[record.evaluator].items():
        if name in facts and score.value is not None and facts[name].get("leads", True):
            found.append(f"{facts[name]['title']} {written(score)}")
    scores = record.run.scores[record.evaluator]
    on = _size({"n": scores.n, "n_groups": scores.n_groups}, record, "test image")
    return [Stated(f"On {on}: {'; '.join(found)}.", (record.scores,))] if found else []


def written(score: Interval) -> str:
    """Write a score with its interval; empty if it is not defined."""
    ends = "" if score.low is None or score.high is None else f" [{score.low:.3f}, {score.high:.3f}]"
    return "" if score.value is None else f"{score.value:.3f}{ends}"


def _per_output(record: Record) -> list[Stated]:
    facts, found = record.value("metrics"), []
    for name, score in record.run.scores[record.evaluator].items():
        if name in facts and score.outputs:
            each = ", ".join(f"{o} {i.value:.3f}" for o, i in score.outputs.items() if i.value is not None)
            found.append(Stated(f"{facts[name]['title']} of each output: {each}.", (f"{record.scores}.{name}",)))
    return found


def _subgroups(record: Record) -> list[Stated]:
    """Return a sentence per column; a subgroup that is too small for an interval has its counts only."""
    name = lead_metric(record.run.metrics, record.run.evaluations)
    title = metric_title(name, record.run.metrics)
    found = []
    for column, rows in (record.get(f"{record.scores}.subgroups") or {}).items():
        told = [
            f"{value}: {metric_text(scores[name])} ({_size(scores, record)})"
            if name in scores
            else f"{value}: {_size(scores, record)}, too small for a score"
            for value, scores in rows.items()
        ]
        found.append(Stated(f"{title} by {column}: {'; '.join(told)}.", (f"{record.scores}.subgroups",)))
    return found


def _size(scores: Mapping[str, Any], record: Record, noun: str = "image") -> str:
    kind = record.run.data.group_kind or "group"
    groups = f" of {counted(scores['n_groups'], kind)}" if scores.get("n_groups") else ""
    return f"{counted(scores['n'], noun)}{groups}"


def _external(record: Record) -> list[Stated]:
    name = lead_metric(record.run.metrics, record.run.evaluations)
    title = metric_title(name, record.run.metrics)
    found = []
    for hospital, its in (record.get("external") or {}).items():
        scores = its["evaluations"].get(record.evaluator, {})
        value = f": {title} {metric_text(scores[name])}" if name in scores else ""
        text = (
            f"External test set '{hospital}', {_size({'n': its['images'], 'n_groups': its['groups']}, record)}{value}."
        )
        found.append(Stated(text, (f"external.{hospital}.evaluations",)))
    return found


def _calibration(record: Record) -> list[Stated]:
    scores, names = record.run.scores[record.evaluator], ("ece", "brier", "calibration_slope", "calibration_intercept")
    facts = record.value("metrics")
    own = [f"{facts[n]['title']} {scores[n].value:.3f}" for n in names if n in scores and scores[n].value is not None]
    return [Stated(f"{'; '.join(own)}.", tuple(f"{record.scores}.{n}" for n in names if n in scores))] if own else []


def _operating(record: Record) -> list[Stated]:
    points = record.get(f"{record.scores}.operating_points")
    if not points:
        return []
    text = f"{points['decision']} Rule '{points['rule']}', chosen on the validation part."
    return [Stated(text, (f"{record.scores}.operating_points",))]


def _missing(record: Record) -> list[Stated]:
    unknown = record.get(f"{record.scores}.n_unknown")
    if unknown is None:
        return []
    text = f"{unknown} test images without a known value were left out of the scores. Nothing was imputed."
    return [Stated(text, (f"{record.scores}.n_unknown",))]


def _failures(record: Record) -> list[Stated]:
    matrix = record.get(f"{record.scores}.confusion_matrix")
    if not matrix:
        return []
    names = record.run.data.target.output_names
    wrong = [
        f"{matrix[i][j]} of {sum(matrix[i])} '{names[i]}' predicted as '{names[j]}'"
        for i in range(len(names))
        for j in range(len(names))
        if i != j and matrix[i][j]
    ]
    told = "; ".join(wrong) or "No test image was predicted wrongly"
    text = f"{told}. report.html shows the most confident mistakes."
    return [Stated(text, (f"{record.scores}.confusion_matrix",))]


def _outcomes(record: Record) -> list[Stated]:
    """Count the test images of each class."""
    matrix = record.get(f"{record.scores}.confusion_matrix")
    if not matrix:
        return []
    names = record.run.data.target.output_names
    counts = ", ".join(f"{sum(row)} '{name}'" for name, row in zip(names, matrix, strict=True))
    return [Stated(f"Test images by class: {counts}.", (f"{record.scores}.confusion_matrix",))]


def _baseline(record: Record) -> list[Stated]:
    majority = record.get("diagnostics.majority")
    if not majority or majority.get("accuracy") is None:
        return []
    text = f"Always predicting '{majority['class']}' has an accuracy of {majority['accuracy']:.3f}."
    return [Stated(text, ("diagnostics.majority",))]


RESULTS: Mapping[str, Callable[[Record], list[Stated]]] = {
    "baseline": _baseline,
    "calibrated": _calibration,
    "external": _external,
    "failures": _failures,
    "metrics": _metrics,
    "missing": _missing,
    "operating": _operating,
    "outcomes": _outcomes,
    "per_output": _per_output,
    "performance": _performance,
    "subgroups": _subgroups,
    "uncertainty": _uncertainty,
}
"""The statements by name."""
