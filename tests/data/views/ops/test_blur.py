"""Gaussian blur against torchvision's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.transforms import functional as F

from medssl.data.views.ops import blur as module
from medssl.data.views.ops.blur import blur, kernels, radius

SIGMAS = np.array([0.0, 0.1, 0.5, 1.0, 1.7, 2.0])


def batch(count: int, side: int = 40, channels: int = 3) -> torch.Tensor:
    return torch.rand(count, channels, side, side, generator=torch.Generator().manual_seed(0))


def test_each_image_is_blurred_by_its_own_sigma_as_torchvision_does():
    x = batch(len(SIGMAS))
    result = blur(x, torch.from_numpy(kernels(SIGMAS, radius(2.0, 40))))
    for image, blurred, sigma in zip(x, result, SIGMAS, strict=True):
        expected = F.gaussian_blur(image, [23, 23], [float(max(sigma, 1e-3))] * 2)
        assert (blurred - expected).abs().max() < 1e-4


def test_sigma_zero_changes_nothing_at_all():
    x = batch(2)
    assert torch.equal(blur(x, torch.from_numpy(kernels(np.zeros(2), 5))), x)


def test_kernels_sum_to_one_and_do_not_depend_on_the_widest():
    narrow, wide = kernels(SIGMAS[:4], 4), kernels(SIGMAS[:4], 9)
    np.testing.assert_allclose(wide.sum(1), 1, rtol=1e-6)
    np.testing.assert_array_equal(wide[:, 5:-5], narrow)
    assert (wide[:, :5] == 0).all()


@pytest.mark.parametrize(
    ("sigma", "side", "expected"), [(2.0, 224, 8), (2 * 64 / 224, 64, 2), (0.25, 28, 1), (9.0, 5, 4)]
)
def test_radius_covers_what_a_kernel_weighs_and_fits_the_image(sigma, side, expected):
    assert radius(sigma, side) == expected


@pytest.mark.parametrize("axis", [2, 3])
@pytest.mark.parametrize("channels", [1, 3])
def test_both_ways_of_convolving_agree(axis, channels):
    padded = batch(3, 20, channels).transpose(0, 1)
    weights = torch.from_numpy(kernels(np.array([0.3, 0.8, 1.2]), 5))
    one, other = module._sum_of_shifts(padded, weights, axis), module._convolution(padded, weights, axis)
    assert one.shape == other.shape
    assert (one - other).abs().max() < 1e-6


@pytest.mark.parametrize("side", [27, 64])
def test_an_image_has_the_same_bits_in_any_batch(side):
    x, weights = batch(6, side), torch.from_numpy(kernels(SIGMAS, 8))
    together = blur(x, weights)
    for start, stop in ((0, 1), (5, 6), (1, 4), (3, 6)):
        reach = radius(float(SIGMAS[start:stop].max()), side)
        alone = blur(x[start:stop], torch.from_numpy(kernels(SIGMAS[start:stop], reach)))
        assert torch.equal(alone, together[start:stop])


def test_blur_is_scaled_with_the_side_of_the_view(draw):
    large, small = (draw(100, size=size, blur=1.0, blur_sigma=(0.1, 2.0)).p["sigma"] for size in (224, 56))
    np.testing.assert_allclose(small, large / 4)
    assert large.min() >= 0.1
    assert large.max() <= 2.0
