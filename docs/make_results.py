"""Make ``docs/results.md``, and a page of tables for every study, from finished runs.

    python docs/make_results.py collect STUDY RUNS    keep a study's runs: docs/results/STUDY
    python docs/make_results.py                       write the pages from what is kept

Of a run its result and its recipe are kept, of a study its report, without the images: they are not ours to give. Every
number in the pages is read from the tables of these reports; ``notes.md`` of a study holds its words.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medssl.report.study import find_runs, write_report
from medssl.report.wording import interval_text, short, signed

DOCS = Path(__file__).resolve().parent
KEPT = DOCS / "results"
KEPT_OF_RUN = ("result.json", "recipe.yaml")
KEPT_OF_REPORT = ("report.html", "rows.csv", "runs.csv", "comparisons.csv")
FIGURES = {  # by the end of their names, with what they show
    "-batch-knn.svg": "Accuracy by `knn` against batch size; bars are 95 % intervals, level lines the baselines.",
    "-labels-linear.svg": "Accuracy by `linear` against the share of labels; bars are 95 % intervals, broken lines the "
    "baselines.",
}
METRICS = {"accuracy": "Accuracy", "balanced_accuracy": "Balanced accuracy", "auroc": "AUROC"}
METHODS = ("random", "supervised")  # stand first
BATCH_SIZE = "64"
GLANCE = (("knn", "accuracy"), ("linear", "auroc"))
BY_SHARE = "auroc"
TESTED = {"accuracy": "accuracy", "auroc": "AUROC"}
NO_BREAK = "\u00a0"
HEAD = """# Results on real images

Every number in the tables is read from files under `docs/results/` by `python docs/make_results.py`; none is typed by
hand. Test images were scored once, all settings were chosen on the validation part. Brackets hold 95 % intervals over
patients, or over whatever the groups are, and over seeds where there are several; ± is the standard deviation over
seeds. `random` is the untrained encoder: what a method must beat.
"""
TABLES_HEAD = """
Brackets hold 95 % intervals; ± is the standard deviation over seeds. Differences are paired, tested, and corrected for
the number of comparisons of a table (Holm): a number stands where one is shown. The words are on the
[page of results](../../results.md).
""".strip()

Table = Sequence[Mapping[str, str]]


def collect(study: str, runs: Path) -> None:
    """Keep a study's results, recipes and report, folders of this machine reduced to their names."""
    kept = KEPT / study
    for old in [folder for folder in kept.glob("*") if folder.is_dir()]:
        shutil.rmtree(old)
    with tempfile.TemporaryDirectory() as temporary:
        found = Path(temporary).resolve() / study
        for run in [path.parent for path in sorted(runs.glob("*/result.json"))]:
            _link(run, found / run.name)
        results, _ = find_runs([found])
        nowhere = Path("images-are-not-kept")  # a report leaves out what it does not find, and names the folder
        write_report(results, found / "report", data_dir=nowhere)
        report = found / "report"
        files = [run.path / name for run in results for name in KEPT_OF_RUN]
        files += [report / name for name in KEPT_OF_REPORT]
        files += [file for end in FIGURES for file in sorted(report.glob(f"figures/*{end}"))]
        for file in files:
            to = kept / file.relative_to(found)
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, to)


def _link(run: Path, to: Path) -> None:
    """Make a run directory that is like another one, but for the places named in its result."""
    to.mkdir(parents=True)
    for file in run.iterdir():
        if file.name != "result.json":
            (to / file.name).symlink_to(file.resolve())
    values = json.loads((run / "result.json").read_text())
    values["data"]["directory"] = Path(values["data"]["directory"]).name
    values["environment"]["platform"] = values["environment"]["platform"].partition("-")[0]
    (to / "result.json").write_text(json.dumps(values, indent=1) + "\n")


def pages() -> dict[Path, str]:
    """Write every page from what is kept, by its file."""
    folders = sorted(path.parent for path in KEPT.glob("*/notes.md"))
    folders.sort(key=lambda folder: folder.name.partition("-")[0], reverse=True)  # the ablations last
    studies = [Study.read(folder) for folder in folders]
    found = {KEPT / study.name / "tables.md": tables(study) for study in studies}
    hidden = ["```{toctree}", ":hidden:", "", *(f"results/{study.name}/tables" for study in studies), "```"]
    lines = [HEAD, *overview(studies), *(line for study in studies for line in section(study)), *hidden]
    return {DOCS / "results.md": _text(lines), **found}


def _text(lines: Sequence[str]) -> str:
    return "\n".join(lines).rstrip() + "\n"


@dataclass(frozen=True, kw_only=True)
class Study:
    """What is kept of a study.

    Attributes:
        name: Of its folder.
        notes: Its words, a heading first.
        rows: Lines of ``rows.csv`` that were measured here.
        comparisons: Lines of ``comparisons.csv``.
        results: Of each run.
        figures: Files, with what they show.
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
        rows, comparisons = (_read(folder / "report" / f"{name}.csv") for name in ("rows", "comparisons"))
        return cls(
            name=folder.name,
            notes=(folder / "notes.md").read_text().rstrip(),
            rows=[row for row in rows if row["source"] == "measured here"],
            comparisons=comparisons,
            results=[json.loads(file.read_text()) for file in sorted(folder.glob("*/result.json"))],
            figures={
                file: words for end, words in FIGURES.items() for file in sorted(folder.glob(f"report/figures/*{end}"))
            },
        )

    @property
    def title(self) -> str:
        """The heading of its words."""
        return self.notes.partition("\n")[0].lstrip("# ")

    @property
    def main(self) -> Table:
        """Rows with all the labels that some row has."""
        most = max(float(row["label_fraction"]) for row in self.rows)
        return [row for row in self.rows if float(row["label_fraction"]) == most]


def overview(studies: Sequence[Study]) -> list[str]:
    """Write the studies of several methods side by side, at the batch size of :data:`BATCH_SIZE`."""
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
        lines += ["", f"{METRICS[metric]} by `{evaluator}`, at batch size {BATCH_SIZE}:", ""]
        lines += _table(["", *order], table)
    return ["## At a glance", *lines, ""]


def section(study: Study) -> list[str]:
    """Write one study: its words, its accuracies, its curves."""
    return [
        study.notes,
        "",
        _facts(study.results),
        "",
        f"[Every table](results/{study.name}/tables.md), differences and shares of labels among them. The whole of it, "
        f"with figures: {{download}}`report <results/{study.name}/report/report.html>`.",
        "",
        *_scores([row for row in study.main if row["metric"] == "accuracy"]),
        "",
        *(line for file, words in study.figures.items() for line in _figure(file, words)),
    ]


def _figure(file: Path, words: str) -> list[str]:
    alternative = words.partition(";")[0].replace("`", "")
    return [f"```{{figure}} {file.relative_to(DOCS).as_posix()}", f":alt: {alternative}", "", words, "```", ""]


def tables(study: Study) -> str:
    """Write a study's page: its tables, its differences."""
    lines = [f"# {study.title}: all tables", "", TABLES_HEAD]
    for metric, title in METRICS.items():
        lines += ["", f"## {title}", "", *_scores([row for row in study.main if row["metric"] == metric])]
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
    """A row's name, less the share of the labels, which its table or column says."""
    return row["row"].replace(f", {100 * float(row['label_fraction']):g} % of labels", "")


def _read(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as lines:
        return list(csv.DictReader(lines))


def _facts(results: Sequence[Mapping[str, Any]]) -> str:
    data, environment = results[0]["data"], results[0]["environment"]
    groups = data["groups"] and f" ({data['groups']['test']} {data['group_kind']}s)"
    return (
        f"{data['train']} training, {data['val']} validation and {data['test']} test images{groups or ''}; "
        f"{len(results)} runs; torch {environment['torch']}, {environment['device']}, {environment['precision']}."
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
    """One line per row of the study, one column per evaluator; a number where a difference is shown."""
    cells = {(c["first"], c["evaluator"]): _difference(c) for c in tested}
    firsts, evaluators = (list(dict.fromkeys(c[key] for c in tested)) for key in ("first", "evaluator"))
    table = [[_name(names[first]), *(cells.get((first, e), "") for e in evaluators)] for first in firsts]
    return _table(["", *evaluators], table)


def _difference(found: Mapping[str, str]) -> str:
    if found["shown"] != "True":
        return "not shown"
    difference, low, high = (signed(float(found[key])) for key in ("difference", "low", "high"))
    return f"{difference} [{low}, {high}]"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [[_unbroken(cell) for cell in cells] for cells in (header, ["---"] * len(header), *rows)]
    return [f"| {' | '.join(cells)} |" for cells in lines]


def _unbroken(cell: str) -> str:
    """Keep together what is read together: an interval, a batch size."""
    cell = re.sub(r"(?<=\[)[^]]*", lambda inside: inside[0].replace(" ", NO_BREAK), cell)
    return re.sub(r"batch (?=\d)", f"batch{NO_BREAK}", cell)


def main() -> None:
    """Collect or write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb")
    keep = verbs.add_parser("collect")
    keep.add_argument("study")
    keep.add_argument("runs", type=Path)
    words = parser.parse_args()
    if words.verb == "collect":
        collect(words.study, words.runs)
    for file, text in pages().items():
        file.write_text(text)


if __name__ == "__main__":
    main()
