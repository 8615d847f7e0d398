"""``import medssl``: its names, and the Python form of each command."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

import medssl
from medssl.errors import CheckpointError, DataError, OptionError
from medssl.results.privacy import hidden_path

SMALL = {"plugin": "phantom", "images_per_patient": 3, "size": 24}
SETTINGS = {
    "train": {"epochs": 1, "batch_size": 16},
    "views": {"image_size": 24},
    "encoder": {"backbone": "resnet10t", "stem": "standard"},
    "evaluators": ["knn"],
    "evaluate": {"bootstrap": 20},
}
QUICK = {key: SETTINGS[key] for key in ("evaluators", "evaluate")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("api")
        patch.setenv("MEDSSL_CACHE", str(folder / "cache"))
        patch.delenv("MEDSSL_DATA", raising=False)
        yield folder


@pytest.fixture(scope="module")
def trained(folder):
    return medssl.run("simclr", SMALL, place=medssl.Place(output=str(folder / "runs")), **SETTINGS)


@pytest.fixture
def place(tmp_path):
    return medssl.Place(output=tmp_path)


def test_a_result_is_read_again_from_its_folder(trained):
    again = medssl.load_run(str(trained.path))
    assert again == trained
    assert again.scores["knn"]["accuracy"].low <= again.scores["knn"]["accuracy"].value
    assert trained.predictions().ids == tuple(trained.split().test)
    assert trained.features()["test"].x.shape == (trained.data.test, 512)
    assert [record.epoch for record in trained.history()] == [0]
    assert trained.history()[0].loss == trained.training.final_loss


def test_predictions_give_the_accuracy_of_the_result(trained):
    found = trained.predictions()
    right = found.by_evaluator["knn"].argmax(1) == found.y
    assert right.mean() == pytest.approx(trained.scores["knn"]["accuracy"].value)


def test_an_evaluation_of_a_run_repeats_its_numbers(trained, place):
    for encoder in (trained, trained.path, str(trained.path), medssl.load_encoder(trained)):
        result = medssl.evaluate(encoder, "phantom", place=place, **QUICK)
        assert result.method == "none"
        assert result.evaluations == trained.evaluations
        assert result.data.split_sha256 == trained.data.split_sha256
        assert result.data.encoder_seen.known
        assert result.data.encoder_seen.test.either == 0


def test_options_of_the_dataset_may_be_given_and_the_same_ones_keep_the_split(trained, place):
    same = medssl.evaluate(trained, SMALL, place=place, **QUICK)
    assert same.recipe["split"]["of"] == hidden_path(trained.path)
    assert same.data.split_sha256 == trained.data.split_sha256


def test_images_that_were_trained_on_are_refused_unless_allowed(trained, place):
    with pytest.raises(DataError, match="known to the encoder"):
        medssl.evaluate(trained, "phantom", place=place, split={"seed": 5}, **QUICK)
    allowed = {**QUICK["evaluate"], "allow_seen": True}
    result = medssl.evaluate(trained, "phantom", place=place, split={"seed": 5}, evaluators=["knn"], evaluate=allowed)
    assert result.data.encoder_seen.allowed
    assert result.warnings[0].startswith("leak: ")


def test_the_split_of_another_run_is_taken(trained, place, tmp_path):
    (tmp_path / "alone").mkdir()
    alone = tmp_path / "alone" / "encoder.safetensors"
    alone.write_bytes((trained.path / "encoder.safetensors").read_bytes())
    result = medssl.evaluate(alone, "phantom", place=place, split={"of": trained.path}, **QUICK)
    assert result.data.split_sha256 == trained.data.split_sha256


def test_an_encoder_that_was_changed_is_not_taken_for_its_file(trained, place):
    encoder = medssl.load_encoder(trained)
    with torch.no_grad():
        next(encoder.parameters()).add_(1)
    with pytest.raises(CheckpointError, match="was changed after it was loaded"):
        medssl.evaluate(encoder, "phantom", place=place, **QUICK)


def test_an_evaluation_takes_no_method_and_needs_an_encoder_and_its_network(trained, place, tmp_path):
    with pytest.raises(OptionError, match="trains nothing"):
        medssl.evaluate(trained, "phantom", place=place, method="dcl")
    with pytest.raises(CheckpointError, match="there is no encoder at nowhere"):
        medssl.evaluate("nowhere", "phantom", place=place)
    torch.save({}, tmp_path / "weights.pth")
    with pytest.raises(OptionError, match=r"which network.*encoder=\{"):
        medssl.evaluate(tmp_path / "weights.pth", "phantom", place=place)


def test_an_encoder_of_a_result_embeds(trained):
    x = medssl.embed(trained, np.zeros((2, 30, 30), np.uint8))
    assert x.shape == (2, 512)


@pytest.mark.slow
def test_a_study_has_rows_and_comparisons_with_the_names_of_a_result(folder):
    plan = {"methods": ["random", "simclr"], "datasets": [SMALL]}
    study = medssl.bench(place=medssl.Place(output=folder / "study"), settings=[SETTINGS], **plan)
    assert study.failed == []
    assert study.path == folder / "study"
    assert study.rows == study.summary.rows
    assert [row.method for row in study.rows] == ["random", "simclr"]
    for row, result in zip(study.rows, study.results, strict=True):
        ours, own = row.scores["knn"]["accuracy"], result.scores["knn"]["accuracy"]
        assert (ours.value, ours.low, ours.high) == (own.value, own.low, own.high)
    comparison = next(c for c in study.comparisons if c.metric == "accuracy")
    assert {comparison.first, comparison.second} == {"random", "simclr"}


def test_the_command_line_is_a_module_that_names_itself():
    done = called("--help")
    assert done.stdout.startswith("Usage: python -m medssl [OPTIONS] COMMAND")
    assert "`python -m medssl`" in done.stdout
    assert json.loads(called("list", "--json").stdout)


def called(*words):
    return subprocess.run([sys.executable, "-m", "medssl", *words], check=True, capture_output=True, text=True)
