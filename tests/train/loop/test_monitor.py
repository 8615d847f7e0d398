"""The verdict on measures of a collapse."""

from __future__ import annotations

import math

import pytest

from medssl.train.loop.monitor import call_collapse


@pytest.mark.parametrize(
    ("spread", "rank", "name"),
    [
        (0.6, 60, None),
        (0.05, 4, None),
        (0.049, 60, "complete"),
        (0.049, 1, "complete"),
        (0.6, 3.9, "dimensional"),
        (math.nan, math.nan, None),
    ],
)
def test_collapse_is_named_by_its_measures(spread, rank, name):
    assert call_collapse(spread, rank, classes=4) == name
