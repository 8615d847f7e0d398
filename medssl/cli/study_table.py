"""Prints the tables of a study."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from medssl.study.results.summary import Summary

__all__ = ["print_pooled", "print_summary"]


def print_summary(summary: Summary) -> None:
    """Print, for each dataset, a table of scores and a table of differences from the best baseline."""
    from medssl.study.results.table import difference_rows, lead, score_rows

    for dataset in dict.fromkeys(row.dataset for row in summary.rows):
        metric, title = lead(summary, dataset)
        click.echo(f"\n{dataset}: {title} on the test part")
        _print_rows(score_rows(summary, dataset, metric))
        if differences := difference_rows(summary, dataset, metric):
            click.echo("\ndifference from the best baseline")
            _print_rows(differences)
    _print_notes(summary)


def print_pooled(summary: Summary) -> None:
    """Print every metric of the rows, with the predictions of all folds pooled."""
    from medssl.study.results.table import estimate_rows

    for row in summary.rows:
        click.echo(f"{row.method} on {row.dataset}: predictions of {len(row.runs)} folds pooled, {row.split} split")
        _print_rows(estimate_rows(row))
    _print_notes(summary)


def _print_notes(summary: Summary) -> None:
    for row in summary.rows:
        for note in row.notes:
            click.echo(f"note: {row.dataset}, {row.label}: {note}")


def _print_rows(rows: Sequence[Sequence[str]]) -> None:
    from medssl.results.metrics_table import aligned

    for line in aligned(rows):
        click.echo(line)
