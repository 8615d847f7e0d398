"""Write the tables of the page on metrics from the metric classes."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator

from medssl.contracts.targets import Classes, Findings, Grades, Quantity, Target
from medssl.evaluation.metrics import Metric, prediction_metrics, ranking_metrics

TARGETS: tuple[Target, ...] = (
    Classes(("a", "b")),
    Grades(("low", "high")),
    Findings(("a",)),
    Quantity("the target's unit"),
)


def fragments() -> dict[str, str]:
    """Return a table of the metrics of each kind of target, and of rankings, by the fragment's name."""
    found = {f"metrics-{target.kind}.inc": _table(target, prediction_metrics(target)) for target in TARGETS}
    return {**found, "metrics-rankings.inc": _table(TARGETS[0], ranking_metrics(TARGETS[0]))}


def _table(target: Target, metrics: Iterable[Metric]) -> str:
    head = [".. list-table::", "   :header-rows: 1", "   :widths: 18 38 12 12 20", ""]
    lines = _row("Metric", ["What it is"], "Better", "Paired test", "Source")
    return "\n".join([*head, *lines, *(line for metric in metrics for line in _metric(target, metric)), ""])


def _metric(target: Target, metric: Metric) -> Iterator[str]:
    unit = metric.unit(target)
    said = (inspect.getdoc(type(metric)) or "").splitlines()
    said += ["", f"Unit: {unit}."] if unit else []
    better = "higher" if metric.higher_is_better else "lower"
    source = metric.source.replace("`", "``")
    return _row(f"{metric.title}: ``{metric.name}``", said, better, metric.test or "none", source)


def _row(name: str, said: Iterable[str], *cells: str) -> Iterator[str]:
    first, *rest = said
    yield f"   * - {name}"
    yield f"     - {first}"
    yield from (f"       {line}".rstrip() for line in rest)
    yield from (f"     - {cell}" for cell in cells)
