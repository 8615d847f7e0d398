"""The page: one file that opens without a network, in light and dark mode, on paper and on a phone.

Every run has its own page, ``report.html``, the page of a study with one row.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from medssl.catalog import Catalog
from medssl.contracts.kinds import METHOD
from medssl.io.files import write_atomic
from medssl.io.plain_text import printable
from medssl.report.figures.clinical import clinical_figures
from medssl.report.figures.drawing import Drawing
from medssl.report.figures.maps import HEIGHT, SHAPES, WIDTH, DrawnMap, make_maps
from medssl.report.figures.palette import Style, css_variables, styles
from medssl.report.figures.scores import batch_figures, label_figures, score_figures
from medssl.report.figures.training import reliability_figure, training_figures
from medssl.report.gallery import NO_IMAGES, Gallery, make_gallery
from medssl.report.missing import Missing
from medssl.report.sections import Section, make_sections
from medssl.report.tables.operating_table import OperatingTable, further_metrics, operating_table
from medssl.report.tables.output_table import output_table
from medssl.report.tables.published_table import published_table
from medssl.report.tables.score_tables import ScoreTable, further_tables, score_tables
from medssl.report.words import provenance, wording
from medssl.report.words.answer import Answer, answer
from medssl.report.words.trust import findings
from medssl.results.directory import RunDirectory, RunResult
from medssl.study.results.summary import Row, summarise
from medssl.study.results.table import score_rows, site_rows, unit_name

__all__ = ["PagePart", "make_parts", "page_of", "render_page", "template_environment", "write_page"]

MATRIX_CLASSES = 30  # a matrix of more cannot be read, and one of a thousand is a page of 100 MB
_BETWEEN_BACKTICKS = re.compile(r"`([^`]+)`")


@dataclass(frozen=True, kw_only=True)
class PagePart:
    """A section with everything that the page shows of it; parts without content are left out."""

    section: Section
    answer: Answer
    scores: Sequence[Drawing]
    batches: Sequence[Drawing]
    labels: Sequence[Drawing]
    training: Sequence[Drawing]
    clinical: Sequence[Drawing]
    reliability: Drawing | None
    confusions: Sequence[Mapping[str, Any]]
    maps: Sequence[DrawnMap]
    gallery: Gallery
    findings: Sequence[str]
    title: str
    tables: Sequence[ScoreTable]
    operating: OperatingTable | None
    published: Sequence[Sequence[str]]
    further: Sequence[Sequence[str]]

    @property
    def drawings(self) -> list[Drawing]:
        """Every figure that is a file of its own."""
        found = [*self.scores, *self.clinical, *self.batches, *self.labels, *self.training]
        return [*found, self.reliability] if self.reliability else found


def write_page(result: RunResult, catalog: Catalog, shared: Path | None = None) -> Path:
    """Write the page of one run into its directory, or a page without images to another file; return its path."""
    file = shared or RunDirectory(result.path).report
    file.parent.mkdir(exist_ok=True)
    write_atomic(file, page_of(result, result.path, catalog, images=shared is None).encode(errors="backslashreplace"))
    return file


def page_of(result: RunResult, directory: Path, catalog: Catalog, *, images: bool) -> str:
    """Return the page of one run; paths on it are relative to ``directory``."""
    parts = make_parts(make_sections(summarise([result], catalog)), catalog, images=images)
    return render_page(parts, directory)


def make_parts(
    sections: Sequence[Section], catalog: Catalog, missing: Sequence[Missing] = (), *, images: bool = True
) -> list[PagePart]:
    """Make all figures and sentences of the page.

    Args:
        sections: Of the report.
        catalog: Says what each baseline is.
        missing: Runs that belong to the report and have no result.
        images: Whether the page shows images of the dataset.
    """
    looks = styles((row.variant, row.baseline) for section in sections for row in section.rows)
    words = _baseline_words(catalog)
    galleries = [make_gallery(section) if images else Gallery(missing=NO_IMAGES) for section in sections]
    return [_make_part(s, looks, answer(s, words, missing), g) for s, g in zip(sections, galleries, strict=True)]


def render_page(parts: Sequence[PagePart], directory: Path, missing: Sequence[Missing] = ()) -> str:
    """Render the page.

    Args:
        parts: Of :func:`make_parts`.
        directory: Where the page will be written; paths on it are relative to this folder.
        missing: See :func:`make_parts`.
    """
    runs = [run for part in parts for run in part.section.runs]
    return (
        template_environment()
        .get_template("page.html.j2")
        .render(
            parts=parts,
            missing=missing,
            environments=provenance.environments(runs),
            base=directory,
            light=css_variables(dark=False),
            dark=css_variables(dark=True),
            shapes=SHAPES,
            map_size=(WIDTH, HEIGHT),
            words=wording,
            provenance=provenance,
            output_table=output_table,
        )
    )


@cache
def template_environment() -> Environment:
    """Return the template environment, one in a process, because it keeps the compiled templates.

    Text is escaped; an undefined name is an error.
    """
    environment = Environment(
        loader=PackageLoader("medssl.report"), autoescape=True, undefined=StrictUndefined, finalize=_shown
    )
    environment.filters["coded"] = _coded
    environment.filters["cell"] = _cell
    return environment


def _shown(value: object) -> object:
    """Write control characters and marks of direction as escapes; markup of medssl's own is kept."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _coded(text: str) -> Markup:
    """Escape a sentence and mark text between backticks as code."""
    parts = _BETWEEN_BACKTICKS.split(printable(text))
    return Markup("").join(Markup("<code>{}</code>").format(part) if i % 2 else part for i, part in enumerate(parts))


def _cell(text: str) -> str:
    """Mark an interval: on a screen it stays on one line, so that a narrow table breaks a cell only before it."""
    value, bracket, interval = printable(text).partition("[")
    return Markup('{}<span class="ends">[{}</span>').format(value, interval) if bracket else value


def _baseline_words(catalog: Catalog) -> dict[str, str]:
    """Say what each known baseline is: the first clause of its summary that says more than that it is one."""
    found = {}
    for name in catalog.names(METHOD.name):
        if catalog.entry(METHOD.name, name).get("baseline"):
            clauses = [clause.strip() for clause in re.split("[;,.]", catalog.summary(METHOD.name, name))]
            said = next((clause for clause in clauses if clause.lower() != "baseline"), "")
            found[name] = said[:1].lower() + said[1:]
    return found


def _make_part(section: Section, looks: Mapping[str, Style], said: Answer, gallery: Gallery) -> PagePart:
    return PagePart(
        section=section,
        answer=said,
        scores=list(score_figures(section, looks)),
        batches=list(batch_figures(section, looks)),
        labels=list(label_figures(section, looks)),
        training=list(training_figures(section, looks)),
        clinical=list(clinical_figures(section, section.shown_first())),
        reliability=reliability_figure(section, section.shown_first()),
        confusions=list(_confusions(section)),
        maps=make_maps(section),
        gallery=gallery,
        findings=findings(section),
        title=score_tables(section.single)[0].title if section.single else "",
        tables=_tables(section.single) if section.single else [*_beside(section), *_by_site(section)],
        operating=operating_table(section),
        published=published_table(section),
        further=further_metrics(section),
    )


def _tables(run: RunResult) -> list[ScoreTable]:
    """Return the tables beside the first one, which the page shows in another form."""
    return [*score_tables(run)[1:], *further_tables(run)]


def _beside(section: Section) -> Iterator[ScoreTable]:
    """Yield the scores of the other unit in the leading metric."""
    if rows := score_rows(section.main_rows, section.lead, beside=True):
        pooled = "" if section.by_group else ", predictions pooled"
        yield ScoreTable(f"{section.lead_title} per {unit_name(section.rows[0], beside=True)}{pooled}", rows)


def _by_site(section: Section) -> Iterator[ScoreTable]:
    """Yield the scores of each left-out site."""
    for row in section.rows:
        if rows := site_rows(row):
            yield ScoreTable(f"{row.label}: each site, by a model that has not seen it", rows)


def _confusions(section: Section) -> list[dict[str, Any]]:
    """Sum the confusion matrices over the runs of the shown row and of each baseline, by evaluator."""
    shown = section.shown_first()
    rows = [shown, *(row for row in section.main_rows if row.baseline and row is not shown)]
    return [
        {"row": wording.named(row), "evaluator": name, "runs": len(row.runs), **_worst(counts, section)}
        for row in rows
        for name in section.judges
        if (counts := _added(row, name))
    ]


def _worst(counts: list[list[int]], section: Section) -> dict[str, Any]:
    """Return the names and counts of a matrix; of many, those with the most errors and a column of the rest."""
    names = section.data.target.output_names
    if len(names) <= MATRIX_CLASSES:
        return {"names": names, "columns": names, "counts": counts, "of": 0}
    errors = [sum(line) - line[own] for own, line in enumerate(counts)]
    shown = sorted(sorted(range(len(names)), key=lambda own: -errors[own])[:MATRIX_CLASSES])
    cells = [[counts[row][column] for column in shown] for row in shown]
    rest = [sum(counts[row]) - sum(line) for row, line in zip(shown, cells, strict=True)]
    return {
        "names": [names[own] for own in shown],
        "columns": [*(names[own] for own in shown), "other classes"],
        "counts": [[*line, other] for line, other in zip(cells, rest, strict=True)],
        "of": len(names),
    }


def _added(row: Row, evaluator: str) -> list[list[int]]:
    matrices = [run.evaluations.get(evaluator, {}).get("confusion_matrix") for run in row.runs]
    if not all(matrices):
        return []
    return [[sum(cells) for cells in zip(*lines, strict=True)] for lines in zip(*matrices, strict=True)]
