"""The t-SNE map: groups stay apart, seeds repeat it, small and collapsed parts get one too."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.neighbors import KNeighborsClassifier

from medssl_evaluators._map import principal_axes
from medssl_evaluators.tsne import TSNE


def observe(x, seed=0, **options):
    observer = TSNE(TSNE.Config(**options), seed).fit(None, None)
    return observer.observe(x), observer


def test_principal_axes_equal_scikit_learns_up_to_sign(blobs):
    x = blobs(40, 0).x
    unit = (x / x.norm(dim=1, keepdim=True)).numpy()
    expected, found = PCA(n_components=5, svd_solver="full").fit_transform(unit), principal_axes(x, 5)
    np.testing.assert_allclose(np.abs(found), np.abs(expected), atol=1e-5)


def test_principal_axes_of_equal_features_have_equal_signs(blobs):
    x = blobs(40, 0).x
    turned = x[torch.randperm(40, generator=torch.Generator().manual_seed(0))]
    found = {tuple(np.round(row, 4)) for row in principal_axes(turned, 3)}
    assert found == {tuple(np.round(row, 4)) for row in principal_axes(x, 3)}


def test_groups_that_lie_apart_lie_apart_on_the_map(blobs):
    part = blobs(90, 0, distance=8)
    seen, _ = observe(part.x)
    xy = seen.arrays["xy"]
    assert xy.shape == (90, 2)
    assert xy.dtype == np.float32
    neighbour = KNeighborsClassifier(2).fit(xy, part.y)  # the nearest is the point itself
    assert neighbour.score(xy, part.y) > 0.95
    assert seen.values["kl_divergence"] > 0


def test_equal_seeds_give_equal_maps(blobs):
    x = blobs(30, 0).x
    assert np.array_equal(*(observe(x, seed=5)[0].arrays["xy"] for _ in range(2)))


@pytest.mark.parametrize(("n", "perplexity"), [(7, 2.0), (91, 30.0)])
def test_perplexity_is_at_most_a_third_of_the_other_points(blobs, n, perplexity):
    assert observe(blobs(n, 0).x)[0].values["perplexity"] == perplexity


@pytest.mark.parametrize("x", [torch.ones(20, 6), torch.zeros(20, 6), torch.rand(3, 6), torch.rand(1, 1)])
def test_parts_too_small_or_all_alike_get_their_principal_components(x):
    seen, observer = observe(x)
    assert seen.arrays["xy"].shape == (len(x), 2)
    assert np.isfinite(seen.arrays["xy"]).all()
    assert "principal components" in observer.notes[0]
