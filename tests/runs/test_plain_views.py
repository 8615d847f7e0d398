"""The window of a recipe reaches evaluation."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from medssl.catalog import load_catalog
from medssl.recipe import resolve
from medssl.runs.features import plain_views


@pytest.mark.parametrize("section", ["views", "augmentation"])
def test_evaluation_sees_the_window_of_the_recipe(section):
    store = SimpleNamespace(
        dtype=np.dtype(np.uint16),
        channels=1,
        shapes=np.array([[16, 16]], dtype=np.int32),
        levels=np.array([[0.0, 65535.0]]),
        pixels=np.full(256, 1500, dtype=np.uint16),
    )
    given = {"method": "simclr", "dataset": "phantom", "views": {"normalisation": "half", "image_size": 16}}
    recipe = resolve(load_catalog(), [given, {section: {"window": [1000, 2000]}}])
    machine = SimpleNamespace(device=torch.device("cpu"))
    view = plain_views(recipe, SimpleNamespace(store=store), np.array([0]), machine)(torch.tensor([0]))
    assert view.unique().tolist() == pytest.approx([0.0], abs=1e-6)  # half of white, normalised by 0.5 and 0.5
