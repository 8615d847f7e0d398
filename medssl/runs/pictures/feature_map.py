"""A two-dimensional map of a run's test features, from an evaluator or t-SNE, as in figure 4 of the ICIP 2023 paper.

n test images, F features.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from medssl.data.loading import LoadedPart
from medssl.results.directory import RunDirectory, read_arrays
from medssl.results.pictures import FeatureMap, read_pictures

__all__ = ["make_map"]

_POINTS = 500  # t-SNE of 500 images takes 3 s on one core of 2026, and the page has a small picture of each
_FEWEST = 10  # minimum number of images for a map

Array = np.ndarray[Any, np.dtype[Any]]


def make_map(
    test: tuple[LoadedPart, Tensor], arrays: Mapping[str, Array], adopted: RunDirectory | None = None
) -> FeatureMap | None:
    """Return a map of up to 500 test images; ``None`` if there are too few, or all features are equal.

    Args:
        test: The test part and its features ``(n, F)``.
        arrays: Arrays of the evaluators, one row per test image. An array ``(n, 2)`` whose name ends in ``_xy`` is a
            map.
        adopted: The run whose encoder this run reuses; its map is reused if the features are equal.
    """
    part, x = test
    chosen = np.sort(np.random.default_rng(0).permutation(len(part))[:_POINTS])
    own = next((name for name, array in arrays.items() if _is_map(name, array)), None)
    if own is not None:
        return _map(part, chosen, own.removesuffix("_xy"), arrays[own][chosen])
    if len(part) < _FEWEST:
        return None
    if adopted is not None and (found := _of_equal_features(adopted, part, x.numpy())) is not None:
        return _map(part, chosen, found.how, found.xy)
    xy = _tsne(x.numpy()[chosen].astype(np.float64))
    return None if xy is None else _map(part, chosen, "t-SNE", xy)


def _is_map(name: str, array: Array) -> bool:
    wide = name.endswith("_xy") and array.ndim == 2 and array.shape[1] == 2 and len(array) > 2
    return wide and bool(np.isfinite(array).all())


def _map(part: LoadedPart, chosen: Array, how: str, xy: Array) -> FeatureMap:
    labels = part.y.numpy()
    return FeatureMap(
        how=how,
        ids=tuple(part.ids[i] for i in chosen.tolist()),
        label=tuple(labels[chosen].tolist()),
        xy=np.asarray(xy, np.float64),
        of=len(part),
    )


def _of_equal_features(adopted: RunDirectory, part: LoadedPart, x: Array) -> FeatureMap | None:
    """Return the t-SNE map of another run if it has the same features."""
    theirs = read_arrays(adopted.features)
    pictures = read_pictures(adopted.pictures)
    if pictures is None or pictures.map is None or pictures.map.how != "t-SNE":
        return None
    same = theirs.get("test_id", np.empty(0)).tolist() == list(part.ids) and np.array_equal(theirs["test_x"], x)
    return pictures.map if same else None


def _tsne(x: Array) -> Array | None:
    """Map features ``(n, F)`` to a plane by their directions; ``None`` if all are equal."""
    from sklearn import decomposition, manifold  # noqa: PLC0415  (saves a second if the run already has a map)

    x = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    if x.std(axis=0).max() < 1e-9:  # collapsed to one point
        return None
    pca: Any = decomposition.PCA
    tsne: Any = manifold.TSNE
    reduced = pca(min(50, *x.shape), random_state=0).fit_transform(x)
    perplexity = min(30.0, (len(x) - 1) / 3)  # scikit-learn's default
    return np.asarray(tsne(perplexity=perplexity, init="pca", random_state=0).fit_transform(reduced))
