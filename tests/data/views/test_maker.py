"""A recipe's views are made in one place, and as the recipe says."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from medssl.catalog import load_catalog
from medssl.contracts import HALF, ViewGroup, ViewSpec
from medssl.data.views.maker import ViewMaker
from medssl.recipe import resolve


def recipe_with(**settings):
    given = {"method": "simclr", "dataset": "phantom", "views": {"normalisation": "half", "image_size": 16}}
    return resolve(load_catalog(), [given, settings])


def store(pixels, white=65535.0):
    return SimpleNamespace(
        dtype=np.dtype(np.uint16),
        channels=1,
        shapes=np.array([[16, 16]], dtype=np.int32),
        levels=np.array([[0.0, white]]),
        pixels=pixels,
    )


@pytest.mark.parametrize("section", ["views", "augmentation"])
def test_plain_views_use_the_window_of_the_recipe(section):
    recipe = recipe_with(**{section: {"window": [1000, 2000]}})
    assert recipe.card.preprocessing == HALF  # an earlier recipe's views.normalisation
    maker = ViewMaker.of(recipe.data, store(np.full(256, 1500, dtype=np.uint16)), "cpu", recipe.card.preprocessing)
    view = maker.plain(np.array([0]))(torch.tensor([0]))
    assert view.unique().tolist() == pytest.approx([0.0], abs=1e-6)  # half of white, normalised by 0.5 and 0.5


def test_random_views_follow_seed_size_and_specification():
    recipe = recipe_with(seed=3)
    pixels = np.random.default_rng(0).integers(0, 65535, 256).astype(np.uint16)
    one, same, other = (ViewMaker.of(r.data, store(pixels), "cpu") for r in (recipe, recipe, recipe_with(seed=4)))
    spec = ViewSpec((ViewGroup(count=2), ViewGroup(count=1, scale=0.5)))
    a, b, c = (maker.random([0], spec)(torch.tensor([0])) for maker in (one, same, other))
    assert [view.shape for view in a] == [(1, 3, 16, 16), (1, 3, 16, 16), (1, 3, 8, 8)]
    assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
    assert not torch.equal(a[0], c[0])
