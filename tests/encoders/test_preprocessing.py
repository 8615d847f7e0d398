"""Images reach an encoder as its own library prepares them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data import create_transform
from torchvision.transforms.v2 import functional as F

from medssl.catalog import load_catalog
from medssl.contracts import IMAGENET, Preprocessing
from medssl.data.views import engine
from medssl.export.transform import Transform
from medssl.recipe import resolve
from medssl_encoders.timm import Timm


def own(preprocessing, size):
    """The transform that timm makes for these settings."""
    return create_transform(
        input_size=(3, size, size),
        mean=preprocessing.mean,
        std=preprocessing.std,
        interpolation=preprocessing.interpolation,
        crop_pct=preprocessing.crop,
    )


def assert_prepared_as_by_timm(pixels, preprocessing, size):
    """Equal to 1e-5 to timm's steps on a tensor; on a Pillow image, fewer than 1 in 20 values are a level apart."""
    found = Transform(size, preprocessing)(pixels)
    resize, cut, *_ = own(preprocessing, size).transforms
    tensor = torch.from_numpy(np.array(pixels)).permute(2, 0, 1)
    levels = cut(F.resize(tensor, resize.size, interpolation=resize.interpolation, antialias=True)) / 255
    mean, std = (torch.tensor(value)[:, None, None] for value in (preprocessing.mean, preprocessing.std))
    assert ((levels - mean) / std - found).abs().max() < 1e-5
    apart = (own(preprocessing, size)(Image.fromarray(np.array(pixels))) - found).abs() * std * 255
    assert apart.max() < 1.01
    assert (apart > 0.01).float().mean() < 0.05


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("shape", [(200, 300), (90, 70), (224, 224)])
@pytest.mark.parametrize("crop", [1.0, 0.875])
def test_noise_is_prepared_as_timm_prepares_it(interpolation, shape, crop):
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3)).astype(np.uint8)
    preprocessing = Preprocessing(mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7), interpolation=interpolation, crop=crop)
    assert_prepared_as_by_timm(pixels, preprocessing, 112)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_a_batch_at_once_is_the_same_within_a_grey_level(interpolation, monkeypatch):
    """As on a GPU, where one rounding replaces the two of PIL; without values beyond black and white."""
    pixels = np.random.default_rng(0).integers(90, 166, (90, 70, 3)).astype(np.uint8)
    preprocessing = Preprocessing(mean=(0.0,) * 3, std=(1.0,) * 3, interpolation=interpolation, crop=0.875)
    one = Transform(56, preprocessing)(pixels)
    monkeypatch.setattr(engine, "centres_one_by_one", engine.centres_at_once)
    assert ((Transform(56, preprocessing)(pixels) - one).abs().max() * 255) < 2.01


# --------------------------------------------------------------------------------------------------- whose statistics


def test_random_weights_expect_imagenets_statistics_whatever_the_network():
    card = Timm.of(backbone="tf_efficientnet_lite0").card
    assert card.preprocessing == Preprocessing(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    assert card.image_size is None


def test_given_weights_bring_their_own():
    card = Timm.of(backbone="tf_efficientnet_lite0", weights="pretrained").card
    assert (card.preprocessing.mean, card.preprocessing.interpolation) == ((0.5, 0.5, 0.5), "bicubic")
    assert (card.licence, card.forbids) == ("apache-2.0", ())


def test_options_override_the_card_and_are_recorded():
    given = {"encoder": {"plugin": "kaiko-s", "weights": None, "mean": [0.1, 0.2, 0.3], "interpolation": "bicubic"}}
    recipe = resolve(load_catalog(), [{"method": "random", "dataset": "phantom"}, given])
    assert recipe.card.preprocessing.mean == (0.1, 0.2, 0.3)
    assert recipe.card.preprocessing.std == (0.5, 0.5, 0.5)
    assert recipe.views.image_size == 224
    assert recipe.to_dict()["encoder"]["interpolation"] == "bicubic"


def test_users_size_beats_the_encoders():
    layers = [{"method": "random", "dataset": "phantom"}, {"encoder": {"plugin": "dinov2-s", "weights": None}}]
    assert resolve(load_catalog(), layers).views.image_size == 518
    assert resolve(load_catalog(), [*layers, {"views": {"image_size": 224}}]).views.image_size == 224


def test_default_recipe_keeps_the_name_of_its_directory():
    """Earlier results are found again: encoders as plugins do not change the hash of a run from random weights."""
    recipe = resolve(load_catalog(), [{"method": "dcl", "dataset": "phantom"}])
    assert recipe.slug == "phantom-dcl-e75fbe6e6e"
    half = resolve(load_catalog(), [{"method": "dcl", "dataset": "phantom"}, {"views": {"normalisation": "half"}}])
    assert half.card.preprocessing.mean == (0.5, 0.5, 0.5)
    named = {"encoder": {"mean": [0.5] * 3, "std": [0.5] * 3}}
    assert half.hash == resolve(load_catalog(), [{"method": "dcl", "dataset": "phantom"}, named]).hash != recipe.hash


def test_weights_that_expect_other_images_have_another_hash_than_before_encoders_were_plugins():
    """Runs of `--init pretrained` then used ImageNet's statistics and a bilinear filter, and had this hash."""
    given = {"method": "none", "dataset": "phantom", "encoder": {"weights": "pretrained"}}
    own = resolve(load_catalog(), [given])
    assert own.card.preprocessing.interpolation == "bicubic"
    as_before = {"encoder": {"interpolation": "bilinear", "crop": 1.0}}
    plain = resolve(load_catalog(), [given, as_before])
    assert plain.card.preprocessing == IMAGENET
    assert own.hash != plain.hash
    assert "preprocessing" in own._hashed["encoder"]
    assert "preprocessing" not in plain._hashed["encoder"]


def test_unknown_normalisation_says_where_the_setting_is_now():
    from medssl.errors import OptionError

    with pytest.raises(OptionError, match=r"encoder\.mean and encoder\.std"):
        resolve(load_catalog(), [{"method": "dcl", "dataset": "phantom", "views": {"normalisation": "grey"}}])
