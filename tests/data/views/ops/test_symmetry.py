"""Flips and quarter turns."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from medssl.data.views.ops.symmetry import symmetries, turn_each
from medssl.tools.images import SYMMETRIES, turn

ALL = dict(zip(("mirror", "upend", "transpose"), np.array(SYMMETRIES).T, strict=True))


def test_three_quarter_turns_are_equally_likely(draw):
    p = draw(6000, rotate90=0.75).p
    kinds = p["mirror"] * 4 + p["upend"] * 2 + p["transpose"]
    none, one, three, two = ((kinds == kind).mean() for kind in (0, 5, 3, 6))
    assert [none, one, two, three] == pytest.approx([0.25] * 4, abs=0.025)
    assert none + one + two + three == 1


def test_each_view_of_a_batch_is_turned_as_it_alone_would_be():
    x = torch.arange(8 * 2 * 9.0).view(8, 2, 3, 3)
    expected = torch.stack([turn(image, *symmetry) for image, symmetry in zip(x, SYMMETRIES, strict=True)])
    assert torch.equal(turn_each(x, ALL), expected)


def test_maps_lead_to_where_the_pixels_come_from():
    places = (np.arange(3) * 2 + 1) / 3 - 1  # centres of three pixels
    picture = np.stack(np.meshgrid(places, places))  # each pixel shows its own x and y
    for symmetry, matrix in zip(SYMMETRIES, symmetries(ALL), strict=True):
        np.testing.assert_allclose(turn(picture, *symmetry), np.einsum("ij,jhw->ihw", matrix, picture), atol=1e-12)
