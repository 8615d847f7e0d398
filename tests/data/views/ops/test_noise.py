"""Noise: its distribution, and what it depends on."""

from __future__ import annotations

import numpy as np
import torch

from medssl.data.views.ops.noise import Noise, list_of_noise


def images(count=40, channels=3, side=16):
    return torch.rand(count, channels, side, side, generator=torch.Generator().manual_seed(0))


def test_noise_is_normal_with_the_deviation_of_each_view(draw):
    drawn = draw(40, size=32, seed=7, noise=0.7, noise_sigma=(0.01, 0.1))
    x = torch.full((40, 3, 32, 32), 0.5)
    x = drawn.apply(x, Noise)
    sigma, noise = drawn.p["noise"], (x - 0.5).double().flatten(1).numpy()
    assert (noise[sigma == 0] == 0).all()
    busy = sigma > 0
    np.testing.assert_allclose(noise[busy].std(1), sigma[busy], rtol=0.06)  # of 3,072 numbers: 1.3 % each
    assert np.abs(noise[busy].mean(1) / sigma[busy]).max() < 5 / np.sqrt(3072)
    skewness = (noise[busy] ** 3).mean(1) / sigma[busy] ** 3
    assert np.abs(skewness).max() < 0.3


def test_the_noise_of_two_views_has_nothing_in_common(draw):
    drawn = draw(40, size=32, seed=7, noise=1, noise_sigma=(0.05, 0.05))
    x = torch.full((40, 1, 32, 32), 0.5)
    x = drawn.apply(x, Noise)
    together = np.corrcoef((x - 0.5).flatten(1).numpy()) - np.eye(40)
    assert np.abs(together).max() < 0.2  # 1,024 numbers: 0.03 each


def test_noise_stays_between_black_and_white(draw):
    drawn = draw(40, size=32, seed=7, noise=1, noise_sigma=(0.5, 0.5))
    x = images()
    x = drawn.apply(x, Noise)
    assert x.min() == 0
    assert x.max() == 1


def test_another_seed_makes_other_noise():
    cpu = torch.device("cpu")
    assert torch.equal(list_of_noise(3, 16, cpu), list_of_noise(3, 16, cpu))
    assert not torch.equal(list_of_noise(3, 16, cpu), list_of_noise(4, 16, cpu))
