"""Makes views of stored images according to a recipe; no other module turns a recipe into views."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray

from medssl.contracts import IMAGENET, Augmentation, Preprocessing, ViewSpec
from medssl.data.views import PlainViews, Views
from medssl.data.views.pixels import ImageStore
from medssl.recipe import DataRecipe

__all__ = ["Rows", "ViewMaker"]

Rows = Sequence[int] | NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class ViewMaker:
    """Makes views of some rows of a store.

    Attributes:
        store: The decoded images.
        augmentation: Augmentation of random views.
        image_size: Side of a full-size view in pixels.
        preprocessing: How the encoder expects images.
        seed: Seed of random views.
        device: Where views are made and returned.
    """

    store: ImageStore
    augmentation: Augmentation
    image_size: int
    preprocessing: Preprocessing
    seed: int
    device: torch.device | str

    @classmethod
    def of(
        cls, recipe: DataRecipe, store: ImageStore, device: torch.device | str, preprocessing: Preprocessing = IMAGENET
    ) -> ViewMaker:
        """Create it from the data part of a recipe, for an encoder's preprocessing."""
        return cls(
            store=store,
            augmentation=recipe.augmentation,
            image_size=recipe.views.image_size,
            preprocessing=preprocessing,
            seed=recipe.seed,
            device=device,
        )

    def plain(self, rows: Rows) -> PlainViews:
        """Return the views for evaluation: only the window of grey levels is applied, no other augmentation."""
        return PlainViews(
            self.store,
            rows,
            image_size=self.image_size,
            device=self.device,
            preprocessing=self.preprocessing,
            window=self.augmentation.window,
        )

    def random(self, rows: Rows, spec: ViewSpec) -> Views:
        """Return random views in the groups of ``spec``."""
        return Views(
            self.store,
            rows,
            spec,
            self.augmentation,
            image_size=self.image_size,
            seed=self.seed,
            device=self.device,
            preprocessing=self.preprocessing,
        )
