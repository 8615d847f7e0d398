"""Foresees cells whose batch is larger than their training part."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from medssl.catalog import Catalog
from medssl.data.loading import list_images, open_dataset
from medssl.data.split.splits import make_split
from medssl.errors import MedsslError
from medssl.recipe import DataRecipe
from medssl.study.grid import Cell

__all__ = ["fitting_batch", "too_large"]

_LEAST = 2  # images that a contrast needs
_STEPS = 4  # of an epoch, so that there are several; as the error of a run advises


def too_large(cells: Sequence[Cell], catalog: Catalog, data_dir: Path | None) -> dict[str, int]:
    """Return the number of training images of each cell whose batch is larger, by the name of its directory.

    Nothing is decoded. Cells whose images cannot be listed or split are left out: they fail with their own message.
    """
    sizes: dict[str, int | None] = {}
    found = {}
    for recipe in (cell.recipe for cell in cells if cell.recipe.method.plugin.trains):
        key = json.dumps([recipe.dataset.to_dict(), asdict(recipe.split)], default=str, sort_keys=True)
        if key not in sizes:
            sizes[key] = _training_images(recipe.data, catalog, data_dir)
        images = sizes[key]
        if images is not None and images < recipe.train.batch_size:
            found[recipe.slug] = images
    return found


def _training_images(recipe: DataRecipe, catalog: Catalog, data_dir: Path | None) -> int | None:
    if recipe.split.of is not None:
        return None
    try:
        listing = list_images(recipe, open_dataset(recipe.dataset, catalog, data_dir, recipe.readers))
        return len(make_split(listing, recipe.split, recipe.split.protocol or listing.default_split).train)
    except MedsslError:
        return None


def fitting_batch(images: int) -> int:
    """Return a batch size for a training part that is smaller than a batch: the largest power of two in a quarter."""
    size = max(_LEAST, images // _STEPS)
    return 1 << (size.bit_length() - 1)
