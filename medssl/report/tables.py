"""The table at the end of a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TextIO

from rich.console import Console
from rich.table import Table

from medssl.record import RunResult

__all__ = ["METRICS", "metric_text", "print_result", "result_rows"]

METRICS = {
    "accuracy": "accuracy",
    "f1_weighted": "weighted F1",
    "f1_macro": "macro F1",
    "balanced_accuracy": "balanced acc.",
    "auroc": "AUROC",
    "mcc": "MCC",
    "ece": "ECE",
}


def metric_text(metric: dict[str, Any]) -> str:
    """Write a metric with its interval: ``.872 [.845, .898]``."""
    if metric["value"] is None:
        return "-"
    if metric.get("low") is None:
        return _short(metric["value"])
    return f"{_short(metric['value'])} [{_short(metric['low'])}, {_short(metric['high'])}]"


def _short(value: float) -> str:
    return f"{value:.3f}".replace("0.", ".", 1) if abs(value) < 1 else f"{value:.3f}"


def result_rows(result: RunResult) -> list[list[str]]:
    """One row per metric, one column per evaluator, the header first: four evaluators fit a terminal of 90 columns."""
    rows = [["", *result.evaluations]]
    for key, title in METRICS.items():
        rows.append([title, *(metric_text(scores[key]) for scores in result.evaluations.values())])
    return rows


def print_result(result: RunResult, stream: TextIO) -> None:
    """Print what was run, the table, what the reader must know, and the path."""
    values = result.values
    data = values["data"]
    print(
        f"{values['method']} on {values['dataset']}: {data['train']} training, {data['val']} validation and "
        f"{data['test']} test images, {data['split']} split",
        file=stream,
    )
    _print_rows(result_rows(result), stream)
    for text in _remarks(result):
        print(f"note: {text}", file=stream)
    print(result.path, file=stream)


def _remarks(result: RunResult) -> list[str]:
    notes = [f"{name}: {text}" for name, metrics in result.evaluations.items() for text in metrics.get("notes", ())]
    return [*result.values["data"]["warnings"], *notes]


def _print_rows(rows: Sequence[Sequence[str]], stream: TextIO) -> None:
    if stream.isatty():
        table = Table(*rows[0])
        for row in rows[1:]:
            table.add_row(*row)
        Console(file=stream).print(table)
        return
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip(), file=stream)
