"""``medssl encoder convert``: it says what it runs, asks, and writes a file that loads without code."""

from __future__ import annotations

import argparse

import pytest
import timm
import torch
from click.testing import CliRunner

from medssl.cli import main
from medssl.errors import CheckpointError
from medssl.train.encoder.building import build_encoder
from medssl_encoders.file import File
from medssl_encoders.timm import Timm


@pytest.fixture
def pickle(tmp_path):
    """A checkpoint with the settings of its training, as MAE's code writes it: no plain weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        network = timm.create_model("test_vit")
    torch.save({"model": network.state_dict(), "args": argparse.Namespace(lr=1)}, tmp_path / "w.pth")
    return network, tmp_path / "w.pth"


def convert(*words, answer=""):
    return CliRunner().invoke(main, ["encoder", "convert", *map(str, words)], input=answer)


def test_pickle_is_refused_elsewhere_and_converted_when_the_user_agrees(pickle, tmp_path):
    network, path = pickle
    with pytest.raises(CheckpointError, match="medssl encoder convert"):
        build_encoder(Timm.of(backbone="test_vit", weights=path), 64, seed=0)
    target = tmp_path / "w.safetensors"
    done = convert(path, "--output", target, answer="y\n")
    assert done.exit_code == 0, done.output
    assert "reads " in done.output
    assert "pickle, which can run any program" in done.output
    assert f"{target}: {len(network.state_dict())} tensors" in done.output
    encoder = build_encoder(File.of(weights=target, backbone="test_vit"), 160, seed=0)
    assert torch.equal(encoder.network.pos_embed, network.pos_embed)


def test_without_consent_nothing_is_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    torch.save({"model": Trap()}, tmp_path / "w.pth")
    done = convert(tmp_path / "w.pth", "--output", tmp_path / "w.safetensors", answer="n\n")
    assert done.exit_code == 1
    assert "nothing was converted" in done.output
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "w.safetensors").exists()


def test_other_suffix_is_refused(pickle, tmp_path):
    done = convert(pickle[1], "--output", tmp_path / "w.bin", "--yes")
    assert "must end with .safetensors" in done.output


def test_broken_file_writes_nothing(tmp_path):
    (tmp_path / "w.pth").write_bytes(b"no pickle")
    done = convert(tmp_path / "w.pth", "--output", tmp_path / "w.safetensors", "--yes")
    assert "Nothing was written" in done.output
    assert not (tmp_path / "w.safetensors").exists()
