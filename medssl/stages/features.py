"""Frozen features of every part, computed once."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from medssl.contracts import Part as PartName
from medssl.data.loading import Data, Part
from medssl.data.views import PlainViews
from medssl.evaluate.features import extract
from medssl.files import write_atomic_with
from medssl.recipe import Recipe
from medssl.record import RunDirectory
from medssl.stages.machine import Machine
from medssl.train.backbones import Encoder

__all__ = ["extract_features", "features_of"]

_PARTS: tuple[PartName, ...] = ("train", "val", "test")


def features_of(recipe: Recipe, data: Data, rows: np.ndarray, encoder: Encoder, machine: Machine) -> Tensor:
    """Encode some rows of the store as they are, without augmentation: ``(N, F)`` float32 on the processor."""
    views = PlainViews(
        data.store,
        rows,
        image_size=recipe.views.image_size,
        device=machine.device,
        normalisation=recipe.views.normalisation,
    )
    return extract(encoder, views, len(rows), precision=machine.precision)


def extract_features(
    recipe: Recipe, data: Data, encoder: Encoder, machine: Machine, directory: RunDirectory
) -> dict[str, tuple[Part, Tensor]]:
    """Compute features once per part and leave them in ``features.npz``."""
    found: dict[str, tuple[Part, Tensor]] = {}
    arrays: dict[str, Any] = {}
    for name in _PARTS:
        part = data.part(name)
        x = features_of(recipe, data, part.rows, encoder, machine)
        found[name] = (part, x)
        arrays |= {f"{name}_x": x.numpy(), f"{name}_label": part.labels.numpy(), f"{name}_id": np.array(part.ids)}
    write_atomic_with(directory.features, lambda file: np.savez(file, **arrays))
    return found
