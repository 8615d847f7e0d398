from __future__ import annotations

import csv
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from torchvision.transforms import v2

import medssl
from medssl.cli import main
from medssl.errors import CheckpointError, DataError
from medssl.train.encoder.building import build_encoder
from medssl.train.encoder.checkpoint import save_encoder
from medssl_datasets.phantom import Phantom
from medssl_encoders.timm import Timm

SIDE = 24


@pytest.fixture
def encoder_file(tmp_path):
    settings = Timm.of(backbone="resnet10t", stem="standard")
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


def test_the_transform_gives_what_embed_encodes(encoder_file, pictures):
    encoder = medssl.load_encoder(encoder_file)
    deep = np.random.default_rng(1).integers(0, 4096, (90, 70), dtype=np.uint16)  # large enough to be reduced first
    for image in (*pictures, *map(opened, pictures), deep, Image.fromarray(deep)):
        with torch.no_grad():
            row = encoder(encoder.transform(image)[None])[0].numpy()
        np.testing.assert_allclose(row, medssl.embed(encoder, [image], precision="float32")[0], atol=1e-5)
    assert pickle.loads(pickle.dumps(encoder.transform)) == encoder.transform  # a loader's workers need it


def test_one_path_or_folder_or_image_or_name_is_enough(encoder_file, pictures, tmp_path, monkeypatch):
    expected = medssl.embed(encoder_file, pictures)
    for given in (str(pictures[0]), pictures[0], opened(pictures[0])):
        np.testing.assert_allclose(
            medssl.embed(encoder_file, given), expected[:1], rtol=1e-3, atol=1e-6
        )  # batch of one
    for given in (str(pictures[0].parent), pictures[0].parent, [pictures[0].parent]):
        np.testing.assert_array_equal(medssl.embed(encoder_file, given), expected)
    grey = np.asarray(opened(pictures[1]))
    np.testing.assert_allclose(medssl.embed(encoder_file, grey), expected[1:2], rtol=1e-3, atol=1e-6)
    monkeypatch.chdir(tmp_path)
    options = {"plugin": "phantom", "patients_per_class": 3, "images_per_patient": 1}
    assert len(medssl.embed(encoder_file, options)) == len(
        Phantom(Phantom.Config(patients_per_class=3, images_per_patient=1), tmp_path).index().samples
    )
    assert len(medssl.embed(encoder_file, "phantom")) > 12


@pytest.mark.parametrize(
    ("images", "words"),
    [
        ("nowhere", "no file or folder 'nowhere', and no dataset"),
        (Path("nowhere"), "does not exist"),
        (["nowhere.png"], "does not exist"),
        (3, "a int does not hold images"),
        ([3], "image 0 is a int"),
        ([b"x"], "image 0 is a bytes"),
        (np.zeros((20, 30, 3), np.uint8), "may be one colour image"),
        (np.zeros(9, np.uint8), "does not hold images"),
        (np.zeros((2, 9, 9, 4), np.uint8), "takes images of 3 channels, but these have 4"),
        ([np.zeros((9, 9))], "type float64 is not an image"),
    ],
)
def test_what_holds_no_images_is_refused_in_words(encoder_file, tmp_path, monkeypatch, images, words):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=words):
        medssl.embed(encoder_file, images)


def test_an_image_that_cannot_be_read_is_a_row_of_nan_where_it_may_be_skipped(encoder_file, pictures, tmp_path, caplog):
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no image")
    x = medssl.embed(encoder_file, [pictures[0], bad, pictures[1]], on_bad_image="skip")
    assert np.isnan(x[1]).all()
    np.testing.assert_array_equal(x[[0, 2]], medssl.embed(encoder_file, pictures[:2]))
    assert "bad.png" in caplog.text


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
    assert paths == [path.name for path in pictures]
    np.testing.assert_array_equal(x, expected)


@pytest.mark.parametrize(
    ("words", "message"),
    [(["nowhere"], "does not exist"), (["."], "contains no image"), ([".", "--output", "x.txt"], "unknown suffix")],
)
def test_the_command_explains_bad_input(encoder_file, tmp_path, monkeypatch, words, message):
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    outcome = CliRunner().invoke(main, ["embed", str(encoder_file), *words])
    assert outcome.exit_code == 1
    assert message in outcome.output


def test_the_command_leaves_out_what_it_may_skip(encoder_file, pictures, tmp_path):
    (tmp_path / "pictures" / "bad.png").write_bytes(b"no image")
    output = tmp_path / "f.npz"
    words = ["embed", str(encoder_file), str(tmp_path / "pictures"), "--output", str(output)]
    assert "--on-bad-image skip" in CliRunner().invoke(main, words).output
    outcome = CliRunner().invoke(main, [*words, "--on-bad-image", "skip"])
    assert outcome.exit_code == 0, outcome.output
    with np.load(output) as file:
        assert file["path"].tolist() == [path.name for path in pictures]
        assert len(file["x"]) == 3


def test_the_command_looks_at_its_output_before_it_reads_an_image(encoder_file, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no image")
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.npz").mkdir()
    for output in (tmp_path / "file" / "f.npz", tmp_path / "folder.npz"):
        outcome = CliRunner().invoke(main, ["embed", str(encoder_file), str(bad), "--output", str(output)])
        assert outcome.exit_code == 1
        assert f"{output} cannot be written" in outcome.output
        assert "bad.png" not in outcome.output


def test_the_command_makes_the_folder_of_its_output(encoder_file, pictures, tmp_path):
    output = tmp_path / "not" / "there" / "f.csv"
    outcome = CliRunner().invoke(main, ["embed", str(encoder_file), str(pictures[0]), "--output", str(output)])
    assert outcome.exit_code == 0, outcome.output
    assert [file.name for file in output.parent.iterdir()] == ["f.csv"]
