"""The UMAP map; with umap-learn where it is installed, and with a stand-in for what is passed on to it."""

from __future__ import annotations

import sys
from types import ModuleType

import numpy as np
import pytest
import torch

from medssl.errors import PluginError
from medssl_evaluators.umap import UMAP


@pytest.fixture
def stand_in(monkeypatch):
    """A module umap whose map is the start, and which keeps what it was given."""
    module = ModuleType("umap")
    module.given = {}

    class Fake:
        def __init__(self, **given):
            module.given.update(given)

        def fit_transform(self, x):
            return module.given["init"].astype(np.float64)

    module.UMAP = Fake
    monkeypatch.setitem(sys.modules, "umap", module)
    return module


def observe(x, seed=0, **options):
    observer = UMAP(UMAP.Config(**options), seed).fit(None, None)
    return observer.observe(x), observer


def test_missing_package_is_named_with_the_command_that_brings_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)  # importing it now fails
    with pytest.raises(PluginError, match=r"needs the package umap-learn.*pip install medssl\[umap\].*'tsne'"):
        UMAP(UMAP.Config(), 0).fit(None, None)


def test_options_and_seed_are_passed_on(blobs, stand_in):
    seen, _ = observe(blobs(40, 0).x, seed=7, neighbours=9, min_dist=0.5)
    assert {name: stand_in.given[name] for name in ("n_neighbors", "min_dist", "random_state", "n_jobs")} == {
        "n_neighbors": 9,
        "min_dist": 0.5,
        "random_state": 7,
        "n_jobs": 1,
    }
    assert seen.arrays["xy"].shape == (40, 2)
    assert seen.arrays["xy"].dtype == np.float32


def test_neighbours_are_at_most_all_other_points(blobs, stand_in):
    assert observe(blobs(10, 0).x)[0].values == {"neighbours": 9.0}


@pytest.mark.parametrize("x", [torch.ones(20, 6), torch.rand(3, 6)])
def test_parts_too_small_or_all_alike_get_their_principal_components(x, stand_in):
    seen, observer = observe(x)
    assert np.isfinite(seen.arrays["xy"]).all()
    assert "principal components" in observer.notes[0]
    assert stand_in.given == {}


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # of numba and of umap-learn
def test_groups_that_lie_apart_lie_apart_on_the_real_map(blobs):
    pytest.importorskip("umap", reason="umap-learn is not installed")
    part = blobs(90, 0, distance=8)
    xy, again = (torch.from_numpy(observe(part.x, seed=1)[0].arrays["xy"]) for _ in range(2))
    assert torch.equal(xy, again)
    nearest = torch.cdist(xy, xy).fill_diagonal_(torch.inf).argmin(dim=1)
    assert (part.y[nearest] == part.y).float().mean() > 0.95
