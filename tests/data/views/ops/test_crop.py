"""Random crops beside torchvision's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.transforms import RandomResizedCrop

from medssl.data.views.draws import uniforms
from medssl.data.views.ops.crop import Crop, crop_boxes


def table(count: int) -> np.ndarray:
    return uniforms(0, 0, np.arange(1), np.arange(count), Crop.columns.stop)[0]


def shapes(count: int, height: int, width: int) -> np.ndarray:
    return np.tile([height, width], (count, 1))


def torchvision_boxes(count: int, height: int, width: int, scale: tuple, ratio: tuple) -> np.ndarray:
    """(count, 4) top, left, height, width."""
    image = torch.empty(1, height, width)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return np.array([RandomResizedCrop.get_params(image, list(scale), list(ratio)) for _ in range(count)])


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """Kolmogorov and Smirnov's largest distance between two distributions."""
    points = np.concatenate([a, b])
    cumulative = [np.searchsorted(np.sort(x), points, side="right") / len(x) for x in (a, b)]
    return float(np.abs(cumulative[0] - cumulative[1]).max())


@pytest.mark.parametrize(
    ("height", "width", "scale", "ratio"),
    [(100, 120, (0.2, 1.0), (3 / 4, 4 / 3)), (64, 64, (0.08, 1.0), (3 / 4, 4 / 3)), (90, 300, (0.5, 1.0), (0.5, 2.0))],
)
def test_crops_are_distributed_as_torchvisions(height, width, scale, ratio):
    count = 2000
    boxes = crop_boxes(table(count), shapes(count, height, width), scale, ratio)
    mine = np.stack([boxes["top"], boxes["left"], boxes["height"], boxes["width"]], 1)
    theirs = torchvision_boxes(count, height, width, scale, ratio)
    limit = 1.95 * np.sqrt(2 / count)  # exceeded by chance once in 1,000 seeds
    for name, f in {
        "area": lambda b: b[:, 2] * b[:, 3],
        "ratio": lambda b: b[:, 3] / b[:, 2],
        "top": lambda b: b[:, 0],
        "left": lambda b: b[:, 1],
    }.items():
        assert distance(f(mine), f(theirs)) < limit, name


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 50), (50, 1), (7, 300), (300, 7), (2, 3)])
def test_crops_lie_inside_images_of_any_shape(height, width):
    boxes = crop_boxes(table(500), shapes(500, height, width), (0.08, 1.0), (3 / 4, 4 / 3))
    assert boxes["top"].min() >= 0
    assert boxes["left"].min() >= 0
    assert min(boxes["height"].min(), boxes["width"].min()) >= 1
    assert (boxes["top"] + boxes["height"]).max() <= height
    assert (boxes["left"] + boxes["width"]).max() <= width


@pytest.mark.parametrize(("height", "width"), [(10, 200), (200, 10)])
def test_where_no_crop_fits_the_largest_centred_one_is_taken_as_torchvision_does(height, width):
    scale, ratio = (0.9, 1.0), (3 / 4, 4 / 3)
    boxes = crop_boxes(table(3), shapes(3, height, width), scale, ratio)
    expected = torchvision_boxes(3, height, width, scale, ratio)
    np.testing.assert_array_equal(np.stack([boxes["top"], boxes["left"], boxes["height"], boxes["width"]], 1), expected)


def test_full_scale_and_square_ratio_take_the_whole_image():
    boxes = crop_boxes(table(5), shapes(5, 40, 40), (1.0, 1.0), (1.0, 1.0))
    assert set(boxes["top"]) == set(boxes["left"]) == {0}
    assert set(boxes["height"]) == set(boxes["width"]) == {40}
