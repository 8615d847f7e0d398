"""The tables as files: CSV for a spreadsheet, LaTeX for a paper."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from medssl.io.plain_text import printable, table_text
from medssl.report.sections import Section
from medssl.report.words.wording import interval_text, level_text
from medssl.results.directory import RunResult
from medssl.results.privacy import named_run
from medssl.study.results.summary import Estimate, PublishedCell

__all__ = ["comparisons_csv", "latex", "path_from", "rows_csv", "runs_csv"]

_ROW = ("dataset", "method", "batch_size", "split", "label_fraction", "backbone", "image_size", "init", "recipe")


def rows_csv(sections: Sequence[Section]) -> str:
    """One line per row, evaluator and metric; published numbers among them."""
    numbers = ("value", "low", "high", "std", "seeds")
    header = ["section", "row", *_ROW, "baseline", "evaluator", "metric", "unit", *numbers, "source"]
    return table_text([header, *(line for section in sections for line in _row_lines(section))])


def _row_lines(section: Section) -> Iterator[Sequence[Any]]:
    for row in section.rows:
        known = [getattr(row, name) for name in _ROW]
        for evaluator, metrics in row.scores.items():
            for metric, e in metrics.items():
                place = (row.baseline, evaluator, metric, row.unit)
                numbers = (e.value, e.low, e.high, e.std, e.runs)
                yield [section.key, row.label, *known, *place, *numbers, "measured here"]
    dataset = section.rows[0].dataset
    for cell in section.published:
        known = [dataset, cell.method, cell.batch_size, *([None] * (len(_ROW) - 3))]
        published = (cell.value, cell.low, cell.high, None, None)
        yield [section.key, cell.method, *known, None, cell.evaluator, cell.metric, "image", *published, cell.source]


def comparisons_csv(sections: Sequence[Section]) -> str:
    """One line per tested difference."""
    numbers = ("difference", "low", "high", "p", "p_adjusted", "shown")
    lines = (
        [
            *(section.key, found.evaluator, found.metric),
            *(section.name_of(found.first), section.name_of(found.second)),
            *(getattr(found, name) for name in numbers),
        ]
        for section in sections
        for found in section.comparisons
    )
    return table_text([["section", "evaluator", "metric", "first", "second", *numbers], *lines])


def runs_csv(sections: Sequence[Section], base: Path) -> str:
    """One line per run, evaluator and metric, as it stands in the run's ``result.json``.

    Args:
        sections: Of the report.
        base: Folder that the paths of ``result.json`` files are written from.
    """
    header = ["section", "row", "seed", "result", "part", "evaluator", "metric", "value", "low", "high"]
    lines = (
        [section.key, row.label, run.seed, path_from(base, run), *line]
        for section in sections
        for row in section.rows
        for run in row.runs
        for line in _metrics(run)
    )
    return table_text([header, *lines])


def path_from(base: Path, run: RunResult) -> str:
    """Write the path of a run's ``result.json`` from ``base``, or from the folder of the run if others lie between.

    The names of those folders may name a hospital or a patient, and a page may leave the house.
    """
    folder = run.path.resolve()
    short = f"{named_run(folder)}/result.json"
    try:
        names = Path(os.path.relpath(folder / "result.json", base.resolve())).parts
    except ValueError:  # another drive
        return short
    above = [name for name in names if name == ".."]
    between = list(names[len(above) :])
    if between == ["result.json"]:
        return "/".join(names)
    ordinary = between[:-2] in ([], ["runs"])  # the default folder of runs
    return "/".join([*above, *between[:-2], short]) if ordinary else short


def _metrics(run: RunResult) -> Iterator[Sequence[Any]]:
    for part in ("evaluations", "diagnostics"):
        scored: Mapping[str, Any] = run.values.get(part, {})
        for evaluator, scores in scored.items():
            for metric, found in scores.items():
                if isinstance(found, Mapping) and "value" in found:
                    yield [part, evaluator, metric, found["value"], found.get("low"), found.get("high")]
                elif isinstance(found, int | float) and not isinstance(found, bool):
                    yield [part, evaluator, metric, found, None, None]


# -------------------------------------------------------------------------------------------------------------- LaTeX


def latex(section: Section) -> str:
    """Write a section's main table, for a document that loads the package booktabs."""
    metric = section.lead
    names = section.evaluators
    title = printable(" ".join(section.title.split()))
    lines = [
        f"% {title}: {section.lead_title}{section.per} on the test part, {level_text(section.confidence)} intervals. "
        "By medssl report.",
        r"\begin{tabular}{l" + "l" * len(names) + "}",
        r"\toprule",
        " & ".join(["", *map(_escape, names)]) + r" \\",
        r"\midrule",
    ]
    rows = section.main_rows
    for i, row in enumerate(rows):
        if i and row.baseline and not rows[i - 1].baseline:
            lines.append(r"\midrule")
        cells = [_cell(row.scores.get(name, {}).get(metric)) for name in names]
        lines.append(" & ".join([_escape(row.label), *cells]) + r" \\")
    published = section.published_rows(metric)
    lines += [r"\midrule"] * bool(published)
    for label, own in published:
        cells = [_cell(own.get(name)) for name in names]
        lines.append(" & ".join([f"{_escape(label)}, published", *cells]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _cell(found: Estimate | PublishedCell | None) -> str:
    return interval_text(found.value, found.low, found.high) if found else "--"


def _escape(text: str) -> str:
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    special |= {mark: rf"\{mark}" for mark in "&%$#_{}"}
    return "".join(special.get(letter, letter) for letter in printable(" ".join(text.split())))
