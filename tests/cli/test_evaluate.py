"""An encoder from a file, evaluated like one that was just trained."""

from __future__ import annotations

import json

import pytest
import timm
import torch
from click.testing import CliRunner

from medssl.cli import main
from medssl.io.identities import private_id

TINY = ["--set", "dataset.images_per_patient=3", "--evaluator", "knn", "--set", "evaluate.bootstrap=0", "--json"]
RUN = ["--epochs", "1", "--batch-size", "16", "--image-size", "24", "--backbone", "resnet10t"]


@pytest.fixture
def call(tmp_path, tmp_path_factory, monkeypatch):
    monkeypatch.setenv("MEDSSL_CACHE", str(tmp_path_factory.getbasetemp() / "evaluate-cache"))
    monkeypatch.delenv("MEDSSL_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(main, words)


def result(outcome):
    assert outcome.exit_code == 0, outcome.output
    return json.loads(outcome.output[outcome.output.index("{") :])


@pytest.mark.slow
def test_a_runs_encoder_has_the_runs_result_and_split(call, tmp_path):
    extra = ["--set", "split.seed=3", "--set", "views.normalisation=half"]
    trained = result(call("run", "--method", "simclr", "--dataset", "phantom", *RUN, *TINY, *extra))
    (directory,) = (tmp_path / "runs").iterdir()
    for encoder in (directory, directory / "encoder.safetensors"):
        again = result(call("evaluate", str(encoder), "--dataset", "phantom", *TINY))
        assert again["method"] == "none"
        assert again["evaluations"] == trained["evaluations"]
        assert again["data"]["split_sha256"] == trained["data"]["split_sha256"]


def test_plain_timm_weights_need_a_backbone(call, tmp_path):
    network = timm.create_model("resnet10t", num_classes=5)
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    words = ["evaluate", "weights.pth", "--dataset", "phantom", "--image-size", "24", *TINY]
    refused = call(*words)
    assert refused.exit_code == 1
    assert "--backbone" in refused.output
    found = result(call(*words, "--backbone", "resnet10t", "--set", "encoder.stem=standard"))
    assert found["recipe"]["encoder"]["weights"] == private_id("file", "weights.pth")
    assert found["pretrain"]["epochs"] == 0


def test_a_missing_encoder_is_named(call):
    outcome = call("evaluate", "nowhere", "--dataset", "phantom")
    assert outcome.exit_code == 1
    assert "there is no encoder at nowhere" in outcome.output


def test_the_method_behind_it_refuses_random_weights(call, tmp_path):
    outcome = call("run", "--method", "none", "--dataset", "phantom")
    assert outcome.exit_code == 1
    assert "needs an encoder with weights" in outcome.output
    assert not (tmp_path / "runs").exists()
