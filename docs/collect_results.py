"""Keep the runs of a study: their results in one file, the tables, the figures and the report."""

from __future__ import annotations

import json
import shutil
import tempfile
import zipfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from kept_results import (
    COMPARISONS,
    KEPT,
    MEASURED,
    REPORT,
    ROWS,
    RUNS,
    KeptRun,
    Line,
    read_runs,
    read_table,
    write_runs,
    write_table,
)

from medssl.report.missing import find_runs
from medssl.report.study import write_report

FIGURES = {  # by the end of their names, with their captions
    "-batch-knn.svg": "Accuracy of `knn` by batch size. Bars are 95 % confidence intervals; horizontal lines are the "
    "baselines.",
    "-labels-linear.svg": "Accuracy of `linear` by share of labels. Bars are 95 % confidence intervals; dashed lines "
    "are the baselines.",
}
OLDEST = (1980, 1, 1, 0, 0, 0)  # the first date that a zip file can hold: the same report makes the same file


class CollectError(Exception):
    """The runs do not fit what is kept of the study."""


def collect(study: str, folder: Path, kept: Path = KEPT, *, anew: bool = False) -> list[str]:
    """Add the runs of a folder to a study. A run that the study has already is replaced.

    Folders of this machine are reduced to their names.

    Args:
        study: Name of the study's folder.
        folder: Holds the run directories.
        kept: Where the studies are.
        anew: Forget the runs that the study has.

    Returns:
        What the user must know, a sentence each.

    Raises:
        CollectError: A row has runs in ``folder`` and other runs that are not there, so it cannot be computed.
    """
    place = kept / study
    with tempfile.TemporaryDirectory() as temporary:
        found = Path(temporary).resolve() / study
        for run in sorted(path.parent for path in folder.glob("*/result.json")):
            _link(run, found / run.name)
        results, _ = find_runs([found])
        report = found / "report"
        # A report leaves out images that it does not find. They must not be kept: their licences forbid it.
        write_report(results, report, images=False)
        places = {Path(line["result"]).parent.name: line for line in read_table(report / "runs.csv")}
        new = [
            KeptRun(name=name, section=places[name]["section"], row=places[name]["row"], result=_kept(run.values))
            for run in results
            if (name := run.path.name) in places
        ]
        given = {run.path.name for run in results}
        others = [] if anew else [run for run in read_runs(place / RUNS) if run.name not in given]
        _check(new, others)
        rows, comparisons = _merge_tables(place, report, others)
        place.mkdir(parents=True, exist_ok=True)
        write_runs(place / RUNS, [*others, *new])
        write_table(place / ROWS, rows)
        write_table(place / COMPARISONS, comparisons)
        if not others:
            _keep_report(report, place)
    return list(_remarks(study, folder, sorted(given - places.keys()), len(others)))


def _kept(values: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out the points of curves: a third of a result, and the report shows them."""
    scores = {name: {k: v for k, v in one.items() if k != "curves"} for name, one in values["evaluations"].items()}
    return {**values, "evaluations": scores}


def _remarks(study: str, folder: Path, twice: Sequence[str], others: int) -> Iterator[str]:
    for name in twice:
        yield f"{name} is left out: another run has the same recipe, seed and images, and a run counts once."
    if others:
        yield (
            f"{others} runs of {study} are not in {folder}. Their rows stay as they are. The differences between them "
            "and the new runs are not tested, because a test needs the predictions of both. The report and the "
            "figures stay as they are. Give a folder with all runs to renew everything."
        )


def _link(run: Path, to: Path) -> None:
    """Make a run directory with the same files, but without the paths that its result names."""
    to.mkdir(parents=True)
    for file in run.iterdir():
        if file.name != "result.json":
            (to / file.name).symlink_to(file.resolve())
    values = json.loads((run / "result.json").read_text(encoding="utf-8"))
    values["data"]["directory"] = Path(values["data"]["directory"]).name
    environment = values["environment"]
    if "platform" in environment:
        environment["platform"] = environment["platform"].partition("-")[0]  # without the version of the kernel
    (to / "result.json").write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")


def _merge_tables(place: Path, report: Path, others: Sequence[KeptRun]) -> tuple[list[Line], list[Line]]:
    """Put the tables of the new report behind the lines that belong to other runs alone."""
    new_rows, new_comparisons = read_table(report / ROWS), read_table(report / COMPARISONS)
    stay = {(run.section, run.row) for run in others}
    published = {line["section"] for line in new_rows if line["source"] != MEASURED}
    renewed = {_row(line) for line in new_rows if line["source"] == MEASURED}
    old_rows = [
        line
        for line in (read_table(place / ROWS) if others else [])
        if (_row(line) in stay - renewed if line["source"] == MEASURED else line["section"] not in published)
    ]
    old_comparisons = [
        line for line in (read_table(place / COMPARISONS) if others else []) if _both_in(line, stay - renewed)
    ]
    return [*old_rows, *new_rows], [*old_comparisons, *new_comparisons]


def _row(line: Line) -> tuple[str, str]:
    return line["section"], line["row"]


def _both_in(line: Line, rows: Collection[tuple[str, str]]) -> bool:
    return all((line["section"], line[end]) in rows for end in ("first", "second"))


def _check(new: Sequence[KeptRun], others: Sequence[KeptRun]) -> None:
    """Refuse to split a row.

    Raises:
        CollectError: A row has new runs and other ones.
    """
    split = {(run.section, run.row) for run in new} & {(run.section, run.row) for run in others}
    if split:
        raise CollectError(
            f"these rows have runs that the folder lacks: {'; '.join(sorted(row for _, row in split))}. A row is "
            "computed from the predictions of all its runs, and predictions are not kept. Give a folder with all runs "
            "of these rows, or --anew to forget the runs that the study has."
        )


def _keep_report(report: Path, place: Path) -> None:
    """Replace the report, packed, and the figures of the pages."""
    for old in place.glob("*.svg"):
        old.unlink()
    for end in FIGURES:
        for figure in sorted(report.glob(f"figures/*{end}")):
            shutil.copyfile(figure, place / figure.name)
    pack_report(report / "report.html", place / REPORT)


def pack_report(page: Path, to: Path) -> None:
    """Write a zip file that holds the report's page."""
    with zipfile.ZipFile(to, "w") as packed:
        entry = zipfile.ZipInfo("report.html", OLDEST)
        entry.external_attr = 0o644 << 16
        packed.writestr(entry, page.read_bytes(), zipfile.ZIP_DEFLATED, 9)
