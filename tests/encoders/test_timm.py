"""Encoders from timm: names, sizes, stems, seeds."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from medssl.errors import OptionError
from medssl.train.encoder.building import build_encoder
from medssl_encoders.timm import Timm


def build(backbone="test_resnet", image_size=32, seed=0, **settings):
    return build_encoder(Timm.of(backbone=backbone, **settings), image_size, seed)


@pytest.mark.parametrize(
    ("backbone", "size", "dim"),
    [
        ("test_resnet", 32, 96),
        ("test_efficientnet", 32, 256),
        ("test_convnext", 64, 64),
        ("test_vit", 48, 64),
        ("mobilenetv3_small_050", 32, 1024),  # timm's num_features says 288
    ],
)
def test_feature_dim_is_the_width_that_comes_out(backbone, size, dim):
    encoder = build(backbone, size)
    assert encoder.training
    assert encoder(torch.zeros(2, 3, size, size)).shape == (2, dim)
    assert (encoder.feature_dim, encoder.backbone_name, encoder.image_size) == (dim, backbone, size)


def test_names_are_timms():
    names = build("test_vit", 32).network.state_dict().keys()
    assert {"cls_token", "patch_embed.proj.weight"} <= names
    assert not any(name.startswith("head.") for name in names)


def test_seed_decides_the_weights_and_the_global_state_is_left_alone():
    state = torch.get_rng_state()
    first, again, other = build(seed=1), build(seed=1), build(seed=2)
    assert torch.equal(torch.get_rng_state(), state)
    for a, b in zip(first.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(first.network.conv1.weight, other.network.conv1.weight)


@pytest.mark.parametrize(
    ("backbone", "size", "asked", "stem"),
    [
        ("test_resnet", 63, "auto", "small"),
        ("test_resnet", 64, "auto", "standard"),
        ("test_resnet", 64, "small", "small"),
        ("test_resnet", 32, "standard", "standard"),
        ("test_convnext", 32, "auto", "standard"),
    ],
)
def test_stem_follows_the_image_size_where_the_backbone_is_a_resnet(backbone, size, asked, stem):
    assert build(backbone, size, stem=asked).rebuild["stem"] == stem


def test_small_stem_keeps_the_resolution():
    network = build("resnet18", 28).network
    assert network.conv1.weight.shape == (64, 3, 3, 3)
    assert network.maxpool(network.bn1(network.conv1(torch.zeros(2, 3, 28, 28)))).shape == (2, 64, 28, 28)
    assert network.conv1.weight.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.05)


def test_backbone_without_a_small_stem_says_so():
    with pytest.raises(OptionError, match=r"'test_convnext' has no small stem.*encoder\.stem=standard"):
        build("test_convnext", stem="small")


def test_unknown_backbone_gets_the_closest_name():
    with pytest.raises(OptionError, match=r"no model named 'resnet81'\. Did you mean 'resnet18'"):
        build("resnet81")


@pytest.mark.parametrize("name", ["hf-hub:timm/resnet18", "resnet18.no_such_weights", ""])
def test_names_that_are_no_plain_model_are_refused(name):
    with pytest.raises(OptionError, match="no model named"):
        build(name)


@pytest.mark.parametrize(("backbone", "size"), [("test_vit", 40), pytest.param("vgg11", 16, marks=pytest.mark.slow)])
def test_image_size_that_the_backbone_cannot_take_names_both(backbone, size):
    with pytest.raises(OptionError, match=rf"'{backbone}' cannot take images of {size} x {size} px.*--image-size"):
        build(backbone, size)


def test_backbone_without_pooled_features_is_refused(monkeypatch):
    monkeypatch.setattr("timm.create_model", lambda *_, **__: nn.Conv2d(3, 4, 3))
    with pytest.raises(OptionError, match=r"no pooled features.*\(1, 4, 30, 30\)"):
        build("test_convnext")


def test_transformer_takes_smaller_views_too():
    encoder = build("test_vit", 64)
    assert encoder(torch.zeros(2, 3, 32, 32)).shape == (2, encoder.feature_dim)


def test_copy_is_independent():
    encoder = build()
    teacher = copy.deepcopy(encoder)
    teacher.network.conv1.weight.data.zero_()
    assert encoder.network.conv1.weight.abs().sum() > 0
    assert teacher.feature_dim == encoder.feature_dim


def test_mean_of_the_dense_features_is_the_pooled_features():
    encoder = build("resnet18", 64).eval()
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    maps = encoder.dense(images)
    assert maps.shape == (2, 512, 2, 2)
    torch.testing.assert_close(maps.mean(dim=(2, 3)), encoder(images))


def test_transformers_map_is_its_patch_tokens_where_they_lie():
    encoder = build("test_vit", 48).eval()
    images = torch.randn(1, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    maps, tokens = encoder.dense(images), encoder.network.forward_features(images)
    assert maps.shape == (1, 64, 3, 3)
    for row in range(3):
        for column in range(3):
            assert torch.equal(maps[0, :, row, column], tokens[0, 1 + 3 * row + column])  # token 0 is the class token
    assert encoder.dense(torch.zeros(2, 3, 32, 48)).shape == (2, 64, 2, 3)


def test_channels_come_first_where_the_backbone_has_them_last():
    encoder = build("sequencer2d_s", 32).eval()
    images = torch.randn(1, 3, 32, 64, generator=torch.Generator().manual_seed(0))
    maps = encoder.dense(images)
    assert maps.shape == (1, 384, 2, 4)
    torch.testing.assert_close(maps.mean(dim=(2, 3)), encoder(images))


@pytest.mark.parametrize("backbone", ["mobilenetv3_small_050", "test_mambaout"])
def test_backbone_whose_head_makes_the_features_has_no_dense_ones(backbone):
    encoder = build(backbone, 64).eval()
    with pytest.raises(
        OptionError, match=rf"'{backbone}' gives no map.*--backbone for this method, for instance a ResNet"
    ):
        encoder.dense(torch.zeros(1, 3, 64, 64))


def test_tokens_that_fill_no_grid_are_refused():
    encoder = build("test_vit", 48).eval()
    encoder.network.forward_features = lambda _: torch.zeros(1, 11, 64)  # 10 behind the class token, for 3 rows
    with pytest.raises(OptionError, match=r"gives no map.*\(1, 11, 64\)"):
        encoder.dense(torch.zeros(1, 3, 48, 48))
