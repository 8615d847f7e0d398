from __future__ import annotations

import csv

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from torchvision.transforms import v2

import medssl
from medssl.cli import main
from medssl.errors import CheckpointError, DataError
from medssl.settings import EncoderSettings
from medssl.train.encoder.backbones import build_encoder
from medssl.train.encoder.checkpoint import save_encoder

SIDE = 24


@pytest.fixture
def encoder_file(tmp_path):
    settings = EncoderSettings(backbone="resnet10t", stem="standard")
    path = tmp_path / "encoder.safetensors"
    encoder = build_encoder(settings, SIDE, 0)
    save_encoder(path, encoder, {"normalisation": "half", "recipe": "none"})
    return path


@pytest.fixture
def pictures(tmp_path):
    """Three files: colour, grey, and one that is not square."""
    generator = np.random.default_rng(0)
    shapes = {"a.png": (30, 30, 3), "b.png": (30, 30), "c.jpg": (40, 25, 3)}
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name, shape in shapes.items():
        Image.fromarray(generator.integers(0, 256, shape, dtype=np.uint8)).save(folder / name)
    return [folder / name for name in shapes]


def opened(path):
    with Image.open(path) as image:
        return image.copy()


def by_torchvision(path, encoder_file):
    steps = [v2.Resize(SIDE, antialias=True), v2.CenterCrop(SIDE), v2.PILToTensor(), v2.ToDtype(torch.float32, True)]
    image = v2.Compose(steps)(opened(path).convert("RGB"))
    encoder = medssl.load_encoder(encoder_file)
    with torch.no_grad():
        return encoder.network((image[None] - 0.5) / 0.5)[0].numpy()


def test_features_equal_torchvisions_resizing_and_the_network_alone(encoder_file, pictures):
    x = medssl.embed(encoder_file, pictures, precision="float32")
    assert x.dtype == np.float32
    for row, path in zip(x, pictures, strict=True):
        np.testing.assert_allclose(row, by_torchvision(path, encoder_file), atol=2e-2)


def test_files_pictures_and_arrays_give_equal_features(encoder_file, pictures):
    images = [opened(path) for path in pictures]
    expected = medssl.embed(encoder_file, pictures)
    np.testing.assert_array_equal(medssl.embed(encoder_file, images), expected)
    np.testing.assert_array_equal(medssl.embed(encoder_file, [np.asarray(image) for image in images]), expected)
    np.testing.assert_array_equal(medssl.embed(medssl.load_encoder(encoder_file), list(map(str, pictures))), expected)


def test_one_array_holds_many_images(encoder_file):
    images = np.random.default_rng(0).integers(0, 256, (3, 30, 28), dtype=np.uint8)
    many = medssl.embed(encoder_file, images)
    np.testing.assert_array_equal(many, medssl.embed(encoder_file, list(images[..., None])))


def test_no_image_gives_no_row(encoder_file):
    assert medssl.embed(encoder_file, []).shape == (0, 512)


def test_transform_gives_what_the_encoder_takes(encoder_file, pictures):
    encoder = medssl.load_encoder(encoder_file)
    image = encoder.transform(opened(pictures[1]))
    assert image.shape == (3, SIDE, SIDE)
    with torch.no_grad():
        row = encoder(image[None])[0].numpy()
    np.testing.assert_allclose(row, medssl.embed(encoder, pictures[1:2])[0], atol=2e-2)


def test_a_broken_image_is_named(encoder_file, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"bad\.png"):
        medssl.embed(encoder_file, [tmp_path / "bad.png"])


def test_a_file_of_another_program_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"the encoder .* does not exist"):
        medssl.load_encoder(tmp_path)


@pytest.mark.parametrize("suffix", [".npz", ".csv"])
def test_the_command_writes_paths_and_features(encoder_file, pictures, tmp_path, suffix):
    output = tmp_path / f"features{suffix}"
    outcome = CliRunner().invoke(main, ["embed", str(encoder_file), str(pictures[0].parent), "--output", str(output)])
    assert outcome.exit_code == 0, outcome.output
    expected = medssl.embed(encoder_file, pictures)
    if suffix == ".npz":
        with np.load(output) as file:
            paths, x = file["path"].tolist(), file["x"]
    else:
        header, *rows = csv.reader(output.read_text().splitlines())
        assert header[:2] == ["path", "feature_0"]
        paths, x = [row[0] for row in rows], np.array([row[1:] for row in rows], np.float32)
    assert paths == [str(path) for path in pictures]
    np.testing.assert_array_equal(x, expected)


@pytest.mark.parametrize(
    ("words", "message"),
    [(["nowhere"], "does not exist"), (["."], "contains no image"), ([".", "--output", "x.txt"], "an unknown suffix")],
)
def test_the_command_explains_bad_input(encoder_file, tmp_path, monkeypatch, words, message):
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    outcome = CliRunner().invoke(main, ["embed", str(encoder_file), *words])
    assert outcome.exit_code == 1
    assert message in outcome.output


@pytest.mark.parametrize("broken", [1, 3])
def test_unreadable_images_are_named_without_advice_that_cannot_be_followed(encoder_file, pictures, broken):
    for path in pictures[:broken]:
        path.write_bytes(b"nonsense")
    with pytest.raises(DataError, match=rf"{broken} of 3 images cannot be read") as caught:
        medssl.embed(encoder_file, pictures)
    assert str(pictures[0]) in str(caught.value)
    assert "--on-bad-image" not in str(caught.value)
    assert str(caught.value).endswith("Replace these files, or leave them out of the list of images.")


def test_an_error_without_advice_on_options_is_passed_on(encoder_file, monkeypatch):
    def full(*_, **__):
        raise DataError("there is no space left")

    monkeypatch.setattr("medssl.export.embedding.open_store", full)
    with pytest.raises(DataError, match=r"there is no space left$"):
        medssl.embed(encoder_file, np.zeros((2, 8, 8), np.uint8))
