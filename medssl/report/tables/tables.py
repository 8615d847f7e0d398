"""The table at the end of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from rich.console import Console
from rich.table import Table

from medssl.io.plain_text import printable
from medssl.report.tables.score_tables import ScoreTable, further_tables, score_tables
from medssl.report.words.gains import gain_lines
from medssl.results.directory import RunResult
from medssl.results.metrics_table import aligned, metric_rows
from medssl.results.sections import CONFOUNDING, LEAK, RunData

__all__ = ["diagnostic_lines", "print_result", "ranking_rows"]


def ranking_rows(result: RunResult) -> list[list[str]]:
    """One row per metric of rankings, one column per evaluator, the header first."""
    return metric_rows(
        result.metrics, {name: found for name, found in result.diagnostics.items() if _is_ranking(found, result)}
    )


def diagnostic_lines(result: RunResult) -> list[str]:
    """One line of the features themselves, and one per observer: ``rank: effective_rank 31.4, alpha 1.08``."""
    lines = []
    for name, found in result.diagnostics.items():
        if not _is_ranking(found, result):
            words = [f"{key} {_number(value)}" for key, value in found.items() if key not in ("selected", "notes")]
            lines.append(f"{name}: {', '.join(words)}")
    return lines


def _is_ranking(found: Mapping[str, Any], result: RunResult) -> bool:
    """Whether a diagnostic holds metrics: rankings do, observations do not."""
    return any(isinstance(found.get(name), Mapping) for name in result.metrics)


def _number(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def print_result(result: RunResult, stream: TextIO) -> None:
    """Print what was run, the table, what the reader must know, and the path."""
    data = result.data
    if leak := _leak(data):
        _say(leak, stream)
    for text in data.warnings:
        if text.startswith(CONFOUNDING):
            _say(text, stream)
    _say(
        f"{result.method} on {result.dataset_title}: {data.train} training, {data.val} validation and "
        f"{data.test} test images, {data.split} split"
        f"{f'; positive class: {data.positive}' if data.positive else ''}",
        stream,
    )
    for table in (*score_tables(result), ScoreTable("", ranking_rows(result)), *further_tables(result)):
        if len(table.rows[0]) > 1:
            if table.title:
                print(table.title, file=stream)
            _print_table(table.rows, stream)
    for line in (*gain_lines(result), *diagnostic_lines(result)):
        _say(line, stream)
    for text in _remarks(result):
        if not text.startswith(CONFOUNDING):
            _say(f"note: {text}", stream)
    _say(result.path.name if result.path.is_absolute() else str(result.path), stream)


def _say(text: str, stream: TextIO) -> None:
    print(printable(text), file=stream)


def _leak(data: RunData) -> str | None:
    """Return the remark that must come first: the user allowed test images that the encoder was trained on."""
    allowed = data.encoder_seen is not None and data.encoder_seen.allowed
    return next((text for text in data.warnings if allowed and text.startswith(LEAK)), None)


def _remarks(result: RunResult) -> list[str]:
    every = {**result.evaluations, **result.diagnostics}
    notes = [f"{name}: {text}" for name, found in every.items() for text in found.get("notes", ())]
    return [*result.warnings, *notes]


def _print_table(rows: Sequence[Sequence[str]], stream: TextIO) -> None:
    if stream.isatty():
        table = Table(*map(printable, rows[0]))
        for row in rows[1:]:
            table.add_row(*map(printable, row))
        Console(file=stream, markup=False).print(table)
        return
    for line in aligned(rows):
        _say(line, stream)
