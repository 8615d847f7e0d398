"""Stains against the published deconvolution, pixel by pixel in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from medssl.data.views.ops.stain import HED, Stain, mixing, restain

# scikit-image's construction of rgb2hed and hed2rgb, after Ruifrok and Johnston's matrix
RGB_FROM_HED = [[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]]
ADJUST = math.log(1e-6)


def images(count, side=6):
    """Colours of every kind, down to the darkest level of eight bits."""
    levels = np.random.default_rng(0).integers(1, 256, (count, 3, side, side))
    levels[:, :, 0, 0], levels[:, :, 0, 1] = 255, 1
    return levels / 255


def by_hand(pixel, factor, shift):
    """One pixel to amounts of stain and back; a shift is an optical density, scikit-image's unit is 13.8 of them."""
    inverse = np.linalg.inv(np.array(RGB_FROM_HED))
    density = [math.log(max(value, 1e-6)) / ADJUST for value in pixel]
    amounts = [sum(density[c] * inverse[c, s] for c in range(3)) for s in range(3)]
    changed = [amounts[s] * factor[s] + shift[s] / -ADJUST for s in range(3)]
    light = [math.exp(sum(changed[s] * ADJUST * RGB_FROM_HED[s][c] for s in range(3))) for c in range(3)]
    return [min(max(value, 0.0), 1.0) for value in light]


def test_each_image_gets_the_published_deconvolution_with_changes_of_its_own():
    pixels = images(4)
    rng = np.random.default_rng(1)
    changes = np.stack([rng.uniform(0.8, 1.2, (4, 3)), rng.uniform(-0.2, 0.2, (4, 3))], axis=1)
    result = restain(torch.from_numpy(pixels).float(), torch.from_numpy(mixing(changes)).float()).numpy()
    for i, j, k in np.ndindex(4, 6, 6):
        assert result[i, :, j, k] == pytest.approx(by_hand(pixels[i, :, j, k], *changes[i]), abs=2e-5)


def test_no_change_leaves_every_colour():
    pixels = torch.from_numpy(images(2)).float()
    neutral = np.tile([[[1.0] * 3, [0.0] * 3]], (2, 1, 1))
    assert (restain(pixels, torch.from_numpy(mixing(neutral)).float()) - pixels).abs().max() < 1e-5


def test_a_second_helping_of_haematoxylin_darkens_by_its_own_colour():
    blank = torch.ones(1, 3, 1, 1)
    change = np.array([[[1.0, 1.0, 1.0], [0.1, 0.0, 0.0]]])
    result = restain(blank, torch.from_numpy(mixing(change)).float()).flatten().tolist()
    assert result == pytest.approx([math.exp(-0.1 * value) for value in HED[0]], rel=1e-5)


def test_black_pixels_stay_dark_and_finite():
    change = np.array([[[0.8, 1.2, 0.9], [-0.2, 0.2, -0.2]]])
    result = restain(torch.zeros(1, 3, 2, 2), torch.from_numpy(mixing(change)).float())
    assert result.isfinite().all()
    assert result.max() < 0.1


def test_the_given_images_are_left_alone():
    pixels = torch.full((1, 3, 2, 2), 0.5)
    restain(pixels, torch.from_numpy(mixing(np.array([[[1.2] * 3, [0.1] * 3]]))).float())
    assert (pixels == 0.5).all()


def test_stains_change_where_that_was_drawn_and_never_on_grey_images(draw):
    fields = {"stain": 0.5, "stain_scale": 0.2, "stain_shift": 0.2, "seed": 7}
    drawn, x = draw(40, **fields), torch.rand(40, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    result = drawn.apply(x.clone(), Stain)
    changed = torch.from_numpy((drawn.p["stain"][:, 0] != 1).any(1))
    assert 10 < changed.sum() < 30
    assert ((result - x).abs().amax((1, 2, 3)) > 0.01).tolist() == changed.tolist()
    grey = draw(40, channels=1, **fields)
    assert not any(isinstance(operation, Stain) for operation in grey.group.operations)
