"""Weights files: what is read, what is dropped, what is refused and how it is said."""

from __future__ import annotations

import hashlib

import pytest
import timm
import torch
from safetensors.torch import save_file

from medssl.errors import CheckpointError
from medssl.results.privacy import hidden_path
from medssl.train.encoder.building import build_encoder
from medssl.train.encoder.checkpoint import read_encoder, save_encoder
from medssl_encoders._weights import read_weights
from medssl_encoders.timm import Timm


def build(path, backbone="resnet10t", size=64, **settings):
    return build_encoder(Timm.of(backbone=backbone, weights=path, **settings), size, seed=0)


@pytest.fixture(scope="module")
def classifier():
    """A network as timm publishes it, with 1000 classes and weights that no seed of ours gives."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        return timm.create_model("resnet10t")


def test_both_formats_load_and_the_classifier_is_dropped(classifier, tmp_path):
    save_file(classifier.state_dict(), tmp_path / "w.safetensors")
    torch.save(classifier.state_dict(), tmp_path / "w.pth")
    x = torch.randn(2, 3, 64, 64)
    expected = classifier.eval().forward_head(classifier.forward_features(x), pre_logits=True)
    for name in ("w.safetensors", "w.pth"):
        encoder = build(tmp_path / name).eval()
        assert torch.equal(encoder(x), expected)
        assert not any(key.startswith("fc.") for key in encoder.network.state_dict())


@pytest.mark.parametrize("key", ["state_dict", "model"])
def test_training_scripts_wrappings_are_undone(classifier, tmp_path, key):
    wrapped = {f"module.{name}": value for name, value in classifier.state_dict().items()}
    torch.save({key: wrapped, "epoch": 3}, tmp_path / "w.pth")
    assert torch.equal(build(tmp_path / "w.pth").network.bn1.weight, classifier.bn1.weight)


def test_auto_stem_follows_the_file(tmp_path):
    for stem in ("small", "standard"):
        network = build_encoder(Timm.of(backbone="resnet18", stem=stem), 64, seed=3).network
        save_file(network.state_dict(), tmp_path / f"{stem}.safetensors")
        encoder = build(tmp_path / f"{stem}.safetensors", "resnet18", 28)
        assert encoder.rebuild["stem"] == stem
        assert torch.equal(encoder.network.conv1.weight, network.conv1.weight)


def test_stem_that_the_file_does_not_have_is_an_error_with_both_shapes(tmp_path):
    network = build_encoder(Timm.of(backbone="resnet18"), 64, seed=3).network
    save_file(network.state_dict(), tmp_path / "w.safetensors")
    expected = r"conv1.weight has the shape \(64, 3, 7, 7\), expected \(64, 3, 3, 3\).*the stem"
    with pytest.raises(CheckpointError, match=expected):
        build(tmp_path / "w.safetensors", "resnet18", 28, stem="small")


def test_missing_and_unknown_names_are_counted_and_some_are_named(classifier, tmp_path):
    weights = {f"other.{name}": value for name, value in classifier.state_dict().items()}
    torch.save(weights, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match=r"missing: conv1\.0\.weight, .* and \d+ more; unexpected: other\.conv1"):
        build(tmp_path / "w.pth")


def test_position_embeddings_are_resized_to_the_image(tmp_path):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        published = timm.create_model("test_vit")  # 160 px: 10 x 10 patches
    torch.save(published.state_dict(), tmp_path / "w.pth")
    network = build(tmp_path / "w.pth", "test_vit", 64).network
    assert network.pos_embed.shape[1] < published.pos_embed.shape[1]
    assert torch.equal(network.cls_token, published.cls_token)


def test_file_with_code_is_refused_and_the_code_does_not_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    torch.save({"weight": Trap()}, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match="could run code"):
        read_weights(tmp_path / "w.pth")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("absent.pth", None, "the weights file .* does not exist"),
        ("absent.safetensors", None, "the weights file .* does not exist"),
        ("text.pth", b"version https://git-lfs", "weights"),
        ("text.safetensors", b"version https://git-lfs", "cannot be read"),
        ("empty.pth", b"", "cannot be read"),
    ],
)
def test_broken_files_are_named(tmp_path, name, content, words):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CheckpointError, match=words) as caught:
        read_weights(path)
    assert str(path) in str(caught.value)


def test_whole_checkpoint_of_other_things_is_refused(tmp_path):
    torch.save({"epoch": 3, "loss": 0.5}, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match="contains no state dict"):
        read_weights(tmp_path / "w.pth")


def test_origin_of_the_weights_goes_with_the_encoder(classifier, tmp_path):
    path = tmp_path / "w.safetensors"
    save_file(classifier.state_dict(), path)
    encoder = build(path)
    assert encoder.origin == {"source": hidden_path(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    save_encoder(tmp_path / "encoder.safetensors", encoder, {"recipe": "abc"})
    again, header = read_encoder(tmp_path / "encoder.safetensors")
    assert again.origin == encoder.origin
    assert header["init_source"] == hidden_path(path)
    assert build(None).origin == {}
