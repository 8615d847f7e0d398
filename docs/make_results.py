"""Make ``docs/results.md`` from finished runs.

    python docs/make_results.py collect STUDY RUNS    keep a study's runs: docs/results/STUDY
    python docs/make_results.py                       write docs/results.md from what is kept

Of a run its result and its recipe are kept, of a study its report, without the images: they are not ours to give. Every
number in the page is read from the tables of these reports; ``notes.md`` of a study holds its words.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medssl.report.study import find_runs, write_report
from medssl.report.wording import interval_text, short, signed

DOCS = Path(__file__).resolve().parent
KEPT = DOCS / "results"
KEPT_OF_RUN = ("result.json", "recipe.yaml")
KEPT_OF_REPORT = ("report.html", "rows.csv", "runs.csv", "comparisons.csv")
METRICS = {"accuracy": "Accuracy", "balanced_accuracy": "Balanced accuracy", "auroc": "AUROC"}
TESTED = {"accuracy": "accuracy", "auroc": "AUROC"}
HEAD = """# Results on real images

Every number in the tables is read from files under `docs/results/` by `python docs/make_results.py`; none is typed by
hand. Test images were scored once, all settings were chosen on the validation part. Brackets hold 95 % intervals over
patients, or over whatever the groups are, and over seeds where there are several; ± is the standard deviation over
seeds. Differences are paired, tested, and corrected for the number of comparisons of the study (Holm). `random` is the
untrained encoder: what a method must beat.
"""

Table = Sequence[Mapping[str, str]]


def collect(study: str, runs: Path) -> None:
    """Keep a study's results, recipes and report, folders of this machine reduced to their names."""
    kept = KEPT / study
    for old in [folder for folder in kept.glob("*") if folder.is_dir()]:
        shutil.rmtree(old)
    with tempfile.TemporaryDirectory() as temporary:
        found = Path(temporary) / study
        for run in [path.parent for path in sorted(runs.glob("*/result.json"))]:
            _link(run, found / run.name)
        results, _ = find_runs([found])
        nowhere = Path("images-are-not-kept")  # a report leaves out what it does not find, and names the folder
        write_report(results, found / "report", data_dir=nowhere)
        for folder, names in [*((run.path, KEPT_OF_RUN) for run in results), (found / "report", KEPT_OF_REPORT)]:
            (kept / folder.name).mkdir(parents=True)
            for name in names:
                shutil.copyfile(folder / name, kept / folder.name / name)


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


def page() -> str:
    """Write the page from what is kept."""
    studies = sorted((path.parent for path in KEPT.glob("*/notes.md")), reverse=True)
    return "\n".join([HEAD, *(line for study in studies for line in section(study))]).rstrip() + "\n"


def section(study: Path) -> list[str]:
    """Write one study: its words, its tables, its differences."""
    rows, comparisons = (_read(study / "report" / f"{name}.csv") for name in ("rows", "comparisons"))
    rows = [row for row in rows if row["source"] == "measured here"]
    results = [json.loads(file.read_text()) for file in sorted(study.glob("*/result.json"))]
    lines = [(study / "notes.md").read_text().rstrip(), "", _facts(results), ""]
    lines.append(f"The whole of it, with figures: {{download}}`report <results/{study.name}/report/report.html>`.")
    for metric, title in METRICS.items():
        lines += ["", f"### {title}", "", *_scores([row for row in rows if row["metric"] == metric])]
    baselines = dict.fromkeys(row["row"] for row in rows if row["baseline"] == "True")
    for baseline in baselines:
        for metric, words in TESTED.items():
            tested = [c for c in comparisons if c["second"] == baseline and c["metric"] == metric]
            if tested:
                lines += ["", f"### Difference from {baseline}, {words}", "", *_differences(tested)]
    return [*lines, ""]


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
    cells = {(row["row"], row["evaluator"]): _score(row) for row in rows}
    seeds = {row["row"]: row["seeds"] for row in rows}
    evaluators = list(dict.fromkeys(row["evaluator"] for row in rows))
    return _table(
        ["", "seeds", *evaluators],
        [[name, count, *(cells.get((name, e), "") for e in evaluators)] for name, count in seeds.items()],
    )


def _score(row: Mapping[str, str]) -> str:
    value = interval_text(*(float(row[key]) for key in ("value", "low", "high")))
    return f"{value} ±{short(float(row['std']))}" if row["std"] else value


def _differences(tested: Table) -> list[str]:
    """One line per row of the study, one column per evaluator; a number where a difference is shown."""
    cells = {(c["first"], c["evaluator"]): _difference(c) for c in tested}
    names, evaluators = (list(dict.fromkeys(c[key] for c in tested)) for key in ("first", "evaluator"))
    return _table(["", *evaluators], [[name, *(cells.get((name, e), "") for e in evaluators)] for name in names])


def _difference(found: Mapping[str, str]) -> str:
    if found["shown"] != "True":
        return "not shown"
    difference, low, high = (signed(float(found[key])) for key in ("difference", "low", "high"))
    return f"{difference} [{low}, {high}]"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *rows)]


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
    (DOCS / "results.md").write_text(page())


if __name__ == "__main__":
    main()
