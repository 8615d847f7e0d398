"""What holds for every operation: its fields, its columns, its probability."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from medssl.contracts import Augmentation
from medssl.data.views import ops
from medssl.data.views.draws import uniforms
from medssl.data.views.ops import OPERATIONS
from medssl.data.views.ops.jitter import BRIGHTNESS, CONTRAST, HUE, SATURATION

COLUMNS = 52
DOMAIN = Augmentation(rotation=10, window_jitter=1, gamma=1, stain=1, noise=1)
EVERYTHING = dataclasses.replace(DOMAIN, jitter=1, greyscale=1, blur=1, solarise=1)


def test_the_fields_of_the_operations_are_those_of_an_augmentation_in_their_order():
    found = [name for operation in OPERATIONS for name in operation.fields]
    assert found == [field.name for field in dataclasses.fields(Augmentation)]


class Watched:
    """A recipe that notes which of its fields are read."""

    def __init__(self, recipe: Augmentation) -> None:
        self.recipe, self.read = recipe, set()

    def __getattr__(self, name: str):
        self.read.add(name)
        return getattr(self.recipe, name)


@pytest.mark.parametrize("kind", OPERATIONS)
def test_an_operation_reads_its_own_fields_and_all_of_them(kind, scene):
    watched = Watched(EVERYTHING)
    kind.of(watched, scene)
    assert watched.read == set(kind.fields)
    assert kind.switch is None or kind.switch in kind.fields


def test_no_two_operations_share_a_column_and_none_is_left_over():
    columns = sorted(i for operation in OPERATIONS for i in range(operation.columns.start, operation.columns.stop))
    assert columns == list(range(COLUMNS))


def test_no_two_operations_draw_parameters_of_one_name(draw):
    drawn = draw(2, EVERYTHING)
    u = np.zeros((COLUMNS, 2))
    names = [name for each in drawn.group.operations for name in each.draw(u[each.columns], np.arange(2))]
    assert len(names) == len(set(names)) == len(drawn.p)
    assert len(drawn.group.operations) == len(OPERATIONS)


@pytest.mark.parametrize("kind", OPERATIONS)
def test_the_weights_of_a_view_that_draws_nothing_are_neutral(kind, draw):
    """At the upper end of the numbers no probability below one draws an operation."""
    never = dataclasses.replace(EVERYTHING, jitter=0.9, greyscale=0.9, blur=0.9, solarise=0.9)
    u = np.full((1, COLUMNS), 1 - 2.0**-24)
    drawn = draw(recipe=never, u=u)
    (operation,) = (each for each in drawn.group.operations if isinstance(each, kind))
    table = operation.table(drawn.p)
    assert table.shape == (len(operation.neutral()), 1) == (len(operation.possible()), 1)
    np.testing.assert_array_equal(table[:, 0], operation.neutral())


@pytest.mark.parametrize("kind", [kind for kind in OPERATIONS if kind.coloured])
def test_an_operation_on_colours_is_left_out_for_grey_images(kind, draw):
    assert kind in {type(each) for each in draw(1, EVERYTHING).group.operations}
    assert kind not in {type(each) for each in draw(1, EVERYTHING, channels=1).group.operations}


def test_what_an_operation_says_of_itself_is_what_is_on():
    recipe = Augmentation(window_level=0.3, gamma=0.1, blur=0)
    said = {name: value for kind in OPERATIONS for name, value in kind.described(recipe).items()}
    assert {"window_level", "window", "window_jitter", "blur", "blur_sigma", "rotation"} & set(said) == set()
    assert (said["gamma"], said["gamma_range"], said["hue"]) == (0.1, (0.7, 1.5), 0.1)


DRAWN = {
    "horizontal_flip": lambda p: p["mirror"],
    "vertical_flip": lambda p: p["upend"],
    "jitter": lambda p: p["jitter"],
    "greyscale": lambda p: p["grey"],
    "blur": lambda p: p["sigma"] > 0,
    "solarise": lambda p: p["solarise"] < 1,
    "window_jitter": lambda p: (p["window"] != [0, 255]).any(1),
    "gamma": lambda p: p["gamma"] != 1,
    "stain": lambda p: (p["stain"][:, 0] != 1).any(1),
    "noise": lambda p: p["noise"] > 0,
}
ALWAYS = {"horizontal_flip", "vertical_flip"}  # drawn at probability zero as well: every view has an orientation


@pytest.mark.parametrize("field", DRAWN)
@pytest.mark.parametrize("probability", [0.0, 0.3, 1.0])
def test_an_operation_is_drawn_with_its_probability(field, probability, draw):
    count = 4000
    p = draw(count, **{field: probability}).p
    if probability == 0 and field not in ALWAYS:
        with pytest.raises(KeyError):
            DRAWN[field](p)
    else:
        share = DRAWN[field](p).mean()
        assert abs(share - probability) <= 4 * np.sqrt(probability * (1 - probability) / count)


def test_samples_draw_parameters_of_their_own(draw):
    p = draw(64, Augmentation()).p
    assert len(np.unique(p["left"])) > 10
    assert len(np.unique(p["factors"][p["jitter"]][:, BRIGHTNESS])) == p["jitter"].sum()


def test_domain_operations_fill_their_ranges(draw):
    p = draw(
        4000,
        rotation=20,
        window=(100, 300),
        window_jitter=1,
        window_level=0.2,
        window_width=0.3,
        gamma=1,
        stain=1,
        stain_scale=0.1,
        stain_shift=0.3,
        noise=1,
        noise_sigma=(0.02, 0.06),
    ).p
    width, middle = p["window"][:, 1] - p["window"][:, 0], p["window"].mean(1)
    for values, low, high in (
        (np.rad2deg(p["angle"]), -20, 20),
        (width, 140, 260),
        (middle, 160, 240),
        (np.log(p["gamma"]), np.log(0.7), np.log(1.5)),
        *((p["stain"][:, 0, i], 0.9, 1.1) for i in range(3)),
        *((p["stain"][:, 1, i], -0.3, 0.3) for i in range(3)),
        (p["noise"], 0.02, 0.06),
    ):
        assert values.min() == pytest.approx(low, abs=0.01 * (high - low))
        assert values.max() == pytest.approx(high, abs=0.01 * (high - low))
        assert values.mean() == pytest.approx((low + high) / 2, abs=0.03 * (high - low))


def test_operations_that_are_off_draw_nothing_and_change_no_other_draw(draw):
    plain, rich = draw(50, Augmentation()), draw(50, DOMAIN)
    assert plain.group.columns < rich.group.columns == COLUMNS
    assert set(rich.p) - set(plain.p) == {"angle", "window", "gamma", "stain", "noise", "noise_start"}
    for name, values in plain.p.items():
        np.testing.assert_array_equal(values, rich.p[name])
    few = uniforms(0, 0, np.arange(1), np.arange(50), plain.group.columns)[0]
    for name, values in draw(recipe=Augmentation(), u=few).p.items():
        np.testing.assert_array_equal(values, plain.p[name])


def test_the_table_keeps_its_columns(draw):
    """A change here changes every view of every run: published numbers could no longer be reproduced."""
    u = uniforms(1, 2, np.array([1]), np.array([2]), COLUMNS)[0]
    p = draw(recipe=Augmentation(rotate90=0.5, solarise=0.5), u=u).p
    assert [int(p[name][0]) for name in ("top", "left", "height", "width")] == [34, 32, 62, 79]
    drawn = [bool(p[name][0]) for name in ("mirror", "upend", "transpose", "jitter", "grey")]
    assert drawn == [True, True, True, True, False]
    assert p["order"][0].tolist() == [HUE, CONTRAST, BRIGHTNESS, SATURATION]
    np.testing.assert_allclose(p["factors"][0], [1.06176453, 1.11889825, 1.034149, -0.01508207], atol=1e-7)
    assert (p["sigma"][0], p["solarise"][0]) == (pytest.approx(0.43093053), 0.5)
    p = draw(recipe=dataclasses.replace(DOMAIN, rotation=90), u=u).p
    np.testing.assert_allclose([*p["angle"], *p["window"][0]], [0.97365255, 1.8035413, 287.43524802], rtol=1e-7)
    np.testing.assert_allclose(p["stain"][0, 0], [0.99674177, 1.02479565, 1.00670683], rtol=1e-7)
    np.testing.assert_allclose(p["stain"][0, 1], [0.01226403, -0.01942213, 0.03134125], rtol=1e-6)
    np.testing.assert_allclose(
        [*p["gamma"], *p["noise"], *p["noise_start"]], [0.72059585, 0.01469202, 425960], rtol=1e-6
    )


def test_every_file_holds_one_operation_of_the_list():
    files = {path.stem for path in Path(ops.__file__).parent.glob("*.py")} - {"__init__"}
    assert sorted(kind.__module__.rpartition(".")[2] for kind in OPERATIONS) == sorted(files)
