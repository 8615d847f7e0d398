"""Augmentations: ranges that cannot be drawn from are refused, wherever they come from."""

from __future__ import annotations

import dataclasses

import pytest

from medssl.catalog import load_catalog
from medssl.contracts import Augmentation
from medssl.errors import OptionError
from medssl.recipe import resolve
from medssl.recipe.options import build

RANGES = {
    "crop_scale": "0 < low <= high <= 1",
    "crop_ratio": "0 < low <= high",
    "window": "low < high",
    "gamma_range": "0 < low <= high",
    "blur_sigma": "0 < low <= high",
    "noise_sigma": "0 <= low <= high",
}
NAMED = {"method": "simclr", "dataset": "phantom"}


def test_every_range_of_an_augmentation_is_checked():
    default = Augmentation()
    pairs = {f.name for f in dataclasses.fields(Augmentation) if isinstance(getattr(default, f.name), tuple)}
    assert pairs | {"window"} == set(RANGES)


@pytest.mark.parametrize("name", RANGES)
def test_a_range_turned_round_is_refused_by_its_name(name):
    with pytest.raises(ValueError, match=rf"{name}: expected \[low, high\] with {RANGES[name]}, got \[0.9, 0.1\]"):
        Augmentation(**{name: (0.9, 0.1)})


@pytest.mark.parametrize(
    ("name", "value"),
    [("crop_scale", (0.0, 0.5)), ("crop_scale", (0.5, 1.1)), ("crop_ratio", (0.0, 1.0)), ("noise_sigma", (-0.1, 0.1))],
)
def test_a_range_beyond_what_it_may_be_is_refused(name, value):
    with pytest.raises(ValueError, match=f"{name}: expected"):
        Augmentation(**{name: value})


def test_one_value_is_a_range_and_noise_may_begin_at_none():
    built = Augmentation(crop_scale=(1, 1), noise_sigma=(0, 0), gamma_range=(2, 2))
    assert built.window is None


def test_several_wrong_ranges_come_in_one_message_that_names_the_section():
    with pytest.raises(OptionError) as caught:
        build(Augmentation, {"crop_scale": [0.9, 0.1], "blur_sigma": [0, 1]}, "views")
    assert str(caught.value) == (
        "views: crop_scale: expected [low, high] with 0 < low <= high <= 1, got [0.9, 0.1]; "
        "blur_sigma: expected [low, high] with 0 < low <= high, got [0.0, 1.0]."
    )


@pytest.mark.parametrize(
    ("fields", "name"),
    [({"rotation": 181}, "rotation"), ({"window_width": 1}, "window_width"), ({"stain": 1.5}, "stain")],
)
def test_other_fields_have_bounds(fields, name):
    with pytest.raises(OptionError, match=f"views: {name}: expected number"):
        build(Augmentation, fields, "views")


# ----------------------------------------------------------------------------------------------- where they come from


def test_a_recipe_file_gives_fields_over_the_datasets_augmentation():
    catalog = load_catalog()
    recipe = resolve(catalog, [NAMED, {"augmentation": {"stain": 0.5, "window": [10, 200]}}])
    assert recipe.views.augmentation == "histology"
    assert (recipe.augmentation.stain, recipe.augmentation.rotate90) == (0.5, 0.75)
    assert recipe.augmentation.window == (10, 200)
    assert recipe.data.overridden == {}


def test_a_users_recipe_serves_a_dataset_that_names_it_and_a_recipe_for_one_dataset(tmp_path):
    lab = tmp_path / "lab.yaml"
    lab.write_text("""
augmentations:
  ours: {base: histology_stain, stain_scale: 0.3}
recipes:
  medssl: {datasets: {phantom: {augmentation: {rotation: 20}}}}
""")
    catalog = load_catalog(lab)
    named = resolve(catalog, [{"method": "simclr", "dataset": {"plugin": "folder", "augmentation": "ours"}}])
    assert (named.augmentation.stain, named.augmentation.stain_scale, named.augmentation.hue) == (1, 0.3, 0)
    assert resolve(catalog, [NAMED]).augmentation.rotation == 20


def test_what_the_user_set_wins_over_what_a_method_asks():
    assert resolve(load_catalog(), [NAMED, {"views": {"rotation": "5"}}]).data.overridden == {"rotation": 5}
