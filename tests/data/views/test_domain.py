"""Operations that only some kinds of images ask for, on their own; in views, see test_views."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from medssl.contracts import Augmentation
from medssl.data.views.domain import add_noise_, apply_window, list_of_noise, transform
from medssl.data.views.draws import uniforms
from medssl.data.views.parameters import COLUMNS, draw

NOTHING = Augmentation(horizontal_flip=0, jitter=0, greyscale=0, blur=0)


def parameters(count=40, **fields):
    u = uniforms(7, 0, np.arange(1), np.arange(count), COLUMNS)[0]
    shapes, windows = np.tile([60, 80], (count, 1)), np.tile([0.0, 255.0], (count, 1))
    return draw(u, shapes, dataclasses.replace(NOTHING, **fields), 32, windows)


def images(count=40, channels=3, side=16):
    return torch.rand(count, channels, side, side, generator=torch.Generator().manual_seed(0))


def test_gamma_is_the_power_of_every_grey_level_where_it_was_drawn():
    p, x = parameters(gamma=0.5, gamma_range=(0.5, 2)), images()
    x[:, :, 0, 0], x[:, :, 0, 1] = 0, 1
    result = transform(x.clone(), p, oriented=False)
    np.testing.assert_allclose(result.numpy(), x.double().numpy() ** p.gamma[:, None, None, None], atol=1e-6)
    still = torch.from_numpy(p.gamma == 1)
    assert 10 < still.sum() < 30
    assert torch.equal(result[still], x[still])


def test_stains_change_where_that_was_drawn_and_never_on_grey_images():
    p, x = parameters(stain=0.5, stain_scale=0.2, stain_shift=0.2), images()
    result = transform(x.clone(), p, oriented=False)
    drawn = torch.from_numpy((p.stain[:, 0] != 1).any(1))
    assert 10 < drawn.sum() < 30
    assert ((result - x).abs().amax((1, 2, 3)) > 0.01).tolist() == drawn.tolist()
    assert torch.equal(transform(x[:, :1].clone(), p, oriented=False), x[:, :1])


def test_a_window_maps_its_ends_to_black_and_white_and_cuts_off_the_rest():
    planes = torch.tensor([[0.0, 100, 150, 200, 255], [0.0, 50, 100, 255, 255]]).view(1, 2, 1, 5)
    result = apply_window(planes, np.array([[100.0, 200.0], [50.0, 255.0]]))
    assert result[0, 0, 0].tolist() == pytest.approx([0, 0, 0.5, 1, 1])
    assert result[0, 1, 0].tolist() == pytest.approx([0, 0, 50 / 205, 1, 1])


def test_noise_is_normal_with_the_deviation_of_each_view():
    p = parameters(noise=0.7, noise_sigma=(0.01, 0.1))
    x = torch.full((40, 3, 32, 32), 0.5)
    add_noise_(x, p, list_of_noise(0, 32, torch.device("cpu")), oriented=False)
    noise = (x - 0.5).double().flatten(1).numpy()
    assert (noise[p.noise == 0] == 0).all()
    busy = p.noise > 0
    np.testing.assert_allclose(noise[busy].std(1), p.noise[busy], rtol=0.06)  # of 3,072 numbers: 1.3 % each
    assert np.abs(noise[busy].mean(1) / p.noise[busy]).max() < 5 / np.sqrt(3072)
    skewness = (noise[busy] ** 3).mean(1) / p.noise[busy] ** 3
    assert np.abs(skewness).max() < 0.3


def test_the_noise_of_two_views_has_nothing_in_common():
    p = parameters(noise=1, noise_sigma=(0.05, 0.05))
    x = torch.full((40, 1, 32, 32), 0.5)
    add_noise_(x, p, list_of_noise(0, 32, torch.device("cpu")), oriented=False)
    together = np.corrcoef((x - 0.5).flatten(1).numpy()) - np.eye(40)
    assert np.abs(together).max() < 0.2  # 1,024 numbers: 0.03 each


def test_noise_stays_between_black_and_white():
    p = parameters(noise=1, noise_sigma=(0.5, 0.5))
    x = images()
    add_noise_(x, p, list_of_noise(0, 32, torch.device("cpu")), oriented=False)
    assert x.min() == 0
    assert x.max() == 1


def test_another_seed_makes_other_noise():
    cpu = torch.device("cpu")
    assert torch.equal(list_of_noise(3, 16, cpu), list_of_noise(3, 16, cpu))
    assert not torch.equal(list_of_noise(3, 16, cpu), list_of_noise(4, 16, cpu))


@pytest.mark.parametrize("angle", [10, 45, 90, 180])
def test_a_rotated_circle_stays_a_circle_and_no_corner_is_empty(angle):
    """On a crop twice as wide as high, squeezed into a square: the disc is an ellipse there, before and after."""
    p = parameters(4, rotation=180, crop_scale=(1, 1), crop_ratio=(4 / 3, 4 / 3))
    p = dataclasses.replace(p, angle=np.full(4, np.deg2rad(angle)))
    size = 128
    step = (torch.arange(size) + 0.5) / size * 2 - 1
    inside = (step[:, None] * 60) ** 2 + (step * 80) ** 2 < 30**2  # pixels of the 60 x 80 image
    x = torch.where(inside, 1.0, 0.5).expand(4, 1, size, size).clone()
    result = transform(x, p, oriented=False)
    assert result.min() >= 0.5 - 1e-6  # nothing from beyond the crop
    widest, tallest = ((result[0, 0] > 0.75).sum(axis).max().item() for axis in (1, 0))
    assert widest / tallest == pytest.approx(60 / 80, abs=0.03)
