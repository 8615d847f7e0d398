"""Colour operations against torchvision's on PIL images, one operation at a time."""

from __future__ import annotations

import colorsys
import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import functional as F

from medssl.data.views.colour import luma, mean_over_pixels, mix_
from medssl.data.views.ops.jitter import hue_
from medssl.data.views.ops.solarise import solarise_

FACTORS = [0.0, 0.35, 0.8, 1.0, 1.3, 2.2]
LEVEL = 1 / 255


def images(count: int, side: int = 24) -> np.ndarray:
    """(count, side, side, 3) uint8: smooth colours, and a corner of pure, black, white and grey pixels."""
    rng = np.random.default_rng(0)
    coarse = torch.from_numpy(rng.random((count, 3, 5, 5), dtype=np.float32))
    smooth = torch.nn.functional.interpolate(coarse, (side, side), mode="bilinear").mul(255).byte()
    pixels = smooth.permute(0, 2, 3, 1).contiguous().numpy()
    pixels[:, 0, :8] = list(itertools.product((0, 255), repeat=3))
    pixels[:, 0, 8] = 77
    return pixels


def planes(pixels: np.ndarray) -> Tensor:
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float().div(255).contiguous()


def pil(pixels: np.ndarray, f: Callable[[Image.Image, float], Image.Image], values: list[float]) -> Tensor:
    changed = [np.asarray(f(Image.fromarray(image), value)) for image, value in zip(pixels, values, strict=True)]
    return planes(np.stack(changed))


def brightness(x: Tensor, f: Tensor) -> Tensor:
    return mix_(x, f)


def contrast(x: Tensor, f: Tensor) -> Tensor:
    return mix_(x, f, of_mean=1 - f)


def saturation(x: Tensor, f: Tensor) -> Tensor:
    return mix_(x, f, of_luma=1 - f)


@pytest.mark.parametrize(
    ("mine", "theirs"),
    [(brightness, F.adjust_brightness), (contrast, F.adjust_contrast), (saturation, F.adjust_saturation)],
)
def test_each_image_is_mixed_with_its_own_factor_as_torchvision_does(mine, theirs):
    pixels = images(len(FACTORS))
    result = mine(planes(pixels), torch.tensor(FACTORS))
    # PIL rounds the mean or the grey image to whole levels, and cuts the result off
    assert (result - pil(pixels, theirs, FACTORS)).abs().max() < 2.1 * LEVEL


def test_factor_one_changes_nothing_at_all():
    x = planes(images(1))
    one = torch.ones(1)
    assert torch.equal(mix_(x.clone(), one, 1 - one, 1 - one), x)


def test_brightness_is_exact_for_values_worked_by_hand():
    x = torch.tensor([0.2, 0.6, 0.9]).view(1, 3, 1, 1)
    np.testing.assert_allclose(mix_(x, torch.tensor([1.5])).flatten(), [0.3, 0.9, 1.0], rtol=1e-6)


def test_greyscale_equals_torchvisions():
    pixels = images(2)
    result = mix_(planes(pixels), torch.zeros(2), of_luma=torch.ones(2))
    expected = pil(pixels, lambda image, _: F.to_grayscale(image, 3), [0, 0])
    assert (result - expected).abs().max() < 0.51 * LEVEL
    assert torch.equal(result[:, 0], result[:, 2])


def test_a_batch_of_different_mixes_equals_each_mix_alone():
    pixels = planes(images(4))
    own, mean, grey = (torch.tensor(v) for v in ([0.5, 1.4, 0.7, 0.0], [0.0, -0.4, 0.0, 0.0], [0.0, 0.0, 0.3, 1.0]))
    together = mix_(pixels.clone(), own, mean, grey)
    alone = [
        mix_(pixels[:1].clone(), own[:1]),
        mix_(pixels[1:2].clone(), own[1:2], of_mean=mean[1:2]),
        mix_(pixels[2:3].clone(), own[2:3], of_luma=grey[2:3]),
        mix_(pixels[3:].clone(), own[3:], of_luma=grey[3:]),
    ]
    assert torch.equal(together, torch.cat(alone))


def test_hue_equals_the_standard_librarys_hsv_pixel_by_pixel():
    pixels = planes(images(5, side=12)).double().float()
    shifts = [0.0, 0.1, -0.25, 0.5, -0.5]
    result = hue_(pixels.clone(), torch.tensor(shifts))
    for image, turned, shift in zip(pixels, result, shifts, strict=True):
        for before, after in zip(image.flatten(1).T.tolist(), turned.flatten(1).T.tolist(), strict=True):
            h, s, v = colorsys.rgb_to_hsv(*before)
            assert after == pytest.approx(colorsys.hsv_to_rgb((h + shift) % 1, s, v), abs=1e-5)


def test_hue_equals_torchvisions():
    pixels = images(5)
    shifts = [0.0, 0.1, -0.25, 0.5, -0.5]
    result = hue_(planes(pixels), torch.tensor(shifts))
    tensors = torch.stack([F.adjust_hue(x, s) for x, s in zip(planes(pixels), shifts, strict=True)])
    assert (result - tensors).abs().max() < 1e-5
    # PIL counts 256 hues, torchvision shifts them by whole 255ths: two hues off, six levels of a pure colour each
    difference = (result - pil(pixels, F.adjust_hue, shifts)).abs()
    assert difference.mean() < 1.5 * LEVEL
    assert difference.max() < 14 * LEVEL


def test_hue_leaves_grey_pixels_exactly_as_they_are():
    grey = torch.linspace(0, 1, 256).expand(1, 3, 1, 256).clone()
    assert torch.equal(hue_(grey.clone(), torch.tensor([0.37])), grey)


def test_solarise_equals_torchvisions():
    pixels = images(4)
    thresholds = [0.0, 0.3, 0.5, 1.0]
    result = solarise_(planes(pixels), torch.tensor(thresholds))
    expected = pil(pixels, lambda image, t: F.solarize(image, 255 * t), thresholds)
    assert (result - expected).abs().max() < 1e-6


def test_a_threshold_above_one_changes_nothing():
    x = planes(images(1))
    assert torch.equal(solarise_(x.clone(), torch.tensor([2.0])), x)


def test_luma_of_a_grey_image_is_the_image():
    grey = torch.rand(2, 1, 5, 5, generator=torch.Generator().manual_seed(0))
    assert torch.equal(luma(grey), grey[:, 0])
    assert torch.allclose(luma(grey.expand(2, 3, 5, 5)), grey[:, 0])


@pytest.mark.parametrize("side", [27, 28, 200])
@pytest.mark.parametrize("threads", [1, 2])
def test_the_mean_of_an_image_has_the_same_bits_in_any_batch(side, threads):
    grey = torch.rand(5, side, side, generator=torch.Generator().manual_seed(0))
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        together = mean_over_pixels(grey)
        assert torch.equal(together, torch.cat([mean_over_pixels(image[None]) for image in grey]))
    finally:
        torch.set_num_threads(before)
    np.testing.assert_allclose(together.flatten(), grey.double().mean((1, 2)), rtol=1e-6)


@pytest.mark.parametrize("f", [lambda x: hue_(x, torch.tensor([0.1, -0.2])), lambda x: mix_(x, *torch.rand(3, 2))])
def test_memory_layout_does_not_matter(f):
    x = planes(images(2))
    layouts = [x.clone(), x.clone(memory_format=torch.channels_last), x.transpose(0, 1).contiguous().transpose(0, 1)]
    with torch.random.fork_rng(devices=[]):
        results = []
        for layout in layouts:
            torch.manual_seed(0)
            results.append(f(layout))
    assert torch.allclose(results[0], results[1], atol=1e-6)
    assert torch.equal(results[0], results[2])
