"""Frozen features of every part, computed once."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from medssl.contracts import Part, ViewGroup, ViewSpec
from medssl.data.loading import Data, LoadedPart
from medssl.data.views import PlainViews, Views
from medssl.evaluation.features import extract
from medssl.io.files import write_atomic_with
from medssl.recipe import Recipe
from medssl.results.directory import RunDirectory
from medssl.train.encoder.backbones import Encoder
from medssl.train.loop.seeding import derive_seed
from medssl.train.machine.machine import Machine

__all__ = ["RandomViews", "extract_features", "features_of", "plain_views"]

_PARTS: tuple[Part, ...] = ("train", "val", "test")


def plain_views(recipe: Recipe, data: Data, rows: np.ndarray, machine: Machine) -> PlainViews:
    """Make some rows of the store as they are evaluated, without augmentation."""
    return PlainViews(
        data.store,
        rows,
        image_size=recipe.views.image_size,
        device=machine.device,
        normalisation=recipe.views.normalisation,
        window=recipe.augmentation.window,
    )


class RandomViews:
    """One random view of each of some rows of the store, drawn with the recipe's augmentation.

    Args:
        recipe: Names augmentation, size and seed; the views differ from those of pre-training.
        data: Holds the store.
        rows: ``(N,)`` rows of the store.
        machine: Where the views are made.
    """

    def __init__(self, recipe: Recipe, data: Data, rows: np.ndarray, machine: Machine) -> None:
        self._recipe, self._data, self._rows, self._machine = recipe, data, rows, machine
        self._views: Views | None = None

    def __call__(self, epoch: int, positions: Tensor) -> Tensor:
        """Map an epoch (from 0) and positions ``(n,)`` int64 on the CPU to ``(n, 3, S, S)`` on the device."""
        if self._views is None:  # many never ask, and the images move to the device here
            self._views = self._make()
        self._views.start_epoch(epoch)
        return self._views(positions)[0]

    def _make(self) -> Views:
        recipe = self._recipe
        return Views(
            self._data.store,
            self._rows,
            ViewSpec((ViewGroup(count=1),)),
            recipe.augmentation,
            image_size=recipe.views.image_size,
            seed=derive_seed(recipe.seed, "evaluation"),
            device=self._machine.device,
            normalisation=recipe.views.normalisation,
        )


def features_of(recipe: Recipe, data: Data, rows: np.ndarray, encoder: Encoder, machine: Machine) -> Tensor:
    """Encode some rows of the store as they are, without augmentation: ``(N, F)`` float32 on the processor."""
    return extract(encoder, plain_views(recipe, data, rows, machine), len(rows), precision=machine.precision)


def extract_features(
    recipe: Recipe, data: Data, encoder: Encoder, machine: Machine, directory: RunDirectory
) -> dict[str, tuple[LoadedPart, Tensor]]:
    """Compute features once per part and leave them in ``features.npz``."""
    found: dict[str, tuple[LoadedPart, Tensor]] = {}
    arrays: dict[str, Any] = {}
    for name in _PARTS:
        part = data.part(name)
        x = features_of(recipe, data, part.rows, encoder, machine)
        found[name] = (part, x)
        arrays |= {f"{name}_x": x.numpy(), f"{name}_label": part.labels.numpy(), f"{name}_id": np.array(part.ids)}
    write_atomic_with(directory.features, lambda file: np.savez(file, **arrays))
    return found
