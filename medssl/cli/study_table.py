"""Prints the tables of a study."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from medssl.io.plain_text import printable

if TYPE_CHECKING:
    from medssl.study.results.rows import Row
    from medssl.study.results.summary import Summary

__all__ = ["print_pooled", "print_summary"]


def print_summary(summary: Summary) -> None:
    """Print, for each dataset, a table of scores and a table of differences from the best baseline."""
    from medssl.study.results.table import difference_rows, lead, score_rows, unit_name

    for dataset in dict.fromkeys(row.dataset for row in summary.rows):
        metric, title = lead(summary, dataset)
        rows = [row for row in summary.rows if row.dataset == dataset]
        per = f" per {unit_name(rows[0])}" if rows[0].unit == "group" else ""
        click.echo(f"\n{dataset}: {title}{per} on the test part")
        _print_rows(score_rows(rows, metric))
        if beside := score_rows(rows, metric, beside=True):
            click.echo(f"\nthe same per {unit_name(rows[0], beside=True)}")
            _print_rows(beside)
        if differences := difference_rows(summary, dataset, metric):
            click.echo("\ndifference from the best baseline")
            _print_rows(differences)
    for row in summary.rows:
        _print_sites(row)
    _print_notes(summary)


def print_pooled(summary: Summary) -> None:
    """Print every metric of the rows, with the predictions of all folds pooled; and a row per left-out site."""
    from medssl.study.results.table import beside_rows, estimate_rows, unit_name

    for row in summary.rows:
        per = f", scores per {unit_name(row)}" if row.unit == "group" else ""
        click.echo(
            f"{row.method} on {row.dataset}: predictions of {len(row.runs)} folds pooled, {row.split} split{per}"
        )
        _print_rows(estimate_rows(row))
        if beside := beside_rows(row):
            click.echo(f"the same per {unit_name(row, beside=True)}")
            _print_rows(beside)
        _print_sites(row)
    _print_notes(summary)


def _print_sites(row: Row) -> None:
    from medssl.study.results.table import site_rows

    if rows := site_rows(row):
        click.echo(f"\n{row.label} on {row.dataset}: each site, by a model that has not seen it")
        _print_rows(rows)


def _print_notes(summary: Summary) -> None:
    for row in summary.rows:
        for note in row.notes:
            click.echo(printable(f"note: {row.dataset}, {row.label}: {note}"))


def _print_rows(rows: Sequence[Sequence[str]]) -> None:
    from medssl.results.metrics_table import aligned

    for line in aligned(rows):
        click.echo(printable(line))
