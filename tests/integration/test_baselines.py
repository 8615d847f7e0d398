"""ImageNet's weights as a baseline and as a start; supervised training; what the result says of both."""

from __future__ import annotations

import hashlib
import importlib.resources
import json
import re
from pathlib import Path

import huggingface_hub.constants
import jsonschema
import pytest
import timm
import torch
from click.testing import CliRunner
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from medssl import discovery
from medssl.cli import main
from medssl.results.privacy import hidden_path

QUICK = [
    *("--dataset", "phantom", "--set", "dataset.images_per_patient=2", "--set", "dataset.size=24"),
    *("--image-size", "24", "--backbone", "test_resnet", "--epochs", "1", "--batch-size", "8"),
    *("--set", "evaluate.bootstrap=20", "--evaluator", "knn", "--set", "train.learning_rate=1e-12"),
    *("--set", "train.weight_decay=0"),
]
OURS = {p.name: discovery.load(p) for p in discovery.discover("method") if p.distribution == "medssl"}
#: Without those that would download a teacher.
TRAINED = [
    name for name, method in OURS.items() if method.trains and not method.transformer_only and not method.encoders
]


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """Weights as timm publishes them: of the standard stem, with a classifier, and of no seed of ours."""
    path = tmp_path_factory.mktemp("weights") / "published.safetensors"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        save_file(timm.create_model("test_resnet").state_dict(), path)
    return path


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def call(cache, tmp_path, monkeypatch):
    monkeypatch.setenv("MEDSSL_CACHE", str(cache))
    monkeypatch.delenv("MEDSSL_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(main, ["run", *QUICK, *words])


def finished(outcome):
    """The result, as its schema wants it, and the run's directory."""
    assert outcome.exit_code == 0, outcome.output
    (directory,) = Path("runs").iterdir()
    result = json.loads((directory / "result.json").read_text())
    schema = json.loads((importlib.resources.files("medssl.results") / "result.schema.json").read_text())
    jsonschema.validate(result, schema)
    return result, directory


def test_imagenet_takes_a_local_file_and_the_result_names_it(call, file):
    result, directory = finished(call("--method", "imagenet", "--init", str(file)))
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    assert result["pretrain"]["init"] == {"source": hidden_path(file), "sha256": sha256}
    assert result["pretrain"]["epochs"] == 0
    assert result["pretrain"]["uses_labels"] is False
    kept = load_file(directory / "encoder.safetensors")
    assert all(torch.equal(value, kept[name]) for name, value in load_file(file).items() if not name.startswith("fc."))
    with safe_open(directory / "encoder.safetensors", "pt") as opened:
        assert opened.metadata()["init_sha256"] == sha256


@pytest.mark.slow
def test_other_weights_under_the_same_name_give_neither_the_old_result_nor_the_old_encoder(call, file, tmp_path):
    copy = tmp_path / "mine.safetensors"
    copy.write_bytes(file.read_bytes())
    words = ("--method", "imagenet", "--init", str(copy))
    first, directory = finished(call(*words))
    assert call(*words).exit_code == 0
    save_file({name: value * 1.5 for name, value in load_file(file).items()}, copy)
    outcome = call(*words)
    assert outcome.exit_code == 1
    assert "has a result of this recipe for other weights" in outcome.output
    assert call(*words, "--set", "evaluate.bootstrap=21").exit_code == 0  # another recipe with the same pre-training
    (other,) = (path for path in Path("runs").iterdir() if path.name != directory.name)
    second = json.loads((other / "result.json").read_text())
    assert second["pretrain"]["reused"] is None
    assert second["pretrain"]["init"]["sha256"] != first["pretrain"]["init"]["sha256"]
    assert call(*words, "--force").exit_code == 0


def test_imagenet_without_network_says_which_weights_and_what_to_do(call, tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    outcome = call("--method", "imagenet")
    assert outcome.exit_code == 1
    assert "Traceback" not in outcome.output
    said = re.sub(r"\s+", " ", outcome.output)
    assert "could not download the weights test_resnet.r160_in1k" in said
    assert "timm/test_resnet.r160_in1k on the Hugging Face Hub" in said
    assert "--init FILE" in said


def test_the_word_pretrained_means_the_hub_and_not_a_file(call, tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    outcome = call("--method", "supervised", "--init", "pretrained")
    assert outcome.exit_code == 1
    assert "on the Hugging Face Hub" in outcome.output


def test_supervised_training_says_that_it_used_labels(call):
    result, _ = finished(call("--method", "supervised"))
    assert result["pretrain"]["uses_labels"] is True
    assert result["pretrain"]["init"] is None
    assert result["diagnostics"]["features"]["collapsed"] is None


@pytest.mark.parametrize("method", [pytest.param(m, marks=[pytest.mark.slow] * (m != "simclr")) for m in TRAINED])
def test_every_method_starts_from_given_weights(call, file, method):
    """At a learning rate of next to nothing the encoder comes out as it went in, but for BatchNorm's statistics.

    Methods for transformers alone are left out: the weights are a ResNet's.
    """
    result, directory = finished(call("--method", method, "--init", str(file)))
    assert result["pretrain"]["init"]["source"] == hidden_path(file)
    assert result["recipe"]["encoder"]["weights"] == hidden_path(file)
    kept = load_file(directory / "encoder.safetensors")
    for name, value in load_file(file).items():
        if name in kept and "running" not in name and "num_batches" not in name:
            torch.testing.assert_close(kept[name], value, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_the_encoder_of_an_earlier_run_is_a_start(call):
    assert call("--method", "random", "--seed", "5", "--output", "a").exit_code == 0
    (weights,) = Path("a").glob("*/encoder.safetensors")
    result, directory = finished(call("--method", "random", "--init", str(weights)))
    assert result["pretrain"]["init"]["source"] == hidden_path(weights)
    one, other = load_file(weights), load_file(directory / "encoder.safetensors")
    assert all(torch.equal(value, other[name]) for name, value in one.items())
