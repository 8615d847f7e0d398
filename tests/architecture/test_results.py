"""The page of results says what the kept results say."""

from __future__ import annotations

import csv
import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"
STUDIES = sorted(path.parent for path in (DOCS / "results").glob("*/notes.md"))


@pytest.fixture(scope="module")
def maker() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(DOCS))
        yield importlib.import_module("make_results")


def test_the_page_is_what_the_script_makes_of_the_kept_results(maker: ModuleType) -> None:
    assert (DOCS / "results.md").read_text(encoding="utf-8") == maker.page()


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.name)
def test_every_number_of_a_row_is_the_mean_of_its_runs(study: Path) -> None:
    results = [json.loads(file.read_text()) for file in study.glob("*/result.json")]
    with (study / "report" / "rows.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["source"] == "measured here" and row["value"]]
    assert {row["method"] for row in rows} == {result["method"] for result in results}
    for row in rows:
        values = [
            result["evaluations"][row["evaluator"]][row["metric"]]["value"]
            for result in results
            if (result["method"], str(result["recipe"]["train"]["batch_size"])) == (row["method"], row["batch_size"])
            and float(result["recipe"]["split"].get("label_fraction") or 1) == float(row["label_fraction"])
        ]
        assert len(values) == int(row["seeds"])
        assert float(row["value"]) == pytest.approx(sum(values) / len(values), abs=1e-9)


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.name)
def test_what_is_kept_names_no_folder_of_a_machine(study: Path) -> None:
    folders = [json.loads(file.read_text())["data"]["directory"] for file in study.glob("*/result.json")]
    assert folders
    assert all("/" not in folder for folder in folders)
    report = (study / "report" / "report.html").read_text(encoding="utf-8")
    assert f"From {folders[0]}." in report
