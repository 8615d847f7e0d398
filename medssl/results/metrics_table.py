"""The metrics of a result as a table of texts, for a terminal, a notebook and a page.

The section ``metrics`` of a result describes its metrics, so this module does not contain any name of a metric.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

__all__ = [
    "aligned",
    "higher_is_better",
    "lead_metric",
    "metric_rows",
    "metric_text",
    "metric_title",
    "short_number",
    "shown_metrics",
]


def metric_text(metric: Mapping[str, Any]) -> str:
    """Write a metric with its interval: ``.872 [.845, .898]``."""
    if metric["value"] is None:
        return "-"
    if metric.get("low") is None:
        return short_number(metric["value"])
    return f"{short_number(metric['value'])} [{short_number(metric['low'])}, {short_number(metric['high'])}]"


def short_number(value: float) -> str:
    """Write a number with three decimals, without the zero before the point."""
    return f"{value:.3f}".replace("0.", ".", 1) if abs(value) < 1 else f"{value:.3f}"


def metric_title(name: str, facts: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the title of a metric with its unit, or its name if the result does not describe it.

    Args:
        name: Key of the metric.
        facts: Section ``metrics`` of a result.
    """
    known = facts.get(name, {"title": name, "unit": ""})
    return f"{known['title']} ({known['unit']})" if known["unit"] else str(known["title"])


def shown_metrics(facts: Mapping[str, Mapping[str, Any]], by_evaluator: Mapping[str, Any]) -> dict[str, str]:
    """Return the titles, by name, of the leading metrics that some evaluator has, in order.

    Args:
        facts: Section ``metrics`` of a result.
        by_evaluator: Scores, as in ``result.json``.
    """
    every = by_evaluator.values()
    return {
        name: metric_title(name, facts)
        for name, known in facts.items()
        if known["leads"] and any(name in scores for scores in every)
    }


def lead_metric(facts: Mapping[str, Mapping[str, Any]], by_evaluator: Mapping[str, Any]) -> str:
    """Return the name of the first leading metric that some evaluator has; rows are compared by it.

    It is ``""`` if there is none.
    """
    return next(iter(shown_metrics(facts, by_evaluator)), "")


def higher_is_better(name: str, facts: Mapping[str, Mapping[str, Any]]) -> bool:
    """Return the direction of a metric; ``higher`` if the result does not describe it."""
    return name not in facts or facts[name]["direction"] == "higher"


def metric_rows(facts: Mapping[str, Mapping[str, Any]], by_evaluator: Mapping[str, Any]) -> list[list[str]]:
    """One row per metric, one column per evaluator, the header first.

    Args:
        facts: Section ``metrics`` of a result.
        by_evaluator: Scores, as in ``result.json``.
    """
    rows = [["", *by_evaluator]]
    for name, title in shown_metrics(facts, by_evaluator).items():
        cells = (metric_text(scores[name]) if name in scores else "-" for scores in by_evaluator.values())
        rows.append([title, *cells])
    return rows


def aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield the rows of a table as lines of text, each column as wide as its widest cell."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
