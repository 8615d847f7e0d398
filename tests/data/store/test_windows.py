"""Windows of images of more than eight bits."""

from __future__ import annotations

import numpy as np
import pytest

from medssl.data.store.windows import own_window


def image(values, shape=(40, 25, 1)):
    return np.resize(np.array(values, dtype=np.uint16), shape)


def test_eight_bits_need_no_window():
    assert own_window(np.zeros((4, 4, 1), np.uint8)) is None


def test_twelve_bits_in_a_file_of_sixteen_get_the_range_they_take():
    low, high = own_window(image(np.arange(4096), (64, 64, 1)))
    assert (low, high) == (pytest.approx(4095 * 0.005), pytest.approx(4095 * 0.995))


def test_a_dead_pixel_and_a_bright_letter_do_not_decide_the_contrast():
    pixels = image(np.linspace(500, 3000, 1000))
    before = own_window(pixels)
    pixels[0, :4], pixels[1, 0] = 65535, 0
    assert own_window(pixels) == pytest.approx(before, rel=0.02)


def test_a_few_spots_on_a_plain_ground_are_kept():
    pixels = image([7])
    pixels[3, 3:5] = 900
    assert own_window(pixels) == (7, 900)


def test_an_image_of_one_grey_level_has_a_window_too():
    assert own_window(image([700])) == (700, 701)
    assert own_window(image([65535])) == (65535, 65536)


@pytest.mark.parametrize("size", [1, 2, 7, 200, 201, 5000, 65537])
def test_the_counted_percentiles_are_those_of_numpy(size):
    rng = np.random.default_rng(size)
    for most in (3, 4096, 65536):
        pixels = rng.integers(0, most, (size, 1, 1)).astype(np.uint16)
        low, high = np.percentile(pixels, [0.5, 99.5])
        if low != high:
            assert own_window(pixels) == (low, max(high, low + 1))
