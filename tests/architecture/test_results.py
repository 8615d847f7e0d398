"""The pages of results agree with the recorded results."""

from __future__ import annotations

import importlib
import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
STUDIES = sorted(path.parent for path in (DOCS / "results").glob("*/notes.md"))
FILES = 350  # under docs/: more make every search and every review slow


@pytest.fixture(scope="module", autouse=True)
def docs_on_the_path() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(DOCS))
        yield


@pytest.fixture(scope="module")
def kept() -> ModuleType:
    return importlib.import_module("kept_results")


def test_the_pages_are_what_the_script_makes_of_the_kept_results() -> None:
    pages = importlib.import_module("make_results").pages()
    assert len(pages) == 1 + len(STUDIES)
    for file, text in pages.items():
        assert file.read_text(encoding="utf-8") == text


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.name)
def test_every_number_is_the_mean_of_what_its_runs_found(study: Path, kept: ModuleType) -> None:
    runs = kept.read_runs(study / "runs.jsonl")
    rows = [row for row in kept.read_table(study / "rows.csv") if row["source"] == "measured here"]
    assert {(run.section, run.row) for run in runs} == {(row["section"], row["row"]) for row in rows}
    for row in rows:
        own = [run.result for run in runs if (run.section, run.row) == (row["section"], row["row"])]
        scores = [result["evaluations"][row["evaluator"]] for result in own]
        if row.get("unit") == "group":
            scores = [found["per_group"] for found in scores]
        found = [each.get(row["metric"]) for each in scores]
        values = [metric["value"] for metric in found if metric is not None and metric["value"] is not None]
        assert len(own) == int(row["seeds"])
        if row["value"]:
            assert len(values) == len(own)
            assert float(row["value"]) == pytest.approx(sum(values) / len(values), abs=1e-9)
        else:
            assert len(values) < len(own)


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.name)
def test_a_run_is_in_the_row_of_its_method_and_batch_size(study: Path, kept: ModuleType) -> None:
    lines = [row for row in kept.read_table(study / "rows.csv") if row["source"] == "measured here"]
    rows = {(row["section"], row["row"]): row for row in lines}
    for run in kept.read_runs(study / "runs.jsonl"):
        row, recipe = rows[run.section, run.row], run.result["recipe"]
        assert (row["method"], row["dataset"]) == (run.result["method"], run.result["dataset"])
        assert int(row["batch_size"]) == recipe["train"]["batch_size"]
        assert float(row["label_fraction"]) == recipe["split"].get("label_fraction", 1.0)
        assert run.name.endswith(recipe["hash"])


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.name)
def test_what_is_kept_names_no_folder_of_a_machine(study: Path, kept: ModuleType) -> None:
    folders = [run.result["data"]["directory"] for run in kept.read_runs(study / "runs.jsonl")]
    assert folders
    assert all("/" not in folder for folder in folders)
    with zipfile.ZipFile(study / "report.zip") as packed:
        assert packed.namelist() == ["report.html"]
        report = packed.read("report.html").decode()
    assert folders[0] in report
    assert "/tmp/" not in report
    assert "data:image" not in report  # the licences of the images forbid it


def test_few_files_are_tracked_under_docs() -> None:
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("needs git and a clone")
    found = subprocess.run([git, "ls-files", "docs"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    tracked = found.splitlines()
    assert "docs/make_results.py" in tracked
    assert len(tracked) <= FILES
