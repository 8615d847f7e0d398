"""timm's own weights: from a hub that a test serves, from its cache, and what is said where there is none."""

from __future__ import annotations

import hashlib
import re
import time

import huggingface_hub.constants
import pytest
import timm
import torch
from safetensors.torch import save

from medssl.errors import CheckpointError, OptionError
from medssl.train.encoder.building import build_encoder
from medssl_encoders._hub import fetch_timm
from medssl_encoders.timm import Timm

BACKBONE = "test_resnet"
NAME = "test_resnet.r160_in1k"


@pytest.fixture(scope="module")
def published():
    """A network as timm publishes it, with a classifier and weights that no seed of ours gives; and its file."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        network = timm.create_model(BACKBONE)
    return network, save(network.state_dict())


@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
def test_weights_come_from_the_hub_once_and_from_the_cache_then(hub, published, tmp_path, file):
    network, content = published
    if file.endswith(".bin"):
        torch.save(network.state_dict(), tmp_path / file)
        content = (tmp_path / file).read_bytes()
    hub.files[f"/timm/{NAME}/resolve/main/{file}"] = content
    encoder = build_encoder(Timm.of(backbone=BACKBONE, weights="pretrained"), 64, seed=0)
    for name, value in encoder.network.state_dict().items():
        assert torch.equal(value, network.state_dict()[name]), name
    assert not any(name.startswith("fc.") for name in encoder.network.state_dict())
    assert encoder.origin == {
        "source": f"{NAME}, timm/{NAME} on the Hugging Face hub",
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    assert ("GET", f"/timm/{NAME}/resolve/main/{file}") in [words[:2] for words in hub.asked]
    hub.asked.clear()
    path, _ = fetch_timm(BACKBONE)
    assert path.read_bytes() == content
    assert hub.asked == []


def test_tag_of_the_backbone_names_its_weights(hub, published):
    hub.files["/timm/resnet18.tv_in1k/resolve/main/model.safetensors"] = published[1]
    path, what = fetch_timm("resnet18.tv_in1k")
    assert path.read_bytes() == published[1]
    assert what.startswith("resnet18.tv_in1k,")


def test_hub_that_cannot_be_reached_is_said_at_once_with_the_way_out(point_to, tmp_path, monkeypatch, recwarn):
    point_to("http://127.0.0.1:9", tmp_path, monkeypatch)  # the port that discards: nobody listens
    start = time.monotonic()
    with pytest.raises(CheckpointError) as caught:
        fetch_timm("resnet18")
    assert time.monotonic() - start < 5
    text = str(caught.value)
    assert text.startswith("could not download the weights resnet18.a1_in1k from timm/resnet18.a1_in1k on the ")
    assert "resnet18_a1_0-d63eafa0.pth" in text
    assert "http://127.0.0.1:9 does not answer" in text
    assert text.endswith("Without a network, download model.safetensors elsewhere and give it with --init FILE.")
    assert len(re.findall(r"\. [A-Zh]", text)) == 3  # four sentences; one begins with an address


def test_hub_without_the_file_is_said(hub):
    with pytest.raises(CheckpointError, match=r"contains none of model\.safetensors, pytorch_model\.bin"):
        fetch_timm("resnet18")


def test_offline_mode_is_said(point_to, tmp_path, monkeypatch):
    point_to("http://127.0.0.1:9", tmp_path, monkeypatch)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(CheckpointError, match=r"could not download.*(HF_HUB_OFFLINE|offline|cache)"):
        fetch_timm("resnet18")


def test_failure_of_the_hub_in_the_middle_of_it_is_no_traceback(hub, monkeypatch):
    def fail(*args, local_files_only=False, **given):
        from huggingface_hub.errors import LocalEntryNotFoundError

        if local_files_only:
            raise LocalEntryNotFoundError("not here")
        raise RuntimeError("the connection broke\nand more")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", fail)
    with pytest.raises(CheckpointError, match=r"on the Hugging Face Hub\. the connection broke\..* Without a network"):
        fetch_timm("resnet18")


def test_backbone_without_weights_is_an_option_to_change():
    with pytest.raises(OptionError, match=r"the backbone 'resnet\w+' has no weights.*Choose another --backbone"):
        fetch_timm(next(n for n in timm.list_models("resnet*") if not (timm.get_pretrained_cfg(n).hf_hub_id)))


def test_unknown_backbone_is_said_before_weights_are_sought(point_to, tmp_path, monkeypatch):
    point_to("http://127.0.0.1:9", tmp_path, monkeypatch)
    with pytest.raises(OptionError, match="timm has no model named 'resnet81'"):
        build_encoder(Timm.of(backbone="resnet81", weights="pretrained"), 64, seed=0)
