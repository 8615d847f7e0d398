"""Rotation by any angle; see test_geometry for where the pixels come from."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from medssl.data.views.ops.rotation import Rotation


@pytest.mark.parametrize("angle", [10, 45, 90, 180])
def test_a_rotated_circle_stays_a_circle_and_no_corner_is_empty(draw, angle):
    """On a crop twice as wide as high, squeezed into a square: the disc is an ellipse there, before and after."""
    drawn = draw(4, shape=(60, 80), rotation=180, crop_scale=(1, 1), crop_ratio=(4 / 3, 4 / 3))
    size = 128
    step = (torch.arange(size) + 0.5) / size * 2 - 1
    inside = (step[:, None] * 60) ** 2 + (step * 80) ** 2 < 30**2  # pixels of the 60 x 80 image
    x = torch.where(inside, 1.0, 0.5).expand(4, 1, size, size).clone()
    result = drawn.apply(x, Rotation, angle=np.full(4, np.deg2rad(angle)))
    assert result.min() >= 0.5 - 1e-6  # nothing from beyond the crop
    widest, tallest = ((result[0, 0] > 0.75).sum(axis).max().item() for axis in (1, 0))
    assert widest / tallest == pytest.approx(60 / 80, abs=0.03)
