"""Windows of grey levels."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from medssl.data.views.ops.window import show_window


def test_a_window_maps_its_ends_to_black_and_white_and_cuts_off_the_rest():
    x = torch.tensor([[0.0, 100, 150, 200, 255], [0.0, 50, 100, 255, 255]]).view(2, 1, 1, 5)
    result = show_window(x, np.array([[100.0, 200.0], [50.0, 255.0]]), 255.0)
    assert result[0, 0, 0].tolist() == pytest.approx([0, 0, 0.5, 1, 1])
    assert result[1, 0, 0].tolist() == pytest.approx([0, 0, 50 / 205, 1, 1])


def test_without_a_window_the_whole_range_is_shown():
    x = torch.tensor([0.0, 51, 255]).view(1, 1, 1, 3)
    assert show_window(x, None, 255.0).flatten().tolist() == pytest.approx([0, 0.2, 1])


def test_a_window_that_is_not_jittered_draws_nothing(draw):
    assert "window" not in draw(3).p
    assert draw(3, window=(10, 20)).p["window"].tolist() == [[10, 20]] * 3
