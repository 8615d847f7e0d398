"""Writes a summary as rows of text for a terminal, and as plain values for JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from statistics import fmean, stdev
from typing import Any

from medssl.results.directory import RunResult
from medssl.results.metrics_table import higher_is_better, lead_metric, metric_title, short_number
from medssl.results.privacy import named_run
from medssl.results.scores import Interval
from medssl.study.results.comparisons import Comparison
from medssl.study.results.rows import Estimate, Row
from medssl.study.results.summary import Summary

__all__ = [
    "NOT_SHOWN",
    "beside_rows",
    "best_baseline",
    "difference_rows",
    "estimate_rows",
    "lead",
    "score_rows",
    "site_rows",
    "summary_values",
    "unit_name",
]

NOT_SHOWN = "not significant"


def lead(summary: Summary, dataset: str) -> tuple[str, str]:
    """Return name and title of the metric by which the rows of a dataset are compared; both ``""`` if there is none."""
    rows = [row for row in summary.rows if row.dataset == dataset]
    facts = rows[0].runs[0].metrics
    every = [scores for row in rows for scores in row.scores.values()]
    name = lead_metric(facts, {str(i): scores for i, scores in enumerate(every)})
    return name, metric_title(name, facts) if name else ""


def score_rows(rows: Sequence[Row], metric: str, *, beside: bool = False) -> list[list[str]]:
    """Return one row per method and one column per evaluator; the first row is the header.

    Args:
        rows: Of one dataset.
        metric: Name of the metric.
        beside: Whether the scores are those of the other unit; the table is empty if there are none.
    """
    names = _evaluators(rows)
    table = [["", "seeds", *names]]
    if beside and not any(row.beside for row in rows):
        return []
    for row in rows:
        scores = row.beside if beside else row.scores
        estimates = [scores.get(name, {}).get(metric) for name in names]
        seeds = max((estimate.runs for estimate in estimates if estimate), default=len(row.runs))
        table.append([row.label, str(seeds), *(_estimate_text(estimate) for estimate in estimates)])
    return table


def estimate_rows(row: Row) -> list[list[str]]:
    """Return one row per metric and one column per evaluator, for one row of a study; the first row is the header."""
    return _estimates(row.scores)


def beside_rows(row: Row) -> list[list[str]]:
    """Return the same for the other unit; empty if no group has several images."""
    return _estimates(row.beside) if row.beside else []


def _estimates(scores: Mapping[str, Mapping[str, Estimate]]) -> list[list[str]]:
    metrics = dict.fromkeys(metric for found in scores.values() for metric in found)
    return [["", *scores], *([m, *(_estimate_text(found.get(m)) for found in scores.values())] for m in metrics)]


def unit_name(row: Row, *, beside: bool = False) -> str:
    """Return what the scores of a row are about, or those beside them: ``image``, ``patient``."""
    if (row.unit == "group") == beside:
        return "image"
    return (row.runs[0].data.group_kind or "group").replace("_", " ")


def site_rows(row: Row) -> list[list[str]]:
    """Return one row per left-out site and one column per evaluator with the leading metric, the header first.

    With several seeds, a cell is the mean over them and its standard deviation. Empty for other split protocols.
    """
    found: dict[str, list[RunResult]] = {}
    for run in row.runs:
        if row.split == "site" and run.data.fold:
            found.setdefault(str(run.data.fold.left_out), []).append(run)
    names, facts = list(row.scores), row.runs[0].metrics
    metric = lead_metric(facts, {name: row.scores[name] for name in names})
    if not found or not metric:
        return []
    header = ["site", "images", *(f"{name}, {metric_title(metric, facts)}" for name in names)]
    body = [
        [site, str(runs[0].data.test), *(_over_seeds([run.scores[name][metric] for run in runs]) for name in names)]
        for site, runs in found.items()
    ]
    return [header, *body]


def _over_seeds(values: Sequence[Interval]) -> str:
    known = [each.value for each in values if each.value is not None]
    if len(known) < len(values):
        return "-"
    if len(values) == 1:
        return _estimate_text(Estimate(value=known[0], low=values[0].low, high=values[0].high, std=None, runs=1))
    return _estimate_text(Estimate(value=fmean(known), low=None, high=None, std=stdev(known), runs=len(known)))


def difference_rows(summary: Summary, dataset: str, metric: str) -> list[list[str]]:
    """Return the difference of every method from the best baseline, by evaluator, with a header row.

    Empty without a baseline.
    The best baseline is the one with the best score on the test part, a choice that favours the baseline.
    """
    rows = [row for row in summary.rows if row.dataset == dataset]
    names = _evaluators(rows)
    fractions = sorted({row.label_fraction for row in rows}, reverse=True)
    best = {(n, share): best_baseline(rows, n, metric, share) for n in names for share in fractions}
    if not any(best.values()):
        return []
    table = [["", *names]]
    for row in rows:
        if not row.baseline:
            against = [best[name, row.label_fraction] for name in names]
            cells = [_against(summary, row, other, name, metric) for name, other in zip(names, against, strict=True)]
            table.append([row.label, *cells])
    return table if len(table) > 1 else []


def best_baseline(rows: Sequence[Row], evaluator: str, metric: str, label_fraction: float) -> Row | None:
    """Return the baseline with the best value at this fraction of labels; ``None`` if there is no baseline."""
    found = []
    for row in rows:
        estimate = row.scores.get(evaluator, {}).get(metric)
        if row.baseline and row.label_fraction == label_fraction and estimate and estimate.value is not None:
            found.append((estimate.value, row))
    if not found:
        return None
    sign = 1 if higher_is_better(metric, rows[0].runs[0].metrics) else -1
    return max(found, key=lambda pair: sign * pair[0])[1]


def summary_values(summary: Summary) -> dict[str, Any]:
    """Return a summary as values for JSON; runs are identified by their directories."""
    rows = []
    for row in summary.rows:
        known = {**vars(row), "label": row.label, "facts": dict(row.facts)}
        for key in ("scores", "beside"):
            known[key] = {name: {m: asdict(e) for m, e in each.items()} for name, each in known[key].items()}
        rows.append({**known, "runs": [named_run(run.path) for run in row.runs]})
    return {
        "confidence": summary.confidence,
        "rows": rows,
        "comparisons": [asdict(comparison) for comparison in summary.comparisons],
        "published": {name: [asdict(cell) for cell in cells] for name, cells in summary.published.items()},
    }


def _evaluators(rows: Sequence[Row]) -> list[str]:
    """Return the evaluators that recipes name, in their order; additional outcomes appear only in the report."""
    named = [str(choice["plugin"]) for row in rows for choice in row.runs[0].recipe["evaluators"]]
    scored = {name for row in rows for name in row.scores}
    return [name for name in dict.fromkeys(named) if name in scored]


def _estimate_text(estimate: Estimate | None) -> str:
    if estimate is None or estimate.value is None:
        return "-"
    text = short_number(estimate.value)
    if estimate.low is not None and estimate.high is not None:
        text += f" [{short_number(estimate.low)}, {short_number(estimate.high)}]"
    return text + (f" sd {short_number(estimate.std)}" if estimate.std is not None else "")


def _against(summary: Summary, row: Row, other: Row | None, evaluator: str, metric: str) -> str:
    if other is None:
        return "-"
    comparison = _find(summary.comparisons, row, other, evaluator, metric)
    if comparison is None:
        return "-"
    if not comparison.shown:
        return f"{other.label}: {NOT_SHOWN}"
    turned = comparison.first != row.key
    difference = -comparison.difference if turned else comparison.difference
    ends = [value for value in (comparison.low, comparison.high) if value is not None]
    ends = sorted(-value if turned else value for value in ends)
    interval = f" [{_signed(ends[0])}, {_signed(ends[1])}]" if ends else ""
    return f"{other.label}: {_signed(difference)}{interval}"


def _find(comparisons: Sequence[Comparison], row: Row, other: Row, evaluator: str, metric: str) -> Comparison | None:
    wanted: Mapping[str, str] = {"dataset": row.dataset, "evaluator": evaluator, "metric": metric}
    for comparison in comparisons:
        same = all(getattr(comparison, key) == value for key, value in wanted.items())
        if same and {comparison.first, comparison.second} == {row.key, other.key}:
            return comparison
    return None


def _signed(value: float) -> str:
    return ("+" if value >= 0 else "-") + short_number(abs(value))
