"""The decisions at the operating points: threshold, sensitivity, specificity and the like, with intervals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from medssl.report.sections import Section
from medssl.results.directory import RunResult
from medssl.results.metrics_table import metric_text, metric_title, short_number
from medssl.study.results.summary import Row

__all__ = ["OperatingTable", "further_metrics", "operating_table"]

_METRICS = ("sensitivity", "specificity", "ppv", "npv", "lr_positive", "lr_negative", "f1")


@dataclass(frozen=True, kw_only=True)
class OperatingTable:
    """A table of texts.

    Attributes:
        header: Titles of the columns.
        rows: A row per row of the section and evaluator, or per class or finding.
        about: The rule, the positive class, and what the threshold means.
        reasons: Why there is no threshold, by evaluator.
    """

    header: list[str]
    rows: list[list[str]]
    about: str
    reasons: list[str]


def operating_table(section: Section) -> OperatingTable | None:
    """Return the operating points of a section; ``None`` if its runs have none, or too many for metrics of each.

    With one problem of two outcomes, all rows with all evaluators; else each class or finding of the row whose images
    the page shows, by its first evaluator.
    """
    shown = section.shown_first()
    first = next((found for name in section.judges if (found := _points(section, shown.runs[0], name))), None)
    metrics = [name for name in _METRICS if name in section.metrics]
    if first is None or not metrics:
        return None
    several = len(first["points"]) > 1
    rows = list(_by_output(section, shown, metrics) if several else _by_row(section, metrics))
    if not rows:
        return None
    titles = [metric_title(name, section.metrics) for name in metrics]
    header = (["", "threshold"] if several else ["", "evaluator", "threshold"]) + titles
    return OperatingTable(header=header, rows=rows, about=_about(section, first), reasons=list(_reasons(section)))


def _points(section: Section, run: RunResult, evaluator: str) -> Mapping[str, Any] | None:
    """Return the operating points of a run: those of groups, where rows are compared by groups."""
    scores = section.scores_of(run.evaluations).get(evaluator, {})
    found: Mapping[str, Any] | None = scores.get("operating_points")
    return found if found and found["points"] else None


def _by_row(section: Section, metrics: Sequence[str]) -> Iterator[list[str]]:
    for row in section.main_rows:
        for name in section.judges:
            if _points(section, row.runs[0], name) and any(metric in row.scores[name] for metric in metrics):
                scores = row.scores[name]
                yield [
                    row.label,
                    name,
                    _thresholds(section, row, name),
                    *(metric_text(vars(scores[metric])) if metric in scores else "-" for metric in metrics),
                ]


def _thresholds(section: Section, row: Row, evaluator: str) -> str:
    """Write the threshold of a row's runs, or the range of them."""
    points = [known["points"] for run in row.runs if (known := _points(section, run, evaluator))]
    found = [next(iter(own.values()))["threshold"] for own in points]
    values = sorted(value for value in found if value is not None)
    if not values:
        return "-"
    low, high = short_number(values[0]), short_number(values[-1])
    return low if low == high else f"{low} to {high}"


def _by_output(section: Section, row: Row, metrics: Sequence[str]) -> Iterator[list[str]]:
    name = next(name for name in section.judges if _points(section, row.runs[0], name))
    scores = section.scores_of(row.runs[0].evaluations)[name]
    for output, point in scores["operating_points"]["points"].items():
        values = [scores.get(metric, {}).get("outputs", {}).get(output) for metric in metrics]
        threshold = point["threshold"]
        yield [
            output.replace("_", " "),
            "-" if threshold is None else short_number(threshold),
            *("-" if value is None else metric_text(value) for value in values),
        ]


def _about(section: Section, found: Mapping[str, Any]) -> str:
    positive = f" Positive class: {section.data.positive}." if section.data.positive else ""
    whose = "" if len(found["points"]) == 1 else f"{section.shown_first().label}, {section.judges[0]}. "
    unit = section.test.unit if section.by_group else "image"
    return (
        f"{whose}Thresholds were chosen on the validation part by the rule `{found['rule']}`. Each {unit} whose "
        f"probability reaches the threshold is called positive.{positive} PPV and NPV hold for the share of positive "
        f"{unit}s in the test part."
    )


def _reasons(section: Section) -> Iterator[str]:
    """Say once where there is no threshold, and why."""
    said: dict[str, None] = {}
    for row in section.main_rows:
        for name in section.judges:
            for output, point in (_points(section, row.runs[0], name) or {"points": {}})["points"].items():
                if point["reason"]:
                    said[f"{row.label}, {name}, {output.replace('_', ' ')}: no threshold, {point['reason']}"] = None
    yield from said


def further_metrics(section: Section) -> list[list[str]]:
    """Return the metrics that neither lead nor stand in the table of decisions, of the row whose images the page shows.

    Returns:
        A row per metric and a column per evaluator, the header first; empty if there are none.
    """
    scores = {name: found for name in section.judges if (found := section.shown_first().scores.get(name))}
    names = [
        name
        for name, facts in section.metrics.items()
        if not facts["leads"] and name not in _METRICS and any(name in found for found in scores.values())
    ]
    rows = [
        [
            metric_title(name, section.metrics),
            *(metric_text(vars(found[name])) if name in found else "-" for found in scores.values()),
        ]
        for name in names
    ]
    return [["", *scores], *rows] if rows else []
