"""Make ``docs/results.md``, and a page of tables for every study, from the runs kept in ``docs/results``.

    python docs/make_results.py                           write the pages
    python docs/make_results.py collect STUDY RUNS        add the runs in the folder RUNS to a study, write the pages
    python docs/make_results.py restore STUDY FOLDER      write every run of a study as a run directory again

``docs/results/README.md`` describes the files. ``notes.md`` of a study holds its text; every number in a table is read.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from collect_results import FIGURES, CollectError, collect
from kept_results import COMPARISONS, KEPT, MEASURED, REPORT, ROWS, RUNS, Line, read_runs, read_table

from medssl.errors import MedsslError
from medssl.report.words.wording import interval_text, short, signed

DOCS = Path(__file__).resolve().parent
METRICS = {
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "auroc": "AUROC",
    "average_precision": "Average precision",
}
METHODS = ("random", "supervised")  # stand first
BATCH_SIZE = "64"
GLANCE = (("knn", "accuracy"), ("linear", "auroc"))
BY_SHARE = "auroc"
TESTED = {"accuracy": "accuracy", "auroc": "AUROC"}
NO_BREAK = "\u00a0"
EARLIER = """
**An earlier rule chose the settings of these runs**, except in
{others}.
k of `knn`, C of `linear` and the like were chosen by balanced accuracy on the validation part. They are now chosen by
log loss, which changes the numbers:
[by how much](explanation/honest-evaluation.md#choosing-by-the-predicted-class). The folders of these runs do not exist
any more, so these tables cannot be computed again.
""".strip()
PREFACE = """
`python docs/make_results.py` reads every number in the tables from the files in `docs/results/`.
[The description of these files](results/README.md) says how to check a number.

The test images were scored once. All settings were chosen on the validation part. Brackets contain 95 % confidence
intervals. An interval covers the choice of test patients, and the choice of seeds if a row has several seeds. If a data
set does not name patients, its groups of images take their place. ± is the standard deviation over seeds. `random` is
the untrained encoder: a method is useful only if it is better than this baseline.

A difference is called significant if a paired test over patients is significant after the Holm correction for several
comparisons, and if the confidence interval of the difference excludes zero.
""".strip()
TABLES_PREFACE = """
Brackets contain 95 % confidence intervals. ± is the standard deviation over seeds. The tests of differences are paired,
with the Holm correction for the number of comparisons. A cell contains a difference only if it is significant. The
[page of results](../../results.md) explains the study.
""".strip()

Table = Sequence[Line]


def pages() -> dict[Path, str]:
    """Write the text of every page, by its file."""
    folders = sorted(path.parent for path in KEPT.glob("*/notes.md"))
    folders.sort(key=lambda folder: folder.name.partition("-")[0], reverse=True)  # the ablations last
    studies = [Study.read(folder) for folder in folders]
    found = {KEPT / study.name / "tables.md": tables(study) for study in studies}
    sections = [line for study in studies for line in section(study)]
    below = ["results/README", *(f"results/{study.name}/tables" for study in studies)]
    hidden = ["```{toctree}", ":hidden:", "", *below, "```"]
    today = [f"[{study.title}](#{_anchor(study.title)})" for study in studies if study.by_log_loss]
    earlier = EARLIER.format(others=" and\n".join(today)) if today else EARLIER.replace(", except in\n{others}", "")
    lines = ["# Results on real images", "", earlier, "", PREFACE, "", *overview(studies), *sections, *hidden]
    return {DOCS / "results.md": _text(lines), **found}


def _anchor(title: str) -> str:
    """The address of a heading, as Markdown makes it."""
    return re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-")


def _text(lines: Sequence[str]) -> str:
    return "\n".join(lines).rstrip() + "\n"


@dataclass(frozen=True, kw_only=True)
class Study:
    """What is kept of a study.

    Attributes:
        name: Name of its folder.
        notes: Its text, a heading first.
        rows: Lines of ``rows.csv`` that were measured here.
        comparisons: Lines of ``comparisons.csv``.
        results: Content of the ``result.json`` of each run.
        figures: Files with their captions.
    """

    name: str
    notes: str
    rows: Table
    comparisons: Table
    results: Sequence[Mapping[str, Any]]
    figures: Mapping[Path, str]

    @classmethod
    def read(cls, folder: Path) -> Study:
        """Read a study's folder."""
        return cls(
            name=folder.name,
            notes=(folder / "notes.md").read_text(encoding="utf-8").rstrip(),
            rows=[row for row in read_table(folder / ROWS) if row["source"] == MEASURED],
            comparisons=read_table(folder / COMPARISONS),
            results=[run.result for run in read_runs(folder / RUNS)],
            figures={file: words for end, words in FIGURES.items() for file in sorted(folder.glob(f"*{end}"))},
        )

    @property
    def title(self) -> str:
        """The heading of its text."""
        return self.notes.partition("\n")[0].lstrip("# ")

    @property
    def by_log_loss(self) -> bool:
        """Whether its evaluators chose their settings by a proper score, as they do since that is an option."""
        return "choose_by" in self.results[0]["recipe"]["evaluators"][0]

    @property
    def lead(self) -> str:
        """The metric of its table on the page: the first of :data:`METRICS` that it has."""
        return next(name for name in METRICS if any(row["metric"] == name for row in self.rows))

    @property
    def main(self) -> Table:
        """Rows with the largest share of labels."""
        most = max(float(row["label_fraction"]) for row in self.rows)
        return [row for row in self.rows if float(row["label_fraction"]) == most]


def overview(studies: Sequence[Study]) -> list[str]:
    """Write the studies of several methods side by side, at batch size :data:`BATCH_SIZE`."""
    lines: list[str] = []
    for evaluator, metric in GLANCE:
        columns: dict[str, None] = {}
        cells: dict[str, dict[str, str]] = {}
        for study in studies:
            found: dict[str, list[str]] = {}
            for row in study.main:
                chosen = row["baseline"] == "True" or row["batch_size"] == BATCH_SIZE
                if chosen and (row["evaluator"], row["metric"]) == (evaluator, metric):
                    found.setdefault(row["method"], []).append(_value(row))
            several = len(found.keys() - METHODS) > 1
            if several and all(len(values) == 1 for values in found.values()):  # not a study of one method's options
                columns |= dict.fromkeys(found)
                cells[study.title] = {method: value for method, [value] in found.items()}
        order = [name for name in METHODS if name in columns] + [name for name in columns if name not in METHODS]
        table = [[title, *(known.get(name, "") for name in order)] for title, known in cells.items()]
        lines += ["", f"{METRICS[metric]} of `{evaluator}` at batch size {BATCH_SIZE}:", ""]
        lines += _table(["", *order], table)
    return ["## At a glance", *lines, ""]


def section(study: Study) -> list[str]:
    """Write one study: its text, its accuracies, its figures."""
    return [
        study.notes,
        "",
        _facts(study.results),
        "",
        f"[All tables](results/{study.name}/tables.md) of this study, with differences and shares of labels. "
        f"[The report with all figures](results/{study.name}/{REPORT}) (zip).",
        "",
        f"{METRICS[study.lead]}{' per patient' if study.main[0].get('unit') == 'group' else ''}:",
        "",
        *_scores([row for row in study.main if row["metric"] == study.lead]),
        "",
        *(line for file, words in study.figures.items() for line in _figure(file, words)),
    ]


def _figure(file: Path, words: str) -> list[str]:
    alternative = words.partition(";")[0].replace("`", "")
    return [f"```{{figure}} {file.relative_to(DOCS).as_posix()}", f":alt: {alternative}", "", words, "```", ""]


def tables(study: Study) -> str:
    """Write the page of a study's tables."""
    lines = [f"# {study.title}: all tables", "", TABLES_PREFACE]
    for metric, title in METRICS.items():
        if found := [row for row in study.main if row["metric"] == metric]:
            lines += ["", f"## {title}", "", *_scores(found)]
    lines += _by_share_of_labels(study)
    names = {row["row"]: row for row in study.main}
    for baseline in [name for name, row in names.items() if row["baseline"] == "True"]:
        for metric, words in TESTED.items():
            tested = [c for c in study.comparisons if c["second"] == baseline and c["metric"] == metric]
            if tested:
                lines += ["", f"## Difference from {_name(names[baseline])}, {words}", ""]
                lines += _differences(tested, names)
    return _text(lines)


def _by_share_of_labels(study: Study) -> list[str]:
    """Write a table per evaluator: a line per row, a column per share of the labels."""
    shares = sorted({float(row["label_fraction"]) for row in study.rows})
    if len(shares) == 1:
        return []
    found: dict[str, dict[str, dict[float, str]]] = {}
    for row in study.rows:
        if row["metric"] == BY_SHARE:
            lines = found.setdefault(row["evaluator"], {})
            lines.setdefault(_name(row), {})[float(row["label_fraction"])] = _score(row)
    text = []
    for evaluator, lines in found.items():
        several = [[name, *(cells.get(s, "") for s in shares)] for name, cells in lines.items() if len(cells) > 1]
        text += ["", f"## {METRICS[BY_SHARE]} by share of labels, {evaluator}", ""]
        text += _table(["", *(f"{100 * share:g} %" for share in shares)], several)
    return text


def _name(row: Mapping[str, str]) -> str:
    """A row's name without the share of labels, which its table or column gives."""
    return row["row"].replace(f", {100 * float(row['label_fraction']):g} % of labels", "")


def _facts(results: Sequence[Mapping[str, Any]]) -> str:
    data, environment = results[0]["data"], results[0]["environment"]
    groups = data["groups"] and f" ({data['groups']['test']} {data['group_kind']}s)"
    return (
        f"Images: {data['train']} for training, {data['val']} for validation, {data['test']} for the test"
        f"{groups or ''}. Runs: {len(results)}, with torch {environment['torch']} on {environment['device']} in "
        f"{environment['precision']}."
    )


def _scores(rows: Table) -> list[str]:
    """One line per row of the study, one column per evaluator."""
    cells = {(_name(row), row["evaluator"]): _score(row) for row in rows}
    seeds = {_name(row): row["seeds"] for row in rows}
    evaluators = list(dict.fromkeys(row["evaluator"] for row in rows))
    return _table(
        ["", "seeds", *evaluators],
        [[name, count, *(cells.get((name, e), "") for e in evaluators)] for name, count in seeds.items()],
    )


def _score(row: Mapping[str, str]) -> str:
    value = interval_text(*(float(row[key]) for key in ("value", "low", "high")))
    return f"{value} ±{short(float(row['std']))}" if row["std"] else value


def _value(row: Mapping[str, str]) -> str:
    value = short(float(row["value"]))
    return f"{value} ±{short(float(row['std']))}" if row["std"] else value


def _differences(tested: Table, names: Mapping[str, Mapping[str, str]]) -> list[str]:
    """One line per row of the study, one column per evaluator; a number where the difference is significant."""
    cells = {(c["first"], c["evaluator"]): _difference(c) for c in tested}
    firsts, evaluators = (list(dict.fromkeys(c[key] for c in tested)) for key in ("first", "evaluator"))
    table = [[_name(names[first]), *(cells.get((first, e), "") for e in evaluators)] for first in firsts]
    return _table(["", *evaluators], table)


def _difference(found: Mapping[str, str]) -> str:
    if found["shown"] != "True":
        return "not significant"
    difference, low, high = (signed(float(found[key])) for key in ("difference", "low", "high"))
    return f"{difference} [{low}, {high}]"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [[_unbroken(cell) for cell in cells] for cells in (header, ["---"] * len(header), *rows)]
    return [f"| {' | '.join(cells)} |" for cells in lines]


def _unbroken(cell: str) -> str:
    """Prevent line breaks inside an interval and inside a batch size."""
    cell = re.sub(r"(?<=\[)[^]]*", lambda inside: inside[0].replace(" ", NO_BREAK), cell)
    return re.sub(r"batch (?=\d)", f"batch{NO_BREAK}", cell)


def restore(study: str, folder: Path) -> None:
    """Write every run of a study as a run directory: its ``result.json`` and its ``recipe.yaml``."""
    for run in read_runs(KEPT / study / RUNS):
        run.restore(folder / run.name)


def main() -> None:
    """Collect runs, restore them, or write the pages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb")
    keep = verbs.add_parser("collect", help="add the runs of a folder to a study")
    keep.add_argument("study")
    keep.add_argument("runs", type=Path)
    keep.add_argument("--anew", action="store_true", help="forget the runs that the study has")
    back = verbs.add_parser("restore", help="write every run of a study as a run directory")
    back.add_argument("study")
    back.add_argument("folder", type=Path)
    words = parser.parse_args()
    if words.verb == "restore":
        restore(words.study, words.folder)
        return
    if words.verb == "collect":
        try:
            remarks = collect(words.study, words.runs, anew=words.anew)
        except (CollectError, MedsslError) as error:
            parser.error(str(error))
        sys.stdout.writelines(f"{remark}\n" for remark in remarks)
    for file, text in pages().items():
        file.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
