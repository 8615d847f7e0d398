"""What the colour jitter draws; its operations are compared with torchvision's in test_colour and test_engine."""

from __future__ import annotations

import numpy as np
import pytest

from medssl.data.views.ops.jitter import BRIGHTNESS, CONTRAST, HUE, SATURATION, Jitter


def test_factors_fill_their_ranges_and_are_neutral_where_not_drawn(draw):
    count = 4000
    p = draw(count, jitter=0.5, brightness=0.4, contrast=1.5, saturation=0.2, hue=0.1).p
    factors = p["factors"][p["jitter"]]
    for kind, low, high in (
        (BRIGHTNESS, 0.6, 1.4),
        (CONTRAST, 0.0, 2.5),
        (SATURATION, 0.8, 1.2),
        (HUE, -0.1, 0.1),
    ):
        assert factors[:, kind].min() == pytest.approx(low, abs=0.01 * (high - low))
        assert factors[:, kind].max() == pytest.approx(high, abs=0.01 * (high - low))
    assert (p["factors"][~p["jitter"]] == [1, 1, 1, 0]).all()


def test_all_24_orders_of_the_jitter_are_equally_likely(draw):
    count = 9600
    order = draw(count, jitter=1).p["order"]
    assert (np.sort(order, 1) == np.arange(4)).all()
    counts = np.unique(order, axis=0, return_counts=True)[1]
    assert len(counts) == 24
    assert ((counts - 400) ** 2 / 400).sum() < 60  # 23 degrees of freedom: exceeded by chance once in 30,000 seeds


def test_a_grey_image_has_neither_saturation_nor_hue(draw):
    def jitter(**fields):
        return [each for each in draw(1, jitter=1, **fields).group.operations if isinstance(each, Jitter)]

    (grey,) = jitter(channels=1)
    assert (grey.mixes, grey.hue) == ((BRIGHTNESS, CONTRAST), False)
    (coloured,) = jitter(channels=3)
    assert (coloured.mixes, coloured.hue) == ((BRIGHTNESS, CONTRAST, SATURATION), True)
    assert jitter(channels=1, brightness=0, contrast=0) == []
