"""A batch that fits the training part."""

from __future__ import annotations

import pytest

from medssl.study.fitting import fitting_batch


@pytest.mark.parametrize(("images", "size"), [(2, 2), (9, 2), (17, 4), (40, 8), (63, 8), (64, 16)])
def test_the_batch_is_a_power_of_two_in_a_quarter_of_the_images(images: int, size: int) -> None:
    assert fitting_batch(images) == size
