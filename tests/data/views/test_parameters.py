"""From uniform random numbers to the parameters of views."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torchvision.transforms import RandomResizedCrop

from medssl.contracts import Augmentation
from medssl.data.views.draws import uniforms
from medssl.data.views.parameters import BRIGHTNESS, COLUMNS, CONTRAST, HUE, SATURATION, columns, crop_boxes, draw

NOTHING = Augmentation(horizontal_flip=0, jitter=0, greyscale=0, blur=0)


def table(count: int, seed: int = 0) -> np.ndarray:
    return uniforms(seed, 0, np.arange(1), np.arange(count), COLUMNS)[0]


def shapes(count: int, height: int = 100, width: int = 120) -> np.ndarray:
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
    mine = np.stack([boxes.top, boxes.left, boxes.height, boxes.width], 1)
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
    assert boxes.top.min() >= 0
    assert boxes.left.min() >= 0
    assert min(boxes.height.min(), boxes.width.min()) >= 1
    assert (boxes.top + boxes.height).max() <= height
    assert (boxes.left + boxes.width).max() <= width


@pytest.mark.parametrize(("height", "width"), [(10, 200), (200, 10)])
def test_where_no_crop_fits_the_largest_centred_one_is_taken_as_torchvision_does(height, width):
    scale, ratio = (0.9, 1.0), (3 / 4, 4 / 3)
    boxes = crop_boxes(table(3), shapes(3, height, width), scale, ratio)
    expected = torchvision_boxes(3, height, width, scale, ratio)
    np.testing.assert_array_equal(np.stack([boxes.top, boxes.left, boxes.height, boxes.width], 1), expected)


def test_full_scale_and_square_ratio_take_the_whole_image():
    boxes = crop_boxes(table(5), shapes(5, 40, 40), (1.0, 1.0), (1.0, 1.0))
    assert set(boxes.top) == set(boxes.left) == {0}
    assert set(boxes.height) == set(boxes.width) == {40}


@pytest.mark.parametrize(
    ("field", "drawn"),
    [
        ("horizontal_flip", lambda p: p.mirror),
        ("vertical_flip", lambda p: p.upend),
        ("jitter", lambda p: p.jitter),
        ("greyscale", lambda p: p.grey),
        ("blur", lambda p: p.sigma > 0),
        ("solarise", lambda p: p.solarise < 1),
        ("window_jitter", lambda p: (p.window != [0, 255]).any(1)),
        ("gamma", lambda p: p.gamma != 1 if p.gamma is not None else np.zeros(1)),
        ("stain", lambda p: (p.stain[:, 0] != 1).any(1) if p.stain is not None else np.zeros(1)),
        ("noise", lambda p: p.noise > 0 if p.noise is not None else np.zeros(1)),
    ],
)
@pytest.mark.parametrize("probability", [0.0, 0.3, 1.0])
def test_an_operation_is_drawn_with_its_probability(field, drawn, probability):
    count = 4000
    recipe = dataclasses.replace(NOTHING, **{field: probability})
    parameters = draw(table(count), shapes(count), recipe, 64, np.tile([0.0, 255.0], (count, 1)))
    share = drawn(parameters).mean()
    assert abs(share - probability) <= 4 * np.sqrt(probability * (1 - probability) / count)


def test_three_quarter_turns_are_equally_likely():
    count = 6000
    parameters = draw(table(count), shapes(count), dataclasses.replace(NOTHING, rotate90=0.75), 64)
    kinds = parameters.mirror * 4 + parameters.upend * 2 + parameters.transpose
    none, one, three, two = ((kinds == kind).mean() for kind in (0, 5, 3, 6))
    assert [none, one, two, three] == pytest.approx([0.25] * 4, abs=0.025)
    assert none + one + two + three == 1


def test_factors_fill_their_ranges_and_are_neutral_where_not_drawn():
    count = 4000
    strong = dataclasses.replace(NOTHING, jitter=0.5, brightness=0.4, contrast=1.5, saturation=0.2, hue=0.1)
    parameters = draw(table(count), shapes(count), strong, 64)
    factors = parameters.factors[parameters.jitter]
    for kind, low, high in (
        (BRIGHTNESS, 0.6, 1.4),
        (CONTRAST, 0.0, 2.5),
        (SATURATION, 0.8, 1.2),
        (HUE, -0.1, 0.1),
    ):
        assert factors[:, kind].min() == pytest.approx(low, abs=0.01 * (high - low))
        assert factors[:, kind].max() == pytest.approx(high, abs=0.01 * (high - low))
    assert (parameters.factors[~parameters.jitter] == [1, 1, 1, 0]).all()


def test_all_24_orders_of_the_jitter_are_equally_likely():
    count = 9600
    order = draw(table(count), shapes(count), NOTHING, 64).order
    assert (np.sort(order, 1) == np.arange(4)).all()
    counts = np.unique(order, axis=0, return_counts=True)[1]
    assert len(counts) == 24
    assert ((counts - 400) ** 2 / 400).sum() < 60  # 23 degrees of freedom: exceeded by chance once in 30,000 seeds


def test_blur_is_scaled_with_the_side_of_the_view():
    recipe = dataclasses.replace(NOTHING, blur=1.0, blur_sigma=(0.1, 2.0))
    large, small = (draw(table(100), shapes(100), recipe, size).sigma for size in (224, 56))
    np.testing.assert_allclose(small, large / 4)
    assert large.min() >= 0.1
    assert large.max() <= 2.0


def test_samples_draw_parameters_of_their_own():
    parameters = draw(table(64), shapes(64), Augmentation(), 64)
    assert len(np.unique(parameters.boxes.left)) > 10
    assert len(np.unique(parameters.factors[parameters.jitter][:, BRIGHTNESS])) == parameters.jitter.sum()


def test_domain_operations_fill_their_ranges():
    count = 4000
    recipe = dataclasses.replace(
        NOTHING,
        rotation=20,
        window_jitter=1,
        window_level=0.2,
        window_width=0.3,
        gamma=1,
        stain=1,
        stain_scale=0.1,
        stain_shift=0.3,
        noise=1,
        noise_sigma=(0.02, 0.06),
    )
    p = draw(table(count), shapes(count), recipe, 64, np.tile([100.0, 300.0], (count, 1)))
    width, middle = p.window[:, 1] - p.window[:, 0], p.window.mean(1)
    for values, low, high in (
        (np.rad2deg(p.angle), -20, 20),
        (width, 140, 260),
        (middle, 160, 240),
        (np.log(p.gamma), np.log(0.7), np.log(1.5)),
        *((p.stain[:, 0, i], 0.9, 1.1) for i in range(3)),
        *((p.stain[:, 1, i], -0.3, 0.3) for i in range(3)),
        (p.noise, 0.02, 0.06),
    ):
        assert values.min() == pytest.approx(low, abs=0.01 * (high - low))
        assert values.max() == pytest.approx(high, abs=0.01 * (high - low))
        assert values.mean() == pytest.approx((low + high) / 2, abs=0.03 * (high - low))


def test_operations_that_are_off_draw_nothing_and_change_no_other_draw():
    few = columns(Augmentation())
    assert few < columns(Augmentation(noise=0.1)) == COLUMNS
    count = 50
    plain = draw(table(count)[:, :few], shapes(count), Augmentation(), 64)
    domain = Augmentation(rotation=10, window_jitter=1, gamma=1, stain=1, noise=1)
    rich = draw(table(count), shapes(count), domain, 64, np.tile([0.0, 255.0], (count, 1)))
    assert [plain.angle, plain.window, plain.gamma, plain.stain, plain.noise, plain.noise_start] == [None] * 6
    for field in ("mirror", "upend", "transpose", "jitter", "order", "factors", "grey", "sigma", "solarise"):
        np.testing.assert_array_equal(getattr(plain, field), getattr(rich, field))
    for field in ("top", "left", "height", "width"):
        np.testing.assert_array_equal(getattr(plain.boxes, field), getattr(rich.boxes, field))


def test_the_table_keeps_its_columns():
    """A change here changes every view of every run: published numbers could no longer be reproduced."""
    u = uniforms(1, 2, np.array([1]), np.array([2]), COLUMNS)[0]
    p = draw(u, shapes(1), Augmentation(rotate90=0.5, solarise=0.5), 64)
    assert [int(x[0]) for x in (p.boxes.top, p.boxes.left, p.boxes.height, p.boxes.width)] == [34, 32, 62, 79]
    assert [bool(x[0]) for x in (p.mirror, p.upend, p.transpose, p.jitter, p.grey)] == [True, True, True, True, False]
    assert p.order[0].tolist() == [HUE, CONTRAST, BRIGHTNESS, SATURATION]
    np.testing.assert_allclose(p.factors[0], [1.06176453, 1.11889825, 1.034149, -0.01508207], atol=1e-7)
    assert (p.sigma[0], p.solarise[0]) == (pytest.approx(0.43093053), 0.5)
    domain = Augmentation(rotation=90, window_jitter=1, gamma=1, stain=1, noise=1)
    p = draw(u, shapes(1), domain, 64, np.array([[0.0, 255.0]]))
    np.testing.assert_allclose([*p.angle, *p.window[0]], [0.97365255, 1.8035413, 287.43524802], rtol=1e-7)
    np.testing.assert_allclose(p.stain[0, 0], [0.99674177, 1.02479565, 1.00670683], rtol=1e-7)
    np.testing.assert_allclose(p.stain[0, 1], [0.01226403, -0.01942213, 0.03134125], rtol=1e-6)
    np.testing.assert_allclose([*p.gamma, *p.noise, *p.noise_start], [0.72059585, 0.01469202, 425960], rtol=1e-6)
