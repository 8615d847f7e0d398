"""Whole runs on the phantom: files, schema, repeatability, interruption."""

import importlib.resources
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import yaml
from click.testing import CliRunner

from medssl.cli import main

# small enough for seconds: 96 images, 24 px, a tiny ResNet
QUICK = [
    "--method",
    "dcl",
    "--dataset",
    "phantom",
    "--epochs",
    "3",
    "--batch-size",
    "16",
    "--image-size",
    "24",
    "--backbone",
    "test_resnet",
    "--set",
    "encoder.stem=standard",
    "--set",
    "train.validate_every=2",
    "--set",
    "evaluate.bootstrap=100",
    "--evaluator",
    "knn",
]
LONG = ["--epochs", "10", "--backbone", "resnet10t"]  # runs that are stopped in the middle
LISTENING = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from medssl.cli import main; main(prog_name='medssl')"
)
SMALL = ["--set", "dataset.images_per_patient=3"]


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def finished(cache, tmp_path_factory):
    """Folder and output of one run that several tests look at and none changes."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MEDSSL_CACHE", str(cache))
        patch.delenv("MEDSSL_DATA", raising=False)
        patch.chdir(folder)
        outcome = CliRunner().invoke(main, ["run", *QUICK, *SMALL])
    assert outcome.exit_code == 0, outcome.output
    return only_run(folder / "runs"), outcome


@pytest.fixture
def call(cache, tmp_path, monkeypatch):
    monkeypatch.setenv("MEDSSL_CACHE", str(cache))
    monkeypatch.delenv("MEDSSL_DATA", raising=False)
    monkeypatch.chdir(tmp_path)

    def run(*words):
        return CliRunner().invoke(main, ["run", *QUICK, *SMALL, *words])

    return run


def history(run):
    return (run / "history.jsonl").read_text().splitlines()


def arrays(path):
    with np.load(path) as file:
        return dict(file)


def only_run(folder="runs"):
    (found,) = Path(folder).iterdir()
    return found


def test_a_run_leaves_every_file_and_a_valid_result(finished):
    directory, outcome = finished
    names = {file.name for file in directory.iterdir()}
    assert names == {
        "recipe.yaml",
        "splits.json",
        "history.jsonl",
        "desk.json",
        "encoder.safetensors",
        "heads.safetensors",
        "state.pt",
        "features.npz",
        "pictures.npz",
        "predictions.npz",
        "result.json",
        "report.html",
    }
    result = json.loads((directory / "result.json").read_text())
    schema = json.loads((importlib.resources.files("medssl.results") / "result.schema.json").read_text())
    jsonschema.validate(result, schema)
    assert f"runs/{directory.name}" in outcome.output
    assert "accuracy" in outcome.output
    recipe = yaml.safe_load((directory / "recipe.yaml").read_text())
    assert recipe["train"]["epochs"] == 3
    assert len((directory / "history.jsonl").read_text().splitlines()) == 3


def test_knn_while_training_follows_the_rule_of_the_final_one(finished):
    directory, _ = finished
    selected = json.loads((directory / "result.json").read_text())["evaluations"]["knn"]["selected"]
    last = json.loads(history(directory)[-1])
    assert selected["chosen_by"] == "log_loss"
    # the training part is smaller than the bank, so both see the same neighbours
    assert last["validation"]["val_knn"] == pytest.approx(selected["val_accuracy"], abs=1e-6)


def test_the_result_can_be_recomputed_from_the_predictions(finished):
    directory, _ = finished
    result = json.loads((directory / "result.json").read_text())
    saved = arrays(directory / "predictions.npz")
    accuracy = float((saved["knn"].argmax(1) == saved["y"]).mean())
    assert result["evaluations"]["knn"]["accuracy"]["value"] == pytest.approx(accuracy)
    split = json.loads((directory / "splits.json").read_text())
    assert sorted(saved["id"].tolist()) == sorted(split["parts"]["test"])


def test_the_same_command_again_returns_at_once(finished, call):
    directory, _ = finished
    before = (directory / "result.json").read_bytes()
    os.chdir(directory.parents[1])
    outcome = call()
    assert outcome.exit_code == 0
    assert "pre-training" not in outcome.stderr
    assert (directory / "result.json").read_bytes() == before


def test_equal_seeds_give_equal_files_and_other_seeds_do_not(finished, call):
    for words in (["--output", "b"], ["--output", "c", "--seed", "1"]):
        assert call(*words).exit_code == 0
    (a, _), b, c = finished, only_run("b"), only_run("c")
    for name in ("encoder.safetensors", "splits.json"):
        assert (a / name).read_bytes() == (b / name).read_bytes()
    assert np.array_equal(arrays(a / "features.npz")["test_x"], arrays(b / "features.npz")["test_x"])
    assert (a / "encoder.safetensors").read_bytes() != (c / "encoder.safetensors").read_bytes()
    assert (
        json.loads((a / "result.json").read_text())["evaluations"]
        == (json.loads((b / "result.json").read_text())["evaluations"])
    )


def result_of(outcome):
    return json.loads(outcome.output[outcome.output.index("{") :])


@pytest.mark.slow
def test_another_evaluator_takes_the_encoder_of_the_run_beside_it(call):
    first = result_of(call("--json"))
    second = result_of(call("--json", "--evaluator", "linear"))
    fresh = result_of(call("--json", "--evaluator", "linear", "--output", "elsewhere"))
    assert second["pretrain"]["reused"] == f"phantom-dcl-{first['recipe']['hash']}"
    assert fresh["pretrain"]["reused"] is None
    assert second["evaluations"] == fresh["evaluations"]
    assert second["pretrain"]["seconds"] == first["pretrain"]["seconds"]


@pytest.mark.slow
@pytest.mark.parametrize("change", [["--seed", "1"], ["--learning-rate", "0.01"], ["--force"]])
def test_another_pre_training_takes_no_encoder_from_elsewhere(call, change):
    call("--json", "--evaluator", "linear")
    assert result_of(call("--json", *change))["pretrain"]["reused"] is None


def test_json_prints_the_result_and_nothing_else(finished, call):
    os.chdir(finished[0].parents[1])
    outcome = call("--json")
    assert json.loads(outcome.stdout)["method"] == "dcl"


@pytest.mark.slow
def test_a_recipe_file_repeats_a_run(call):
    call("--output", "a", "--set", "views.blur=0.3", "--set", "method.temperature=0.3")
    outcome = CliRunner().invoke(main, ["run", "--recipe", str(only_run("a") / "recipe.yaml"), "--output", "b"])
    assert outcome.exit_code == 0, outcome.output
    assert only_run("a").name == only_run("b").name
    assert (only_run("a") / "encoder.safetensors").read_bytes() == (only_run("b") / "encoder.safetensors").read_bytes()


def test_a_directory_of_another_recipe_is_left_alone(call):
    call("--method", "random")
    recipe = only_run() / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("bootstrap: 100", "bootstrap: 101"))
    outcome = call("--method", "random")
    assert outcome.exit_code == 1
    assert "contains a run of another recipe" in outcome.output
    assert call("--method", "random", "--force").exit_code == 0


def test_the_untrained_encoder_is_evaluated_without_training(call):
    outcome = call("--method", "random")
    assert outcome.exit_code == 0, outcome.output
    result = json.loads((only_run() / "result.json").read_text())
    assert result["pretrain"]["epochs"] == 0
    assert result["pretrain"]["images_per_second"] is None


def test_a_batch_larger_than_the_training_part_is_refused(call):
    outcome = call("--batch-size", "5000")
    assert outcome.exit_code == 1
    assert "a batch of 5000 is larger than the training part" in outcome.output


def start(folder, cache, *words):
    """Start a longer run in a process of its own, one that hears Ctrl-C even where this one was told not to."""
    environment = {**os.environ, "MEDSSL_CACHE": str(cache), "NO_COLOR": "1"}
    command = [sys.executable, "-c", LISTENING, "run", *QUICK, *SMALL, *LONG, *words]
    with (folder / "said.txt").open("wb") as said:
        return subprocess.Popen(command, cwd=folder, env=environment, stdout=said, stderr=said)


def has_epochs(folder, number):
    """Tell whether the run in the folder has finished so many epochs, and can go on from them."""
    found = list(folder.glob("runs/*/history.jsonl"))
    return found and len(history(found[0].parent)) >= number and (found[0].parent / "state.pt").exists()


@pytest.mark.slow
@pytest.mark.parametrize("kill", [signal.SIGKILL, signal.SIGINT])
def test_a_run_stopped_in_the_middle_and_run_again_equals_a_straight_one(cache, tmp_path, kill, wait_for):
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    straight.mkdir()
    broken.mkdir()
    assert start(straight, cache).wait() == 0
    process = start(broken, cache)
    wait_for(lambda: has_epochs(broken, 4))
    process.send_signal(kill)
    code, said = process.wait(), (broken / "said.txt").read_text()
    assert not list(broken.glob("runs/*/result.json"))
    if kill == signal.SIGINT:
        assert code == 130
        assert "Run the same command" in said
        assert "Traceback" not in said
    assert start(broken, cache).wait() == 0
    (a,), (b,) = straight.glob("runs/*"), broken.glob("runs/*")
    assert (a / "encoder.safetensors").read_bytes() == (b / "encoder.safetensors").read_bytes()
    losses = [[json.loads(line)["loss"] for line in history(run)] for run in (a, b)]
    assert losses[0] == losses[1]
    assert len(losses[0]) == 10
    results = [json.loads((run / "result.json").read_text())["evaluations"] for run in (a, b)]
    assert results[0] == results[1]
