"""The report of a study: its page, its tables as CSV and LaTeX, its figures as SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from medssl.catalog import Catalog, load_catalog
from medssl.errors import CheckpointError
from medssl.io.files import write_atomic
from medssl.report.figures.maps import map_file
from medssl.report.missing import Missing
from medssl.report.page import make_parts, page_of, render_page
from medssl.report.sections import make_sections
from medssl.report.tables import table_files
from medssl.results.directory import RunDirectory, RunResult
from medssl.study.results.summary import summarise

__all__ = ["write_report"]


def write_report(
    results: Sequence[RunResult],
    directory: Path,
    *,
    catalog: Catalog | None = None,
    missing: Sequence[Missing] = (),
    images: bool = True,
) -> list[Path]:
    """Write ``report.html``, the tables and the figures of a study.

    Args:
        results: Finished runs, at least one.
        directory: Where to write; made when it does not exist. Files of an earlier report are replaced.
        catalog: Baselines, published numbers, facts about datasets; ``None``: medssl's own.
        missing: Runs that belong to the study and have no result.
        images: Whether the page shows images of the dataset; without them it may be passed on.

    Returns:
        What was written, the page first.

    Raises:
        CheckpointError: A run's files are damaged, or ``directory`` cannot be written to.
    """
    catalog = catalog or load_catalog()
    try:
        sections = make_sections(summarise(results, catalog))
        parts = make_parts(sections, catalog, missing, images=images)
        files: dict[str, str] = {"report.html": render_page(parts, directory, missing)}
    except KeyError as error:
        raise _damaged(results, catalog, error) from error
    files["rows.csv"] = table_files.rows_csv(sections)
    files["comparisons.csv"] = table_files.comparisons_csv(sections)
    files["runs.csv"] = table_files.runs_csv(sections, directory)
    for part in parts:
        files[f"{part.section.key}.tex"] = table_files.latex(part.section)
        files |= {f"figures/{drawing.name}.svg": drawing.svg for drawing in part.drawings}
        files |= {f"figures/{found.name}.svg": map_file(found) for found in part.maps}
    return _write(files, directory)


def _damaged(results: Sequence[RunResult], catalog: Catalog, error: KeyError) -> CheckpointError:
    """Name the result that has no page of its own either."""
    for result in results:
        try:
            page_of(result, result.path, catalog, images=False)
        except KeyError:
            file = RunDirectory(result.path).result
            return CheckpointError(
                f"{file} is damaged, or another version of medssl wrote it: it lacks the value {error}. Run the same "
                "command with --force, or move its directory out of the study."
            )
    raise error


def _write(files: Mapping[str, str], directory: Path) -> list[Path]:
    try:
        (directory / "figures").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CheckpointError(
            f"the report's folder {directory} cannot be made. {error}. Give a folder you may write to with --output."
        ) from error
    written: dict[str, Path] = {}
    for name, text in files.items():
        path = directory / name
        while path.as_posix().lower() in written:  # many file systems do not tell upper from lower case
            path = path.with_stem(f"{path.stem}-2")
        write_atomic(path, text.encode(errors="backslashreplace"))
        written[path.as_posix().lower()] = path
    return list(written.values())
