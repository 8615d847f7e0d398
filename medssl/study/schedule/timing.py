"""Estimates the remaining time of a study from its finished epochs and cells."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from statistics import fmean
from typing import Any

from medssl.catalog import Catalog
from medssl.errors import MedsslError
from medssl.recipe import Recipe, resolve
from medssl.results.directory import RunDirectory, RunResult
from medssl.study.grid import Cell

__all__ = ["Clock", "learn_folder"]


class Clock:
    """Records the time of an epoch and of the work outside epochs, and estimates the remaining time.

    A cell is expected to take as long as the most similar runs so far: first those with the same dataset, backbone,
    image size, method and batch size, then those that share fewer of these.
    """

    def __init__(self) -> None:
        self._epochs: dict[tuple[Any, ...], list[float]] = {}  # seconds of one epoch
        self._around: dict[tuple[Any, ...], list[float]] = {}  # seconds of a run outside its epochs

    def learn_epoch(self, recipe: Recipe, seconds: float) -> None:
        """Record the time of one epoch."""
        for key in _keys(recipe):
            self._epochs.setdefault(key, []).append(seconds)

    def learn_result(self, recipe: Recipe, result: RunResult) -> None:
        """Record the time of a finished run."""
        training = result.training
        spent = 0.0 if training.reused else training.seconds
        if spent and training.epochs:
            self.learn_epoch(recipe, spent / training.epochs)
        for key in _keys(recipe):
            self._around.setdefault(key, []).append(max(0.0, result.seconds - spent))

    def left(self, cells: Iterable[Cell], done: dict[str, int], trained: set[str], jobs: int) -> float | None:
        """Return the seconds until every cell is finished; ``None`` if no similar run is known.

        Args:
            cells: The cells that are not finished, including the running ones.
            done: Finished epochs of the running cells, by directory.
            trained: ``pretraining_hash`` of the encoders that are finished.
            jobs: Number of cells that run at the same time.
        """
        seconds = []
        trained = set(trained)
        for cell in cells:
            recipe = cell.recipe
            epochs = recipe.train.epochs if recipe.method.plugin.trains else 0
            todo = 0 if recipe.pretraining_hash in trained else max(0, epochs - done.get(recipe.slug, 0))
            trained.add(recipe.pretraining_hash)
            each, around = _known(self._epochs, recipe), _known(self._around, recipe)
            if todo and each is None:
                return None
            seconds.append(todo * (each or 0.0) + (around or 0.0))
        return max([sum(seconds) / jobs, *seconds]) if self._around or self._epochs else None


def learn_folder(output: Path, catalog: Catalog) -> Clock:
    """Record the times of every finished run in a folder."""
    clock = Clock()
    for path in sorted(output.glob("*/result.json")):
        try:
            result = RunDirectory(path.parent).load()
            clock.learn_result(resolve(catalog, [result.recipe]), result)
        except MedsslError:
            continue  # of another version, or its plugin is no longer installed: the estimate can do without it
    return clock


def _keys(recipe: Recipe) -> list[tuple[Any, ...]]:
    alike = (json.dumps(recipe.dataset.to_dict()), recipe.network, recipe.views.image_size)
    return [(*alike, recipe.method.name, recipe.train.batch_size), (*alike, recipe.method.name), alike, ()]


def _known(seconds: dict[tuple[Any, ...], list[float]], recipe: Recipe) -> float | None:
    return next((fmean(seconds[key]) for key in _keys(recipe) if key in seconds), None)
