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


def test_the_pages_are_what_the_script_makes_of_the_kept_results(maker: ModuleType) -> None:
    pages = maker.pages()
    assert len(pages) == 1 + len(STUDIES)
    for file, text in pages.items():
        assert file.read_text(encoding="utf-8") == text


def read(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as lines:
        return list(csv.DictReader(lines))


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.name)
def test_every_number_is_the_mean_of_what_its_runs_found(study: Path) -> None:
    report = study / "report"
    runs = [line for line in read(report / "runs.csv") if line["part"] == "evaluations"]
    results = {name: json.loads((report / name).read_text()) for name in {line["result"] for line in runs}}
    assert {(report / name).resolve() for name in results} == {file.resolve() for file in study.glob("*/result.json")}
    for line in runs:
        found = results[line["result"]]["evaluations"][line["evaluator"]][line["metric"]]
        value = found["value"] if isinstance(found, dict) else found
        assert line["value"] == ("" if value is None else str(value))
    rows = [row for row in read(report / "rows.csv") if row["source"] == "measured here" and row["value"]]
    assert {row["row"] for row in rows} == {line["row"] for line in runs}
    for row in rows:
        place = [row["row"], row["evaluator"], row["metric"]]
        values = [float(x["value"]) for x in runs if [x["row"], x["evaluator"], x["metric"]] == place]
        assert len(values) == int(row["seeds"])
        assert float(row["value"]) == pytest.approx(sum(values) / len(values), abs=1e-9)


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.name)
def test_what_is_kept_names_no_folder_of_a_machine(study: Path) -> None:
    folders = [json.loads(file.read_text())["data"]["directory"] for file in study.glob("*/result.json")]
    assert folders
    assert all("/" not in folder for folder in folders)
    report = (study / "report" / "report.html").read_text(encoding="utf-8")
    assert f"From {folders[0]}." in report
    assert "/tmp/" not in report
    assert "data:image" not in report  # the images of a set are not ours to give
