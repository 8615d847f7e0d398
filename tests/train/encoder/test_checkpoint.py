"""Files are whole or not there; encoders come back as they went."""

from __future__ import annotations

import json

import pytest
import timm
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from medssl.errors import CheckpointError
from medssl.train.encoder.building import build_encoder
from medssl.train.encoder.checkpoint import (
    load_state,
    read_encoder,
    save_encoder,
    save_state,
)
from medssl_encoders.timm import Timm


def test_state_comes_back(tmp_path):
    state = {"a": torch.arange(3.0), "b": [{"loss": 0.5, "epoch": 1}], "c": "text"}
    save_state(tmp_path / "s.pt", state)
    back = load_state(tmp_path / "s.pt")
    assert torch.equal(back.pop("a"), state.pop("a"))
    assert back == state


@pytest.mark.parametrize("keep", [0, 10, 400])
def test_damaged_state_says_what_to_do(tmp_path, keep):
    path = tmp_path / "s.pt"
    save_state(path, {"a": torch.arange(1000.0)})
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match=r"training state .*s.pt cannot be read.*--force"):
        load_state(path)


def test_absent_state_is_not_called_damaged(tmp_path):
    with pytest.raises(CheckpointError, match=r"the training state .* does not exist"):
        load_state(tmp_path / "s.pt")


def test_state_that_is_no_state_is_refused(tmp_path):
    torch.save([1, 2], tmp_path / "s.pt")
    with pytest.raises(CheckpointError, match="contains a list"):
        load_state(tmp_path / "s.pt")


@pytest.fixture
def encoder():
    return build_encoder(Timm.of(backbone="test_resnet", stem="small"), 32, seed=1)


@pytest.fixture
def file(encoder, tmp_path):
    path = tmp_path / "encoder.safetensors"
    save_encoder(path, encoder, {"normalisation": "half", "recipe": "abc"})
    return path


def test_encoder_comes_back_with_its_header(encoder, file):
    back, header = read_encoder(file)
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(back(x), encoder.eval()(x))
    assert not back.training
    assert (back.rebuild["stem"], back.backbone_name, back.feature_dim) == ("small", "test_resnet", 96)
    assert header == {
        "backbone": "test_resnet",
        "feature_dim": "96",
        "image_size": "32",
        "normalisation": "half",
        "recipe": "abc",
        "stem": "small",
    }


def test_file_is_plain_safetensors_with_timms_names(tmp_path):
    encoder = build_encoder(Timm.of(backbone="test_vit"), 32, seed=1)
    save_encoder(tmp_path / "e.safetensors", encoder, {})
    network = timm.create_model("test_vit", num_classes=0, img_size=32)
    network.load_state_dict(load_file(tmp_path / "e.safetensors"))
    with safe_open(tmp_path / "e.safetensors", "pt") as content:
        assert content.metadata()["backbone"] == "test_vit"


def test_equal_encoders_make_equal_files_in_either_layout(encoder, file, tmp_path):
    encoder.to(memory_format=torch.channels_last)
    save_encoder(tmp_path / "again.safetensors", encoder, {"recipe": "abc", "normalisation": "half"})
    assert (tmp_path / "again.safetensors").read_bytes() == file.read_bytes()


def test_header_is_sorted_whatever_order_the_library_writes(file):
    content = file.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    assert list(header["__metadata__"]) == sorted(header["__metadata__"])
    assert int.from_bytes(content[:8], "little") % 8 == 0


def test_encoder_file_serves_as_weights_of_another_run(encoder, file):
    again = build_encoder(Timm.of(backbone="test_resnet", weights=file), 64, seed=5)
    assert again.rebuild["stem"] == "small"
    assert torch.equal(again.network.conv1.weight, encoder.network.conv1.weight)


def test_damaged_encoder_says_what_to_do(file):
    file.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(CheckpointError, match=r"the encoder .* cannot be read"):
        read_encoder(file)


def test_absent_encoder_is_said(tmp_path):
    with pytest.raises(CheckpointError, match=r"the encoder .* does not exist"):
        read_encoder(tmp_path / "e.safetensors")


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}])
def test_foreign_safetensors_are_not_taken_for_ours(tmp_path, metadata):
    save_file({"a": torch.zeros(1)}, tmp_path / "e.safetensors", metadata=metadata)
    with pytest.raises(CheckpointError, match=r"not written by medssl.*encoder\.weights"):
        read_encoder(tmp_path / "e.safetensors")


def test_encoder_of_a_backbone_that_timm_lost_is_an_error_to_act_on(encoder, file):
    encoder.backbone_name = "resnet_of_tomorrow"
    save_encoder(file, encoder, {})
    with pytest.raises(CheckpointError, match="no model named 'resnet_of_tomorrow'"):
        read_encoder(file)
