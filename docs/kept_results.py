"""Read and write what is kept of a study: ``docs/results/STUDY``. ``docs/results/README.md`` describes the files."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

KEPT = Path(__file__).resolve().parent / "results"
RUNS, ROWS, COMPARISONS, REPORT = "runs.jsonl", "rows.csv", "comparisons.csv", "report.zip"
VARIES = "*"  # stands in the first line of runs.jsonl where the runs differ
MEASURED = "measured here"  # source of a row; published numbers name a publication

Line = dict[str, str]


@dataclass(frozen=True, kw_only=True)
class KeptRun:
    """A finished run.

    Attributes:
        name: Name of its run directory.
        section: Section of the report that it belongs to: data set and split.
        row: Row of the tables that it belongs to. Runs that differ in their seed alone share a row.
        result: Content of its ``result.json``.
    """

    name: str
    section: str
    row: str
    result: Mapping[str, Any]

    @property
    def recipe(self) -> dict[str, Any]:
        """Content of its ``recipe.yaml``: the recipe in its result without the hash."""
        return {key: value for key, value in self.result["recipe"].items() if key != "hash"}

    def restore(self, directory: Path) -> None:
        """Write ``result.json`` and ``recipe.yaml`` as the run left them."""
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "result.json").write_text(json.dumps(self.result, indent=1) + "\n", encoding="utf-8")
        recipe = yaml.safe_dump(self.recipe, sort_keys=False, allow_unicode=True)
        (directory / "recipe.yaml").write_text(recipe, encoding="utf-8")


def read_runs(file: Path) -> list[KeptRun]:
    """Read ``runs.jsonl``; an empty list if it does not exist."""
    if not file.exists():
        return []
    head, *lines = (json.loads(line) for line in file.read_text(encoding="utf-8").splitlines())
    return [
        KeptRun(
            name=line["run"],
            section=line["section"],
            row=line["row"],
            result=_fill(head["common"], line["differs"]),
        )
        for line in lines
    ]


def write_runs(file: Path, runs: Iterable[KeptRun]) -> None:
    """Write ``runs.jsonl``, sorted by name: what all runs share in the first line, then a line per run."""
    ordered = sorted(runs, key=lambda run: run.name)
    common = _common([run.result for run in ordered])
    lines: list[dict[str, Any]] = [{"study": file.parent.name, "runs": len(ordered), "common": common}]
    for run in ordered:
        place = {"run": run.name, "section": run.section, "row": run.row}
        lines.append({**place, "differs": _differing(common, run.result)})
    text = "".join(json.dumps(line, separators=(",", ":"), allow_nan=False) + "\n" for line in lines)
    file.write_text(text, encoding="utf-8")


def _common(values: Sequence[Any]) -> Any:
    """Return the value that all share; in a mapping with the same keys everywhere, key by key."""
    first = values[0]
    if all(isinstance(value, Mapping) and list(value) == list(first) for value in values):
        return {key: _common([value[key] for value in values]) for key in first}
    texts = {json.dumps(value) for value in values}  # as text, because 1 == 1.0 == True in Python
    return first if len(texts) == 1 else VARIES


def _varies(common: Any) -> bool:
    if isinstance(common, Mapping):
        return any(_varies(value) for value in common.values())
    return bool(common == VARIES)


def _differing(common: Any, value: Any) -> Any:
    if isinstance(common, Mapping):
        return {key: _differing(part, value[key]) for key, part in common.items() if _varies(part)}
    return value


def _fill(common: Any, own: Any) -> Any:
    """Put what a run has of its own where the common part says that runs differ."""
    if isinstance(common, Mapping):
        return {key: _fill(part, own[key]) if _varies(part) else part for key, part in common.items()}
    return own


def read_table(file: Path) -> list[Line]:
    """Read a CSV file; an empty list if it does not exist."""
    if not file.exists():
        return []
    with file.open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def write_table(file: Path, lines: Sequence[Line]) -> None:
    """Write a CSV file with the columns of its first line, or remove it where there is no line."""
    if not lines:
        file.unlink(missing_ok=True)
        return
    text = io.StringIO()
    writer = csv.DictWriter(text, list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    file.write_text(text.getvalue(), encoding="utf-8")
