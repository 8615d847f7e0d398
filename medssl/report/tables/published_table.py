"""Published numbers that cannot stand beside those of a section, with what differs."""

from __future__ import annotations

from collections.abc import Iterator

from medssl.errors import counted
from medssl.report.sections import Section
from medssl.report.words.wording import estimate_text, interval_text
from medssl.study.results.summary import PublishedCell, Row

__all__ = ["published_table"]


def published_table(section: Section) -> list[list[str]]:
    """Return a row per published number: what it is, its value, that of the same method here, and what differs.

    A number of the same images in the leading metric is left out, because it stands in the main table. So is a number
    of a method or an evaluator that the section does not have.
    """
    rows = []
    for cell in section.published:
        beside = cell.metric == section.lead and section.same_images(cell)
        row = _row_of(section, cell)
        if row is not None and not beside:
            rows.append(
                [
                    cell.method if cell.batch_size is None else f"{cell.method}, batch {cell.batch_size}",
                    cell.evaluator,
                    section.title_of(cell.metric),
                    interval_text(cell.value, cell.low, cell.high),
                    estimate_text(row.scores[cell.evaluator][cell.metric]),
                    "; ".join(_differences(section, row, cell)) or "nothing that is known",
                    cell.source,
                ]
            )
    return [["method", "evaluator", "metric", "published", "here", "what differs", "source"], *rows] if rows else []


def _row_of(section: Section, cell: PublishedCell) -> Row | None:
    """Return the row of the same method, if possible with the same batch size."""
    rows = [
        row
        for row in section.main_rows
        if row.method == cell.method and cell.metric in row.scores.get(cell.evaluator, {})
    ]
    return next((row for row in rows if row.batch_size == cell.batch_size), rows[0] if rows else None)


def _differences(section: Section, row: Row, cell: PublishedCell) -> Iterator[str]:
    if cell.split != section.data.split:
        yield f"{cell.split or 'unknown'} split, here {section.data.split}"
    elif cell.split != "official":
        yield f"another {cell.split} split"
    if cell.images != section.test.images:
        there = "unknown number of test images" if cell.images is None else counted(cell.images, "test image")
        yield f"{there}, here {section.test.images:,}"
    if cell.network and cell.network != row.backbone:
        yield f"{cell.network}, here {row.backbone}"
    if cell.batch_size not in (None, row.batch_size):
        yield f"batch {cell.batch_size}, here {row.batch_size}"
