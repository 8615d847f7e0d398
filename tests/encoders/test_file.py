"""Weights files of other programs: recognised, freed of their prefixes and heads, or refused with the reason."""

from __future__ import annotations

import logging

import pytest
import timm
import torch
from safetensors.torch import save_file

from medssl.catalog import load_catalog
from medssl.contracts.kinds import ENCODER
from medssl.errors import CheckpointError, OptionError, PluginError
from medssl.recipe import resolve
from medssl.recipe.naming import require_known
from medssl.train.encoder.building import build_encoder
from medssl.train.encoder.checkpoint import save_encoder
from medssl_encoders.file import File
from medssl_encoders.timm import Timm


@pytest.fixture(scope="module")
def resnet():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        return timm.create_model("resnet18")


@pytest.fixture(scope="module")
def vit():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        return timm.create_model("vit_tiny_patch16_224")


def prefixed(state, prefix, *, without=("fc.", "head.")):
    return {f"{prefix}{name}": value for name, value in state.items() if not name.startswith(without)}


NUMBERS = {"conv1": "0", "bn1": "1", "layer1": "4", "layer2": "5", "layer3": "6", "layer4": "7"}


def moco(state):
    head = {"module.encoder_q.fc.0.weight": torch.zeros(2, 512), "module.queue": torch.zeros(4, 4)}
    momentum = {name: value * 0 for name, value in prefixed(state, "module.encoder_k.").items()}
    return {"epoch": 3, "state_dict": {**prefixed(state, "module.encoder_q."), **momentum, **head}}


def mocov3(state):
    return {"state_dict": {**prefixed(state, "module.base_encoder."), "module.predictor.0.weight": torch.zeros(2, 2)}}


def dino(state):
    student = {**prefixed(state, "module.backbone."), "module.head.last_layer.weight_g": torch.zeros(2, 1)}
    return {"student": {name: value * 0 for name, value in student.items()}, "teacher": student, "epoch": 3}


def swav(state):
    heads = {"module.projection_head.0.weight": torch.zeros(2, 512), "module.prototypes.weight": torch.zeros(2, 2)}
    return {**prefixed(state, "module."), **heads}


def solo_learn(state):
    heads = {"projector.0.weight": torch.zeros(2, 512), "classifier.weight": torch.zeros(2, 512)}
    return {"state_dict": {**prefixed(state, "backbone."), **heads}}


def lightly(state):
    """Its examples keep the layers of torchvision's ResNet by number."""
    plain = prefixed(state, "")
    return {f"backbone.{NUMBERS[name.partition('.')[0]]}.{name.partition('.')[2]}": v for name, v in plain.items()}


def torchvision(state):
    return dict(state)


@pytest.mark.parametrize("program", [moco, mocov3, dino, swav, solo_learn, lightly, torchvision])
def test_resnet_of_another_program_is_recognised_and_loaded(program, resnet, tmp_path, caplog):
    torch.save(program(resnet.state_dict()), tmp_path / "w.pth")
    with caplog.at_level(logging.WARNING, logger="medssl"):
        encoder = build_encoder(File.of(weights=tmp_path / "w.pth"), 64, seed=0)
    assert encoder.backbone_name == "resnet18"
    for name, value in encoder.network.state_dict().items():
        assert torch.equal(value, resnet.state_dict()[name]), name
    said = "left out" in caplog.text
    assert said == (program is not torchvision)


@pytest.mark.parametrize(("program", "words"), [(moco, "the prefix 'encoder_q.'"), (swav, "prototypes")])
def test_what_is_removed_is_said(program, words, resnet, tmp_path, caplog):
    torch.save(program(resnet.state_dict()), tmp_path / "w.pth")
    with caplog.at_level(logging.WARNING, logger="medssl"):
        build_encoder(File.of(weights=tmp_path / "w.pth"), 64, seed=0)
    assert words in caplog.text


@pytest.mark.parametrize("program", [mocov3, dino])
def test_transformer_of_another_program_is_recognised(program, vit, tmp_path):
    torch.save(program(vit.state_dict()), tmp_path / "w.pth")
    encoder = build_encoder(File.of(weights=tmp_path / "w.pth"), 224, seed=0)
    assert encoder.backbone_name == "vit_tiny_patch16_224"
    assert torch.equal(encoder.network.patch_embed.proj.weight, vit.patch_embed.proj.weight)


def test_unknown_tensors_ask_for_the_name_of_the_network(tmp_path):
    save_file(timm.create_model("test_convnext").state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(OptionError, match=r"none of the usual networks.*encoder\.backbone=NAME"):
        build_encoder(File.of(weights=tmp_path / "w.safetensors"), 64, seed=0)
    named = File.of(weights=tmp_path / "w.safetensors", backbone="test_convnext")
    assert build_encoder(named, 64, seed=0).backbone_name == "test_convnext"


def test_weights_of_another_network_name_the_tensors(resnet, tmp_path):
    save_file(resnet.state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(CheckpointError, match=r"do not fit the backbone\. missing: layer1\.0\.conv3\.weight"):
        build_encoder(File.of(weights=tmp_path / "w.safetensors", backbone="resnet50"), 64, seed=0)


def test_header_of_the_file_gives_network_and_statistics(tmp_path):
    header = {"timm_model": "test_resnet", "mean": "0.1,0.2,0.3", "std": "0.5,0.5,0.5", "input_size": "3,96,96"}
    state = timm.create_model("test_resnet").state_dict()
    save_file(state, tmp_path / "w.safetensors", metadata={**header, "licence": "CC-BY-NC-4.0"})
    card = File.of(weights=tmp_path / "w.safetensors").card
    assert (card.preprocessing.mean, card.image_size) == ((0.1, 0.2, 0.3), 96)
    assert (card.licence, card.forbids) == ("CC-BY-NC-4.0", ("commercial use",))


def test_encoder_of_a_run_brings_network_stem_and_size(tmp_path):
    encoder = build_encoder(Timm.of(backbone="test_resnet", stem="small"), 32, seed=1)
    save_encoder(tmp_path / "encoder.safetensors", encoder, {"normalisation": "half"})
    recipe = resolve(load_catalog(), [{"method": "none", "dataset": "phantom", "encoder": str(tmp_path)}])
    assert (recipe.views.image_size, recipe.card.preprocessing.mean) == (32, (0.5, 0.5, 0.5))
    again = build_encoder(recipe.open_encoder(), 32, seed=0)
    assert torch.equal(again.network.conv1.weight, encoder.network.conv1.weight)


def test_file_that_does_not_exist_is_said(tmp_path):
    with pytest.raises(CheckpointError, match="there is no encoder at"):
        resolve(load_catalog(), [{"method": "none", "dataset": "phantom", "encoder": str(tmp_path / "w.pth")}])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("uni2h", r"no encoder named 'uni2h'\. Did you mean 'uni2-h'\?.*medssl list encoders"),
        ("conch", r"'conch' cannot be used\. Its network is a class of its own package"),
    ],
)
def test_name_that_cannot_be_used_is_said(name, words):
    with pytest.raises(PluginError, match=words):
        require_known(ENCODER, name, load_catalog())


def test_word_of_another_program_is_not_taken_for_medssls_own_entry(tmp_path):
    header = {
        "timm_model": "test_resnet",
        "mean": "0.5,0.5,0.5",
        "std": "0.5,0.5,0.5",
        "normalisation": "(x - 127) / 128",
    }
    save_file(timm.create_model("test_resnet").state_dict(), tmp_path / "w.safetensors", metadata=header)
    assert File.of(weights=tmp_path / "w.safetensors").card.preprocessing.mean == (0.5, 0.5, 0.5)
