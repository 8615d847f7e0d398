"""`medssl run` of a split with folds, and in a directory that is in use."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from PIL import Image
from sklearn.metrics import f1_score

from medssl.catalog import load_catalog
from medssl.cli import main
from medssl.io.leases import holding
from medssl.io.locks import BusyError
from medssl.recipe import resolve
from medssl.runs.listener import Listener
from medssl.runs.pipeline import Place, execute

WORDS = ["run", "--method", "random", "--dataset", "phantom", "--image-size", "24", "--backbone", "resnet10t"]
WORDS += ["--evaluator", "knn", "--set", "encoder.stem=standard", "--set", "dataset.images_per_patient=2"]
WORDS += ["--set", "evaluate.bootstrap=50"]


@pytest.fixture
def call(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MEDSSL_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MEDSSL_DATA", raising=False)
    return lambda *words: CliRunner().invoke(main, [*WORDS, *words])


@pytest.mark.slow
def test_folds_are_run_one_after_the_other_and_pooled(call):
    folded = ["--split", "kfold", "--set", "split.folds=2"]
    outcome = call(*folded)
    assert outcome.exit_code == 0, outcome.output
    assert "fold 2 of 2" in outcome.stderr
    lines = outcome.stdout.splitlines()
    assert lines[0] == "random on phantom: predictions of 2 folds pooled, kfold split"
    runs = [Path(line) for line in lines[-2:]]
    parts = []
    for run in runs:
        with np.load(run / "predictions.npz") as file:
            parts.append(dict(file))
    label = np.concatenate([part["y"] for part in parts])
    predicted = np.concatenate([part["knn"].argmax(1) for part in parts])
    values = json.loads(call(*folded, "--json").stdout)
    pooled = values["summary"]["rows"][0]["scores"]["knn"]["f1_macro"]["value"]
    assert pooled == pytest.approx(f1_score(label, predicted, average="macro"))
    assert len(values["folds"]) == 2
    assert f"{pooled:.3f}".removeprefix("0") in next(line for line in lines if line.startswith("f1_macro"))


def test_a_directory_in_use_is_refused(call, tmp_path):
    assert call().exit_code == 0
    (run,) = (tmp_path / "runs").iterdir()
    with holding(run):
        outcome = call()
        recipe = yaml.safe_load((run / "recipe.yaml").read_text())
        with pytest.raises(BusyError, match="is in use"):  # from a notebook too
            execute(resolve(load_catalog(), [recipe]), catalog=load_catalog(), place=Place(), listener=Listener())
    assert outcome.exit_code == 1
    assert "is in use. Process " in outcome.output


def test_a_warning_before_an_error_is_printed_with_it(call, tmp_path):
    for name in ("benign",):
        for i in range(4):
            file = tmp_path / "up" / "inner" / name / f"{i}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.random.default_rng(i).integers(0, 256, (24, 24), np.uint8)).save(file)
    words = [
        "run",
        "--method",
        "random",
        "--dataset",
        "folder",
        "--data-dir",
        str(tmp_path / "up"),
        "--image-size",
        "24",
    ]
    outcome = CliRunner().invoke(main, [*words, "--backbone", "resnet10t", "--evaluator", "knn"])
    assert outcome.exit_code == 1
    warning, error = outcome.stderr.split("Error: ")
    assert "An evaluation needs two classes" in error
    assert warning.count("warning: ") == 1
    assert "the images lie in the folder inner" in warning
