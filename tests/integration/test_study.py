"""Whole studies on the phantom: stopped anywhere and called again, with cells that fail, and with label fractions."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from benchmarks.recorded import read_run
from medssl.cli import main
from medssl.io.leases import is_held, is_locked
from medssl.study.launch import crew

pytestmark = pytest.mark.slow

LISTENING = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from medssl.cli import main; main(prog_name='medssl')"
)
PLAN = """
methods: [dcl, simclr]
baselines: [random]
datasets: [phantom]
seeds: 2
evaluators: [knn]
settings:
  dataset: {images_per_patient: 3}
  train: {epochs: 6, batch_size: 16, validate_every: 0}
  views: {image_size: 24}
  encoder: {backbone: resnet10t, stem: standard}
  evaluate: {bootstrap: 100}
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "plan.yaml").write_text(PLAN)
    return tmp_path


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def start(folder, cache, *words):
    environment = {**os.environ, "MEDSSL_CACHE": str(cache), "NO_COLOR": "1"}
    command = [sys.executable, "-c", LISTENING, "bench", "plan.yaml", "--jobs", "2", *words]
    with (folder / "said.txt").open("wb") as said:
        return subprocess.Popen(command, cwd=folder, env=environment, stdout=said, stderr=said)


def results(folder):
    return {path.parent.name: path.stat().st_mtime_ns for path in folder.glob("runs/*/result.json")}


def half_trained(folder):
    """Directories of runs that have an epoch to go on from and no result."""
    return [p.parent for p in folder.glob("runs/*/state.pt") if not (p.parent / "result.json").exists()]


def saved_epochs(path):
    """Lines of the history of the epochs in the saved state; it is not written after each epoch if writing is slow."""
    count = len(torch.load(path / "state.pt", weights_only=True)["history"])
    return (path / "history.jsonl").read_text().splitlines()[:count]


@pytest.mark.parametrize("kill", [signal.SIGKILL, signal.SIGINT])
def test_a_study_stopped_in_the_middle_loses_no_finished_cell_and_repeats_none(folder, cache, kill, wait_for):
    process = start(folder, cache)
    wait_for(lambda: len(results(folder)) >= 2 and half_trained(folder))
    process.send_signal(kill)
    code = process.wait()
    if kill == signal.SIGINT:
        assert code == 130
        assert "Run the same command to continue" in (folder / "said.txt").read_text()
    wait_for(lambda: not any(is_held(path) for path in (folder / "runs").iterdir()), seconds=20)  # the workers went too
    finished = results(folder)
    time.sleep(1)
    assert results(folder) == finished
    epochs = {path: saved_epochs(path) for path in half_trained(folder)}
    complete = sum(not is_locked(folder / "runs" / name) for name in finished)  # others may lack their page

    assert start(folder, cache).wait() == 0
    after = results(folder)
    assert len(after) == 6
    assert {name: after[name] for name in finished} == finished
    said = (folder / "said.txt").read_text()
    assert f"6 cells, {complete} of them already finished" in said
    for path, saved in epochs.items():
        lines = (path / "history.jsonl").read_text().splitlines()
        assert len(lines) == 6
        assert saved
        assert lines[: len(saved)] == saved  # times included: they were not trained again
    assert {cell["state"] for cell in json.loads((folder / "runs" / "study.json").read_text())["cells"]} == {"done"}

    assert start(folder, cache).wait() == 0
    assert results(folder) == after


def test_two_studies_at_once_share_the_work(folder, cache):
    processes = [start(folder, cache), start(folder, cache)]
    assert [process.wait() for process in processes] == [0, 0]
    assert len(results(folder)) == 6
    for path in folder.glob("runs/*-dcl-*/history.jsonl"):
        assert [json.loads(line)["epoch"] for line in path.read_text().splitlines()] == list(range(6))


def test_a_cell_that_fails_is_named_and_the_others_are_done(folder, cache, monkeypatch):
    monkeypatch.setenv("MEDSSL_CACHE", str(cache))
    monkeypatch.delenv("MEDSSL_DATA", raising=False)
    monkeypatch.chdir(folder)
    words = ["bench", "--method", "random", "--dataset", "pneumonia", "--dataset", "phantom", "--evaluator", "knn"]
    words += ["--image-size", "24", "--backbone", "resnet10t", "--set", "encoder.stem=standard"]
    outcome = CliRunner().invoke(main, words)
    assert outcome.exit_code == 1
    assert "failed: pneumonia random, seed 0" in outcome.stdout
    assert "phantom: accuracy on the test part" in outcome.stdout
    assert len(results(folder)) == 1


def test_a_worker_that_ran_other_cells_gives_the_same_numbers_as_a_new_one(tmp_path, cache, monkeypatch):
    monkeypatch.setenv("MEDSSL_CACHE", str(cache))
    plan = PLAN.replace("[knn]", "[linear, {plugin: finetune, epochs: 2, min_steps: 0}]").replace(
        "seeds: 2", "seeds: 1"
    )
    (tmp_path / "plan.yaml").write_text(plan.replace("[dcl, simclr]", "[dcl, byol]").replace("epochs: 6", "epochs: 2"))
    found = {}
    for name, jobs, cells in (("kept", 1, 50), ("two", 2, 50), ("new", 1, 1)):
        monkeypatch.setattr(crew, "_CELLS", cells)
        monkeypatch.setenv("OMP_NUM_THREADS", str(jobs))  # one thread for each worker
        words = ["bench", str(tmp_path / "plan.yaml"), "--output", str(tmp_path / name), "--jobs", str(jobs)]
        outcome = CliRunner().invoke(main, words)
        assert outcome.exit_code == 0, outcome.output
        found[name] = {path.parent.name: read_run(path.parent) for path in tmp_path.glob(f"{name}/*/result.json")}
    assert len(found["new"]) == 3
    assert found["kept"] == found["new"]
    assert found["two"] == found["new"]


def test_label_fractions_use_one_encoder(folder, cache, monkeypatch):
    monkeypatch.setenv("MEDSSL_CACHE", str(cache))
    monkeypatch.chdir(folder)
    words = ["bench", "plan.yaml", "--method", "dcl", "--seeds", "1", "--label-fraction", "0.5", "1.0", "--json"]
    outcome = CliRunner().invoke(main, words)
    assert outcome.exit_code == 0, outcome.output
    rows = json.loads(outcome.stdout)["summary"]["rows"]
    assert {(row["method"], row["label_fraction"]) for row in rows} == {
        (m, f) for m in ("random", "dcl") for f in (0.5, 1.0)
    }
    reused = [json.loads(path.read_text())["pretrain"]["reused"] for path in folder.glob("runs/*-dcl-*/result.json")]
    assert sorted(name is not None for name in reused) == [False, True]


def test_a_study_does_not_take_results_of_other_images_for_its_own(folder, cache, monkeypatch):
    monkeypatch.setenv("MEDSSL_CACHE", str(cache))
    monkeypatch.chdir(folder)
    rng = np.random.default_rng(0)
    for path in [f"{place}/{label}/{i}.png" for place in "AB" for label in ("ill", "well") for i in range(12)]:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (24, 24), np.uint8)).save(folder / path)
    words = ["bench", "--method", "random", "--dataset", "folder", "--evaluator", "knn", "--image-size", "24"]
    words += ["--backbone", "resnet10t", "--set", "encoder.stem=standard", "--set", "evaluate.bootstrap=50"]

    def call(*more):
        return CliRunner().invoke(main, [*words, *more])

    assert call("--data-dir", "A").exit_code == 0
    before = results(folder)
    assert call("--data-dir", "A").exit_code == 0
    other = call("--data-dir", "B")
    assert other.exit_code == 1
    assert "has a result of this recipe for other images" in other.output
    assert "--force" in other.output
    (folder / "A" / "ill" / "0.png").rename(folder / "A" / "well" / "moved.png")
    assert "labels, groups or parts" in call("--data-dir", "A").output
    assert results(folder) == before
    assert call("--data-dir", "A", "--force").exit_code == 0
    assert results(folder) != before
