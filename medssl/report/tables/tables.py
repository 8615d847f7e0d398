"""The table at the end of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from rich.console import Console
from rich.table import Table

from medssl.report.words.gains import gain_lines
from medssl.results.directory import RunResult
from medssl.results.metrics_table import aligned, metric_rows

__all__ = ["diagnostic_lines", "print_result", "ranking_rows", "result_rows"]


def result_rows(result: RunResult) -> list[list[str]]:
    """One row per metric, one column per evaluator, the header first: four evaluators fit a terminal of 90 columns."""
    return metric_rows(result.metrics, result.evaluations)


def ranking_rows(result: RunResult) -> list[list[str]]:
    """The same of the rankings."""
    return metric_rows(
        result.metrics, {name: found for name, found in _diagnostics(result).items() if _is_ranking(found, result)}
    )


def diagnostic_lines(result: RunResult) -> list[str]:
    """One line of the features themselves, and one per observer: ``rank: effective_rank 31.4, alpha 1.08``."""
    lines = []
    for name, found in _diagnostics(result).items():
        if not _is_ranking(found, result):
            words = [f"{key} {_number(value)}" for key, value in found.items() if key not in ("selected", "notes")]
            lines.append(f"{name}: {', '.join(words)}")
    return lines


def _diagnostics(result: RunResult) -> Mapping[str, Any]:
    found: Mapping[str, Any] = result.values.get("diagnostics", {})
    return found


def _is_ranking(found: Mapping[str, Any], result: RunResult) -> bool:
    """Whether a diagnostic holds metrics: rankings do, observations do not."""
    return any(isinstance(found.get(name), Mapping) for name in result.metrics)


def _number(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def print_result(result: RunResult, stream: TextIO) -> None:
    """Print what was run, the table, what the reader must know, and the path."""
    values = result.values
    data = values["data"]
    if leak := _leak(data):
        print(leak, file=stream)
    print(
        f"{values['method']} on {values['dataset']}: {data['train']} training, {data['val']} validation and "
        f"{data['test']} test images, {data['split']} split",
        file=stream,
    )
    for rows in (result_rows(result), ranking_rows(result)):
        if len(rows[0]) > 1:
            _print_table(rows, stream)
    for line in (*gain_lines(result), *diagnostic_lines(result)):
        print(line, file=stream)
    for text in _remarks(result):
        print(f"note: {text}", file=stream)
    print(result.path, file=stream)


def _leak(data: Mapping[str, Any]) -> str | None:
    """Return the remark that must come first: the user allowed test images that the encoder was trained on."""
    allowed = (data.get("encoder_seen") or {}).get("allowed")
    return next((text for text in data["warnings"] if allowed and text.startswith("leak: ")), None)


def _remarks(result: RunResult) -> list[str]:
    every = {**result.evaluations, **_diagnostics(result)}
    notes = [f"{name}: {text}" for name, found in every.items() for text in found.get("notes", ())]
    return [*result.values["data"]["warnings"], *notes]


def _print_table(rows: Sequence[Sequence[str]], stream: TextIO) -> None:
    if stream.isatty():
        table = Table(*rows[0])
        for row in rows[1:]:
            table.add_row(*row)
        Console(file=stream).print(table)
        return
    for line in aligned(rows):
        print(line, file=stream)
