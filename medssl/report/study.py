"""The report of a study: one page that opens from a file, its tables as CSV and LaTeX, its figures as SVG."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medssl.catalog import Catalog, load_catalog
from medssl.contracts.kinds import METHOD
from medssl.errors import CheckpointError
from medssl.io.files import write_atomic
from medssl.report.figures.drawing import Drawing
from medssl.report.figures.maps import HEIGHT, SHAPES, WIDTH, FeatureMap, make_maps, map_file
from medssl.report.figures.palette import Style, css_variables, styles
from medssl.report.figures.scores import batch_figures, label_figures, score_figures
from medssl.report.figures.training import reliability_figure, training_figures
from medssl.report.page import template_environment
from medssl.report.pictures.images import Gallery, make_gallery
from medssl.report.sections import Section, make_sections
from medssl.report.tables import table_files
from medssl.report.words import provenance, wording
from medssl.report.words.answer import Answer, answer
from medssl.report.words.trust import findings
from medssl.results.directory import RunDirectory, RunResult
from medssl.study.results.summary import Row, summarise

__all__ = ["find_runs", "write_report"]


@dataclass(frozen=True, kw_only=True)
class _Part:
    """A section with everything that the page shows of it; an empty value leaves its place out."""

    section: Section
    answer: Answer
    scores: Sequence[Drawing]
    batches: Sequence[Drawing]
    labels: Sequence[Drawing]
    training: Sequence[Drawing]
    reliability: Drawing | None
    confusions: Sequence[Mapping[str, Any]]
    maps: Sequence[FeatureMap]
    gallery: Gallery
    findings: Sequence[str]

    @property
    def drawings(self) -> list[Drawing]:
        """Every figure that is a file of its own."""
        found = [*self.scores, *self.batches, *self.labels, *self.training]
        return [*found, self.reliability] if self.reliability else found


def find_runs(paths: Iterable[Path]) -> tuple[list[RunResult], list[str]]:
    """Read the finished runs in some folders.

    Args:
        paths: Run directories, and folders of them.

    Returns:
        The results, each once; and the names of run directories without a result, with the reason where a study tells.

    Raises:
        CheckpointError: There is no finished run, or a result cannot be read.
    """
    folders: dict[Path, None] = {}
    given = list(paths)
    for path in given:
        own = [path] if RunDirectory(path).recipe.exists() or RunDirectory(path).result.exists() else []
        inside = sorted({file.parent for name in ("recipe.yaml", "result.json") for file in path.glob(f"*/{name}")})
        folders |= dict.fromkeys(folder.resolve() for folder in own or inside)
    finished = [folder for folder in folders if RunDirectory(folder).result.exists()]
    if not finished:
        raise CheckpointError(
            f"there is no finished run in {wording.listed([str(path) for path in given])}. A run directory holds a "
            "result.json when it is finished. Give run directories, or the folder that holds them."
        )
    failures: dict[str, str] = {}
    for path in given:
        failures |= _failures(path)
    known = {folder.name for folder in finished}
    names = dict.fromkeys([*(folder.name for folder in folders), *failures])
    unfinished = [f"{n}: {failures[n]}" if n in failures else n for n in names if n not in known]
    return [RunDirectory(folder).load() for folder in finished], unfinished


def _failures(folder: Path) -> dict[str, str]:
    """Read why cells of a study have failed, by the names of their run directories."""
    try:
        cells = json.loads((folder / "study.json").read_text(encoding="utf-8"))["cells"]
        return {cell["directory"]: str(cell.get("message")) for cell in cells if cell["state"] == "failed"}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def write_report(
    results: Sequence[RunResult],
    directory: Path,
    *,
    catalog: Catalog | None = None,
    data_dir: Path | None = None,
    unfinished: Sequence[str] = (),
) -> list[Path]:
    """Write ``report.html``, the tables and the figures of a study.

    Args:
        results: Finished runs, at least one.
        directory: Where to write; made when missing. Files of an earlier report are replaced.
        catalog: Baselines, published numbers, facts about datasets; ``None``: medssl's own.
        data_dir: Where the images lie by now, if not where the runs found them.
        unfinished: Runs that belong to the study and have no result, a text for each.

    Returns:
        What was written, the page first.

    Raises:
        CheckpointError: A run's files are damaged, or ``directory`` cannot be written to.
    """
    catalog = catalog or load_catalog()
    sections = make_sections(summarise(results, catalog))
    looks = styles((row.variant, row.baseline) for section in sections for row in section.rows)
    words = _baseline_words(catalog)
    parts = [_make_part(section, looks, words, catalog, data_dir) for section in sections]
    files: dict[str, str] = {"report.html": _render(parts, directory, unfinished)}
    files["rows.csv"] = table_files.rows_csv(sections)
    files["comparisons.csv"] = table_files.comparisons_csv(sections)
    files["runs.csv"] = table_files.runs_csv(sections, directory)
    for part in parts:
        files[f"{part.section.key}.tex"] = table_files.latex(part.section)
        files |= {f"figures/{drawing.name}.svg": drawing.svg for drawing in part.drawings}
        files |= {f"figures/{found.name}.svg": map_file(found) for found in part.maps}
    return _write(files, directory)


def _write(files: Mapping[str, str], directory: Path) -> list[Path]:
    try:
        (directory / "figures").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CheckpointError(
            f"the report's folder {directory} cannot be made. {error}. Give a folder you may write to with --output."
        ) from error
    for name, text in files.items():
        write_atomic(directory / name, text.encode())
    return [directory / name for name in files]


def _baseline_words(catalog: Catalog) -> dict[str, str]:
    """Say what each known baseline is: the first clause of its summary."""
    found = {}
    for name in catalog.names(METHOD.name):
        if catalog.entry(METHOD.name, name).get("baseline"):
            clause = catalog.summary(METHOD.name, name).partition(";")[0].partition(",")[0].strip().rstrip(".")
            found[name] = clause[:1].lower() + clause[1:]
    return found


def _make_part(
    section: Section, looks: Mapping[str, Style], words: Mapping[str, str], catalog: Catalog, data_dir: Path | None
) -> _Part:
    shown, maps = section.shown_first(), make_maps(section)
    return _Part(
        section=section,
        answer=answer(section, words),
        scores=list(score_figures(section, looks)),
        batches=list(batch_figures(section, looks)),
        labels=list(label_figures(section, looks)),
        training=list(training_figures(section, looks)),
        reliability=reliability_figure(section, shown),
        confusions=list(_confusions(section)),
        maps=maps,
        gallery=make_gallery(section, maps, catalog, data_dir),
        findings=findings(section),
    )


def _confusions(section: Section) -> list[dict[str, Any]]:
    """Add up the confusion matrices of the shown row's and the baselines' runs, by evaluator."""
    shown = section.shown_first()
    rows = [shown, *(row for row in section.main_rows if row.baseline and row is not shown)]
    return [
        {"row": wording.named(row), "evaluator": name, "counts": counts, "runs": len(row.runs)}
        for row in rows
        for name in section.judges
        if (counts := _added(row, name))
    ]


def _added(row: Row, evaluator: str) -> list[list[int]]:
    matrices = [run.evaluations.get(evaluator, {}).get("confusion_matrix") for run in row.runs]
    if not all(matrices):
        return []
    return [[sum(cells) for cells in zip(*lines, strict=True)] for lines in zip(*matrices, strict=True)]


def _render(parts: Sequence[_Part], directory: Path, unfinished: Sequence[str]) -> str:
    runs = [run for part in parts for run in part.section.runs]
    template = template_environment().get_template("study.html.j2")
    return template.render(
        parts=parts,
        unfinished=unfinished,
        environments=provenance.environments(runs),
        base=directory,
        light=css_variables(dark=False),
        dark=css_variables(dark=True),
        shapes=SHAPES,
        map_size=(WIDTH, HEIGHT),
        words=wording,
        provenance=provenance,
    )
