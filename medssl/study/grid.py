"""Turns a plan into cells: one recipe per combination, in the order in which they should run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from medssl.catalog import Catalog
from medssl.contracts.kinds import DATASET, EVALUATOR, METHOD
from medssl.data.listing import read_listing
from medssl.data.loading import open_dataset
from medssl.data.split.splits import FOLDED, fold_count
from medssl.errors import DataError, OptionError
from medssl.recipe import Recipe, resolve
from medssl.study.plan import Plan

__all__ = ["Cell", "expand", "fold_layers"]


@dataclass(frozen=True)
class Cell:
    """One run of a study.

    Attributes:
        layers: Recipe layers of the cell, weakest first.
        recipe: The resolved recipe; its ``slug`` names the run's directory.
        variants: Options that distinguish its dataset and its method from others of the same name in the plan; empty if
            the names are unique.
    """

    layers: tuple[Mapping[str, Any], ...]
    recipe: Recipe
    variants: tuple[str, str] = ("", "")

    @property
    def name(self) -> str:
        """Short name of the cell: the settings that distinguish it from other cells."""
        recipe = self.recipe
        words = [
            f"{name} ({variant})" if variant else name
            for name, variant in zip((recipe.dataset.name, recipe.method.name), self.variants, strict=True)
        ]
        if recipe.method.plugin.trains:
            words.append(f"batch {recipe.train.batch_size}")
        words.append(f"seed {recipe.seed}")
        if recipe.split.fold is not None:
            words.append(f"fold {recipe.split.fold}")
        if recipe.split.label_fraction < 1:
            words.append(f"{100 * recipe.split.label_fraction:g} % of labels")
        return " ".join(words[:2]) + "".join(f", {word}" for word in words[2:])

    def describe(self) -> dict[str, Any]:
        """Return the entries for ``study.json``."""
        recipe = self.recipe
        return {
            "directory": recipe.slug,
            "dataset": recipe.dataset.name,
            "method": recipe.method.name,
            "batch_size": recipe.train.batch_size,
            "seed": recipe.seed,
            "label_fraction": recipe.split.label_fraction,
            "fold": recipe.split.fold,
        }


def expand(plan: Plan, layers: Sequence[Mapping[str, Any]], catalog: Catalog, data_dir: Path | None) -> list[Cell]:
    """List the cells of a plan.

    Cells are ordered by seed, so that a study that stops early has complete tables of fewer seeds. Cells that share
    their pre-training follow each other.

    Args:
        plan: Values that vary.
        layers: Recipe layers above the plan's own settings (a recipe file, command-line options), weakest first.
        catalog: Provides recipes, and says which methods are baselines.
        data_dir: Directory of the images; read only to count the groups of a ``loso`` split.

    Raises:
        MedsslError: No method or no dataset is named, or a recipe cannot be resolved.
    """
    for kind, names in ((METHOD, (*plan.methods, *plan.baselines)), (DATASET, plan.datasets)):
        if not names:
            raise OptionError(
                f"the study names no {kind.name}. Give --{kind.name} NAME, or a plan with {kind.plural}; `medssl list "
                f"{kind.plural}` shows the names."
            )
    below: list[Mapping[str, Any]] = [{"recipe": plan.recipe} if plan.recipe else {}, plan.settings, *layers]
    if plan.evaluators:
        below.append({EVALUATOR.section: list(plan.evaluators)})
    cells: dict[str, list[Cell]] = {}
    seen = set()
    datasets, methods = (_with_variants(some) for some in (plan.datasets, (*plan.baselines, *plan.methods)))
    for (dataset, its), seed, (method, own_way) in product(datasets, range(plan.seeds), methods):
        for batch_size, fraction in product(_batch_sizes(plan, method, catalog), plan.label_fractions or (None,)):
            own = _layer(dataset, method, batch_size, seed, fraction)
            whole = Cell((*below, own), resolve(catalog, [*below, own]), (its, own_way))
            for cell in _folds(whole, catalog, data_dir):
                if cell.recipe.slug not in seen:
                    seen.add(cell.recipe.slug)
                    cells.setdefault(cell.recipe.pretraining_hash, []).append(cell)
    return list(_without_twice(catalog, [cell for sharing in cells.values() for cell in sharing]))


def _without_twice(catalog: Catalog, cells: Sequence[Cell]) -> Iterator[Cell]:
    """Turn off the evaluation before training if the study has the untrained encoder as a cell of its own."""
    untrained = {_start_of(cell.recipe) for cell in cells if not cell.recipe.method.plugin.trains}
    for cell in cells:
        if cell.recipe.method.plugin.trains and _start_of(cell.recipe) in untrained:
            layers = ({"evaluate": {"baseline": False}}, *cell.layers)  # weakest: the user's setting wins
            yield Cell(layers, resolve(catalog, layers), cell.variants)
        else:
            yield cell


def _start_of(recipe: Recipe) -> str:
    """Return every setting except the method and its training."""
    values = {key: value for key, value in recipe.to_dict().items() if key not in (METHOD.section, "train")}
    return json.dumps(values, sort_keys=True)


def _with_variants(entries: Sequence[Any]) -> list[tuple[Any, str]]:
    """Pair each dataset or method of a plan with the options that distinguish it from others of the same name."""
    named = [({"plugin": entry} if isinstance(entry, str) else entry) for entry in entries]
    found = []
    for entry, own in zip(entries, named, strict=True):
        alike = [other for other in named if other["plugin"] == own["plugin"]]
        words = [f"{key} {value}" for key, value in own.items() if any(key not in o or o[key] != value for o in alike)]
        found.append((entry, ", ".join(words)))
    return found


def _batch_sizes(plan: Plan, method: Any, catalog: Catalog) -> Sequence[int | None]:
    sizes = plan.batch_sizes or (None,)
    name = method if isinstance(method, str) else method["plugin"]
    once = method in plan.baselines or catalog.entry(METHOD.name, name).get("baseline")
    return sizes[:1] if once else sizes


def _layer(dataset: Any, method: Any, batch_size: int | None, seed: int, fraction: float | None) -> dict[str, Any]:
    layer = {DATASET.section: dataset, METHOD.section: method, "seed": seed}
    if batch_size is not None:
        layer["train"] = {"batch_size": batch_size}
    if fraction is not None and fraction < 1:
        layer["split"] = {"label_fraction": fraction, "label_seed": seed}
    return layer


def _folds(cell: Cell, catalog: Catalog, data_dir: Path | None) -> Iterator[Cell]:
    """Yield a cell for each fold if the protocol makes folds and none is chosen; else the cell itself."""
    try:
        layers = fold_layers(cell.recipe, catalog, data_dir)
    except DataError:
        layers = []  # the cell itself will fail and say why; other cells continue
    if not layers:
        yield cell
    for layer in layers:
        yield Cell((*cell.layers, layer), resolve(catalog, [*cell.layers, layer]), cell.variants)


def fold_layers(recipe: Recipe, catalog: Catalog, data_dir: Path | None) -> list[dict[str, Any]]:
    """Return one recipe layer for each fold; empty if the split makes no folds, or if a fold is chosen.

    Raises:
        DataError: The dataset cannot be read, or its groups do not allow such folds.
    """
    if recipe.split.of is not None:
        return []  # the split is taken from a run, which chose the fold
    protocol = recipe.split.protocol
    if protocol not in FOLDED or recipe.split.fold is not None:
        return []  # what a dataset has as its default makes one split
    listing = read_listing(open_dataset(recipe.dataset, catalog, data_dir), recipe.dataset.name)
    count = fold_count(listing, recipe.split, protocol)
    return [{"split": {"fold": fold}} for fold in range(count)]
