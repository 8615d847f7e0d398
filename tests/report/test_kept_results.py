"""Runs that were collected into a study can be written again, added to and replaced."""

import importlib
import json
import zipfile
from pathlib import Path

import pytest

from medssl.results.directory import RunResult
from medssl.results.upgrade import upgraded

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.fixture
def kept(monkeypatch):
    monkeypatch.syspath_prepend(str(DOCS))
    return importlib.import_module("kept_results")


@pytest.fixture
def collector(kept):
    return importlib.import_module("collect_results")


def run(kept, name, **result):
    return kept.KeptRun(name=name, section="s", row=name, result=result)


def test_what_is_written_is_read_with_the_same_keys_in_the_same_order_and_the_same_types(kept, tmp_path):
    results = {
        "a": {"z": 1, "a": {"same": [1, 2], "own": 1, "kind": {"x": 1}}, "none": None, "star": "*"},
        "b": {"z": 1, "a": {"same": [1, 2], "own": 1.0, "kind": {"y": {}}}, "none": True, "star": "*"},
    }
    kept.write_runs(tmp_path / "runs.jsonl", [run(kept, name, **result) for name, result in results.items()])
    read = {run.name: run.result for run in kept.read_runs(tmp_path / "runs.jsonl")}
    assert json.dumps(read) == json.dumps(results)  # the order, and 1 is not 1.0


def test_what_all_runs_share_is_written_once(kept, tmp_path):
    file = tmp_path / "runs.jsonl"
    kept.write_runs(file, [run(kept, name, seed=seed, shared={"deep": "same"}) for seed, name in enumerate("ab")])
    head, *lines = map(json.loads, file.read_text().splitlines())
    assert head == {"study": tmp_path.name, "runs": 2, "common": {"seed": "*", "shared": {"deep": "same"}}}
    assert [line["differs"] for line in lines] == [{"seed": 0}, {"seed": 1}]


def test_every_study_that_is_kept_reads_as_attributes(kept):
    files = sorted((DOCS / "results").glob("*/runs.jsonl"))
    assert len(files) > 5
    for file in files:
        for found in kept.read_runs(file)[::20]:
            result = RunResult(Path(found.name), upgraded(found.result)).check()
            assert result.method == found.result["method"]
            assert "auroc" in result.metrics


def test_a_collected_run_can_be_restored(collector, kept, make_run, tmp_path):
    made = make_run(seed=0, directory="/data/of/a/machine/phantom")
    assert collector.collect("study", tmp_path / "runs", tmp_path) == []
    (found,) = kept.read_runs(tmp_path / "study" / "runs.jsonl")
    found.restore(tmp_path / "again")
    again = json.loads((tmp_path / "again" / "result.json").read_text())
    assert again["data"].pop("directory") == "phantom"
    assert again["evaluations"] == made.values["evaluations"]
    assert found.name == made.path.name
    assert zipfile.ZipFile(tmp_path / "study" / "report.zip").namelist() == ["report.html"]


def test_new_runs_are_added_and_known_ones_replaced(collector, kept, make_run, tmp_path):
    known = make_run(seed=0)
    collector.collect("study", tmp_path / "runs", tmp_path)
    file = known.path / "result.json"
    file.write_text(json.dumps({**known.values, "seconds": 1.5}))
    make_run(seed=1)
    assert collector.collect("study", tmp_path / "runs", tmp_path) == []
    runs = kept.read_runs(tmp_path / "study" / "runs.jsonl")
    assert {run.name for run in runs} == {path.name for path in (tmp_path / "runs").iterdir()}
    assert {run.result["seed"]: run.result["seconds"] for run in runs} == {0: 1.5, 1: 75.0}
    assert {row["seeds"] for row in kept.read_table(tmp_path / "study" / "rows.csv")} == {"2"}


def test_a_run_that_was_made_twice_is_kept_once(collector, kept, make_run, tmp_path):
    names = [make_run(seed=0, accuracy=accuracy).path.name for accuracy in (0.7, 0.9)]
    (remark,) = collector.collect("study", tmp_path / "runs", tmp_path)
    assert remark.startswith(max(names))
    assert [run.name for run in kept.read_runs(tmp_path / "study" / "runs.jsonl")] == [min(names)]


def test_runs_from_another_folder_leave_the_rows_of_the_others(collector, kept, make_run, tmp_path):
    make_run(method="simclr", seed=0)
    collector.collect("study", tmp_path / "runs", tmp_path)
    before = kept.read_table(tmp_path / "study" / "rows.csv")
    (tmp_path / "runs").rename(tmp_path / "earlier")
    make_run(method="dcl", seed=0)
    (remark,) = collector.collect("study", tmp_path / "runs", tmp_path)
    assert "not tested" in remark
    after = kept.read_table(tmp_path / "study" / "rows.csv")
    assert after[: len(before)] == before
    assert {row["method"] for row in after} == {"simclr", "dcl"}
    assert {run.row for run in kept.read_runs(tmp_path / "study" / "runs.jsonl")} == {"simclr", "dcl"}
    collector.collect("study", tmp_path / "runs", tmp_path, anew=True)
    assert {run.row for run in kept.read_runs(tmp_path / "study" / "runs.jsonl")} == {"dcl"}


def test_half_a_row_is_refused_and_nothing_is_written(collector, make_run, tmp_path):
    make_run(seed=0)
    collector.collect("study", tmp_path / "runs", tmp_path)
    before = {file: file.read_bytes() for file in (tmp_path / "study").iterdir()}
    (tmp_path / "runs").rename(tmp_path / "earlier")
    make_run(seed=1)
    with pytest.raises(collector.CollectError, match="folder lacks"):
        collector.collect("study", tmp_path / "runs", tmp_path)
    assert {file: file.read_bytes() for file in (tmp_path / "study").iterdir()} == before
