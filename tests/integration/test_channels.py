"""Images of any number of channels, from files to features."""

from __future__ import annotations

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

import medssl
from medssl.contracts import HALF, IMAGENET, Augmentation, ViewSpec
from medssl.data.store.decoding import reduce_pixels
from medssl.data.views import PlainViews, Views
from medssl.errors import DataError
from medssl.results.directory import RunDirectory
from medssl.runs.pipeline import Place
from medssl.train.encoder.building import build_encoder
from medssl_encoders.timm import Timm

RNG = np.random.default_rng(0)
QUICK = {
    "views": {"image_size": 32},
    "encoder": {"backbone": "resnet10t", "stem": "standard"},
    "train": {"epochs": 1, "batch_size": 4, "validate_every": 0},
    "evaluate": {"bootstrap": 20, "baseline": False},
    "evaluators": ["knn"],
}


class Held:
    """A store of some images in memory."""

    def __init__(self, images: np.ndarray) -> None:
        self.dtype, self.channels, self.levels = images.dtype, images.shape[3], None
        self.shapes = np.array([image.shape[:2] for image in images], np.int32)
        self.pixels = images.reshape(-1)


def save(folder, name: str, image: np.ndarray) -> None:
    tifffile = pytest.importorskip("tifffile")
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(folder / name, image, photometric="minisblack", planarconfig="contig")


# ----------------------------------------------------------------------------------------------------------- the views


@pytest.mark.parametrize("channels", [2, 5])
@pytest.mark.parametrize("preprocessing", [IMAGENET, HALF], ids=["imagenet", "half"])
def test_views_keep_all_channels_and_normalise_each(channels, preprocessing):
    images = RNG.integers(0, 256, (3, 16, 16, channels), dtype=np.uint8)
    views = PlainViews(Held(images), [0, 1, 2], image_size=16, device="cpu", preprocessing=preprocessing)
    mean, deviation = (0.5, 0.5) if preprocessing is HALF else (1.347 / 3, 0.678 / 3)
    expected = (images.astype(np.float64) / 255 - mean) / deviation
    np.testing.assert_allclose(views(torch.arange(3)).permute(0, 2, 3, 1), expected, atol=1e-5)


def test_random_views_leave_colour_operations_out_and_keep_the_others():
    images = RNG.integers(0, 256, (4, 20, 20, 5), dtype=np.uint8)
    every = Augmentation(stain=1.0, jitter=1.0, greyscale=1.0, blur=0.0)
    without = Augmentation(stain=0.0, jitter=1.0, greyscale=0.0, saturation=0.0, hue=0.0, blur=0.0)
    made = [
        Views(Held(images), [0, 1, 2, 3], ViewSpec(), each, image_size=16, seed=0, device="cpu", preprocessing=HALF)(
            torch.arange(4)
        )
        for each in (every, without)
    ]
    assert made[0][0].shape == (4, 5, 16, 16)
    for one, other in zip(*made, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_channels_are_reduced_one_by_one(dtype):
    image = RNG.integers(0, 256, (40, 60, 5)).astype(dtype)
    reduced = reduce_pixels(image, 20).pixels
    assert reduced.shape == (20, 30, 5)
    for channel in range(5):
        alone = reduce_pixels(image[:, :, channel : channel + 1], 20).pixels
        np.testing.assert_array_equal(reduced[:, :, channel], alone[:, :, 0])


# --------------------------------------------------------------------------------------------------------- the encoder


@pytest.mark.parametrize("channels", [2, 5])
@pytest.mark.parametrize("backbone", ["resnet10t", "test_vit"])
def test_weights_are_adapted_as_timm_does(tmp_path, channels, backbone):
    side = 160 if backbone == "test_vit" else 64
    trained = timm.create_model(backbone, num_classes=0)
    save_file(trained.state_dict(), tmp_path / "w.safetensors")
    overlay = {"file": str(tmp_path / "w.safetensors"), "hf_hub_id": None, "url": "", "num_classes": 0}
    expected = timm.create_model(
        backbone, pretrained=True, in_chans=channels, num_classes=0, pretrained_cfg_overlay=overlay
    )
    settings = Timm.of(backbone=backbone, weights=tmp_path / "w.safetensors", stem="standard")
    own = build_encoder(settings, side, seed=0, channels=channels)
    for name, value in expected.state_dict().items():
        torch.testing.assert_close(own.network.state_dict()[name], value)


# ------------------------------------------------------------------------------------------------------------- a run


def test_a_run_on_five_channels_says_what_it_leaves_out_and_its_encoder_can_be_read(tmp_path):
    for name in ("a", "b"):
        for number in range(12):
            save(tmp_path / "d", f"{name}/{number}.tif", RNG.integers(0, 256, (40, 40, 5), dtype=np.uint8))
    result = medssl.run("simclr", "folder", place=Place(data_dir=tmp_path / "d", output=tmp_path / "runs"), **QUICK)
    assert "channels: the images have 5 channels. The operations saturation, hue, greyscale need three" in str(
        result.data.warnings
    )
    encoder = medssl.load_encoder(result.path)
    assert encoder(torch.zeros(2, 5, 32, 32)).shape[0] == 2
    first = load_file(RunDirectory(result.path).encoder)["conv1.0.weight"]
    assert first.shape[1] == 5


def test_different_numbers_of_channels_are_an_error_with_an_example_of_each(tmp_path):
    for number in range(10):
        for name in ("a", "b"):
            image = RNG.integers(0, 256, (40, 40, 5 if number else 7), dtype=np.uint8)
            save(tmp_path / "d", f"{name}/{number}.tif", image)
    with pytest.raises(DataError, match=r"different numbers of channels: 5 in a/1.tif, 7 in a/0.tif"):
        medssl.run("random", "folder", place=Place(data_dir=tmp_path / "d", output=tmp_path / "runs"), **QUICK)
    assert not list((tmp_path / "runs").glob("*/*"))
