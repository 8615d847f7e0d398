"""Resampling against PIL's, with antialiasing, when shrinking and when enlarging."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from medssl.data.views.resample import Span, cut_regions, filter_weights, resample, resize_into

#: height, width, side of the view
SHAPES = [
    (37, 51, 64),
    (128, 128, 64),
    (150, 100, 48),
    (28, 28, 28),
    (14, 20, 28),
    (90, 200, 32),
    (1, 1, 8),
    (1, 70, 8),
]


def image(height: int, width: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, channels), dtype=np.uint8)


def pil(pixels: np.ndarray, size: int) -> np.ndarray:
    """PIL's bilinear, (C, size, size) in grey levels, one channel at a time so that nothing is rounded twice."""
    channels = [Image.fromarray(pixels[..., c].astype(np.float32)) for c in range(pixels.shape[2])]
    return np.stack([np.asarray(c.resize((size, size), Image.Resampling.BILINEAR)) for c in channels])


def span(start: float, extent: float, low: float, high: float, backwards: float = 0) -> Span:
    return Span(*(torch.tensor([value], dtype=torch.float32) for value in (start, extent, low, high, backwards)))


def whole(pixels: np.ndarray, size: int) -> torch.Tensor:
    height, width = pixels.shape[:2]
    rows = filter_weights(span(0, height, 0, height), size, height)
    columns = filter_weights(span(0, width, 0, width), size, width)
    return resample(torch.from_numpy(pixels)[None].transpose(2, 3).float(), rows, columns)[0]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("height", "width", "size"), SHAPES)
def test_matrix_products_equal_pil(height, width, size, channels):
    pixels = image(height, width, channels)
    np.testing.assert_allclose(whole(pixels, size), pil(pixels, size), atol=2e-3)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("height", "width", "size"), SHAPES)
def test_the_kernel_for_one_image_equals_pil(height, width, size, channels):
    pixels = image(height, width, channels)
    out = torch.empty(1, size, size, channels, dtype=torch.uint8).permute(0, 3, 1, 2)
    resize_into(torch.from_numpy(pixels).permute(2, 0, 1)[None], out)
    reference = Image.fromarray(pixels[..., 0] if channels == 1 else pixels).resize(
        (size, size), Image.Resampling.BILINEAR
    )
    expected = np.asarray(reference).reshape(size, size, channels).transpose(2, 0, 1)
    assert np.abs(out[0].numpy().astype(int) - expected).max() <= 1


def test_the_kernel_takes_float_as_well():
    pixels = image(70, 50)
    out = torch.empty(1, 3, 32, 32)
    resize_into(torch.from_numpy(pixels).permute(2, 0, 1)[None].float(), out)
    np.testing.assert_allclose(out[0], pil(pixels, 32), atol=2e-3)


def test_a_crop_sees_nothing_of_what_lies_around_it():
    pixels = image(60, 60)
    rows = filter_weights(span(10, 40, 10, 50), 16, 60)
    columns = filter_weights(span(5, 33, 5, 38), 16, 60)
    crop = resample(torch.from_numpy(pixels)[None].transpose(2, 3).float(), rows, columns)[0]
    np.testing.assert_allclose(crop, pil(pixels[10:50, 5:38], 16), atol=2e-3)


def test_a_cut_of_the_resized_image_sees_what_lies_around_it():
    pixels = image(48, 96)
    columns = filter_weights(span(24, 48, 0, 96), 16, 96)
    rows = filter_weights(span(0, 48, 0, 48), 16, 48)
    centre = resample(torch.from_numpy(pixels)[None].transpose(2, 3).float(), rows, columns)[0]
    whole_width = filter_weights(span(0, 96, 0, 96), 32, 96)
    resized = resample(torch.from_numpy(pixels)[None].transpose(2, 3).float(), rows.repeat(1, 2, 1), whole_width)[0]
    np.testing.assert_allclose(centre, resized[:, :16, 8:24], atol=1e-3)


@pytest.mark.parametrize(("extent", "size"), [(50, 16), (10, 16), (16, 16), (33.3, 7)])
def test_weights_of_each_output_pixel_sum_to_one(extent, size):
    weights = filter_weights(span(3, extent, 3, 3 + extent), size, 64)
    assert weights.shape == (1, size, 64)
    np.testing.assert_allclose(weights.sum(2), 1, rtol=1e-5)
    assert (weights >= 0).all()


def test_a_backward_axis_is_the_forward_one_reversed():
    forward = filter_weights(span(3, 20, 3, 23), 8, 32)
    backward = filter_weights(span(3, 20, 3, 23, backwards=1), 8, 32)
    np.testing.assert_allclose(backward, forward.flip(1), atol=1e-6)


def test_regions_are_cut_out_of_images_of_different_shapes():
    first, second = image(5, 7), image(9, 4) // 2
    pool = torch.from_numpy(np.concatenate([first.reshape(-1, 3), second.reshape(-1, 3)]))
    corners = torch.tensor([1 * 7 + 2, 35 + 3 * 4 + 1])
    regions = cut_regions(pool, corners, torch.tensor([7, 4]), (2, 3))
    np.testing.assert_array_equal(regions[0], first[1:3, 2:5])
    np.testing.assert_array_equal(regions[1], second[3:5, 1:4])


def test_a_region_at_the_end_of_the_pool_does_not_leave_it():
    pool = torch.arange(6, dtype=torch.uint8)[:, None]
    region = cut_regions(pool, torch.tensor([4]), torch.tensor([3]), (2, 3))
    assert region[0, 0, :2, 0].tolist() == [4, 5]
