"""Whole runs from given weights: in part, with adapters; repeated, resumed, and used afterwards."""

from __future__ import annotations

import json

import numpy as np
import pytest
import timm
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import medssl
from medssl.errors import DataError
from medssl.runs.listener import Listener
from medssl.runs.pipeline import Place

SETTINGS = {
    "train": {"epochs": 2, "batch_size": 16, "validate_every": 0, "optimizer": "adamw"},
    "views": {"image_size": 32},
    "evaluate": {"bootstrap": 20},
    "evaluators": ["knn"],
}
SMALL = {"plugin": "phantom", "images_per_patient": 2, "size": 32}


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MEDSSL_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "vit.safetensors"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        save_file(timm.create_model("test_vit", num_classes=0, img_size=32).state_dict(), path)
    return path


def start(folder, weights, method="dcl", listener=None, dataset=SMALL, **train):
    settings = {**SETTINGS, "train": {**SETTINGS["train"], **train}}
    encoder = {"plugin": "timm", "backbone": "test_vit", "weights": str(weights)}
    return medssl.run(method, dataset, place=Place(output=folder), listener=listener, encoder=encoder, **settings)


class _StopAfterOneEpoch(Listener):
    def epoch(self, record):
        raise KeyboardInterrupt


ADAPTED = [
    pytest.param({"last_blocks": 1, "layer_decay": 0.5}, id="last block"),
    pytest.param({"lora_rank": 2}, id="lora", marks=pytest.mark.slow),
]


@pytest.mark.slow
@pytest.mark.parametrize("train", ADAPTED)
def test_equal_seeds_give_equal_encoders_and_a_resumed_run_equals_a_straight_one(weights, tmp_path, train):
    if "lora_rank" in train:
        pytest.importorskip("peft")
    straight = start(tmp_path / "a", weights, **train)
    with pytest.raises(KeyboardInterrupt):
        start(tmp_path / "b", weights, listener=_StopAfterOneEpoch(), **train)
    resumed = start(tmp_path / "b", weights, **train)
    for name in ("encoder.safetensors", *(["adapter.safetensors"] if "lora_rank" in train else [])):
        assert (straight.path / name).read_bytes() == (resumed.path / name).read_bytes()
    assert straight.values["evaluations"] == resumed.values["evaluations"]
    assert straight.path.name == resumed.path.name != start_name(weights, tmp_path)


def start_name(weights, tmp_path):
    from medssl.catalog import load_catalog
    from medssl.recipe import resolve

    encoder = {"plugin": "timm", "backbone": "test_vit", "weights": str(weights)}
    return resolve(load_catalog(), [{"method": "dcl", "dataset": SMALL, "encoder": encoder, **SETTINGS}]).slug


def test_only_the_last_block_moves_from_the_given_weights_and_the_result_says_so(weights, tmp_path):
    result = start(tmp_path, weights, method="supervised", last_blocks=1)
    given, found = load_file(weights), load_file(result.path / "encoder.safetensors")
    changed = [name for name in given if not torch.equal(given[name], found[name])]
    moved = {name.split(".")[1] if name.startswith("blocks.") else name for name in changed}
    last = max(int(name.split(".")[1]) for name in given if name.startswith("blocks."))
    assert moved <= {str(last), "norm.weight", "norm.bias", "fc_norm.weight", "fc_norm.bias"}
    assert str(last) in moved
    adaptation = result.training.adaptation
    assert (adaptation.last_blocks, adaptation.lora) == (1, None)
    assert 0 < adaptation.trained_parameters < adaptation.parameters
    assert result.values["baseline"]["differences"]["knn"]["accuracy"]["low"] is not None


@pytest.fixture(scope="module")
def tuned(weights, tmp_path_factory):
    pytest.importorskip("peft")
    return start(tmp_path_factory.mktemp("tuned"), weights, lora_rank=2)


def test_adapters_are_kept_apart_with_the_checksum_of_the_frozen_weights(weights, tuned):
    from medssl.io.files import checksum

    alone = tuned.path / "adapter.safetensors"
    with safe_open(alone, "pt") as file:
        header = file.metadata()
        assert all(".lora_" in name for name in load_file(alone))
    assert json.loads(header["lora"])["base"] == checksum(weights) == tuned.training.adaptation.lora.base
    assert alone.stat().st_size < 0.5 * weights.stat().st_size
    assert str(weights) not in alone.read_bytes().decode("latin-1")


@pytest.mark.slow
def test_adapters_alone_are_evaluated_embedded_and_continued_beside_their_base(weights, tuned, tmp_path):
    for file in (weights, tuned.path / "adapter.safetensors"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    alone = tmp_path / "adapter.safetensors"
    image = np.random.default_rng(0).integers(0, 256, (2, 40, 40)).astype(np.uint8)
    whole = medssl.embed(tuned, image)
    np.testing.assert_array_equal(medssl.embed(alone, image), whole)
    np.testing.assert_array_equal(medssl.embed(medssl.load_encoder(alone, weights), image), whole)
    again = {"place": Place(output=tmp_path / "runs"), "evaluators": ["knn"], "evaluate": {"bootstrap": 20}}
    of_run = medssl.evaluate(tuned, SMALL, **again)
    of_file = medssl.evaluate(alone, SMALL, split={"of": str(tuned.path)}, **again)
    assert of_file.scores == of_run.scores
    with pytest.raises(DataError, match="known to the encoder"):
        medssl.evaluate(alone, SMALL, split={"seed": 9}, **again)
    continued = medssl.run("dcl", SMALL, encoder=str(alone), split={"of": str(tuned.path)}, **{**SETTINGS, **again})
    assert continued.training.init.adapter
    assert len(medssl.load_model(tuned).predict(image, allow_other=True)) == 2


@pytest.mark.slow
def test_an_encoder_that_was_trained_from_a_file_is_reused_for_other_evaluations(tmp_path):
    """The plugin `file` knows the network by the file alone, which the page of the second run must not need."""
    given = tmp_path / "given.safetensors"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        network = timm.create_model("test_resnet", num_classes=0)
    save_file(network.state_dict(), given, metadata={"timm_model": "test_resnet"})
    encoder = {"plugin": "file", "weights": str(given)}
    first, second = (
        medssl.run("dcl", SMALL, place=Place(output=tmp_path / "runs"), encoder=encoder, split=split, **SETTINGS)
        for split in ({"label_fraction": 0.5}, {})
    )
    assert first.values["pretrain"]["reused"] is None
    assert second.values["pretrain"]["reused"] is not None
    assert (second.path / "report.html").exists()
    one, other = (load_file(run.path / "encoder.safetensors") for run in (first, second))
    assert all(torch.equal(one[name], other[name]) for name in one)
