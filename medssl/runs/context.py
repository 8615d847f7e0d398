"""The context of a run: a frozen value that every stage receives."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from torch import Tensor

from medssl.contracts import ViewGroup, ViewSpec
from medssl.data.loading import Data, LoadedPart
from medssl.data.store.store import Store
from medssl.data.views import PlainViews, Views
from medssl.data.views.maker import ViewMaker
from medssl.recipe import Recipe
from medssl.results.directory import RunDirectory
from medssl.runs.listener import Listener
from medssl.train.loop.seeding import derive_seed
from medssl.train.machine.machine import Machine
from medssl.world import ALONE, World

__all__ = ["KeptHeads", "RandomViews", "RunContext"]

KeptHeads = Literal["all", "features", "none"]
"""The fitted heads that a run keeps, see :class:`RunContext`."""


@dataclass(frozen=True)
class RunContext:
    """One run: its recipe, its images, and where it computes, writes and reports.

    Attributes:
        recipe: Every setting.
        data: The images, split and decoded.
        machine: Device and precision.
        directory: The run's directory.
        listener: Receives progress events.
        keep: The fitted heads to keep for predictions of new images: ``all``; ``features``: none that has an encoder of
            its own; ``none``.
        world: The processes that train together; this is rank 0, unless the run is only followed.
    """

    recipe: Recipe
    data: Data
    machine: Machine
    directory: RunDirectory
    listener: Listener
    keep: KeptHeads = "all"
    world: World = ALONE

    @property
    def view_maker(self) -> ViewMaker:
        """The maker of views of this run's images, on its device."""
        return self.maker_of(self.data.store)

    def maker_of(self, store: Store) -> ViewMaker:
        """Return the maker of views of a store's images, on the run's device."""
        return ViewMaker.of(self.recipe.data, store, self.machine.device, self.recipe.card.preprocessing)

    def plain(self, part: LoadedPart) -> PlainViews:
        """Return a part's images for evaluation, without augmentation."""
        return self.view_maker.plain(part.rows)

    def views(self, part: LoadedPart, spec: ViewSpec) -> Views:
        """Return a part's random views for pre-training, in the groups of the method."""
        return self.view_maker.random(part.rows, spec)

    def augmented(self, part: LoadedPart) -> RandomViews:
        """Return one random view of each image of a part; they differ from those of pre-training."""
        seed = derive_seed(self.recipe.seed, "evaluation")
        return RandomViews(replace(self.view_maker, seed=seed), part)


class RandomViews:
    """One random view of each image of a part; nothing is moved to the device before the first call.

    Args:
        maker: Makes the views.
        part: N images.
    """

    def __init__(self, maker: ViewMaker, part: LoadedPart) -> None:
        self._maker, self._part = maker, part
        self._views: Views | None = None

    def __call__(self, epoch: int, positions: Tensor) -> Tensor:
        """Map an epoch (from 0) and positions ``(n,)`` int64 on the CPU to ``(n, 3, S, S)`` on the device."""
        if self._views is None:
            self._views = self._maker.random(self._part.rows, ViewSpec((ViewGroup(count=1),)))
        self._views.start_epoch(epoch)
        return self._views(positions)[0]
