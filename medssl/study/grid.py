"""Turns a plan into cells: one recipe per combination, in the order in which they should run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from medssl.catalog import Catalog
from medssl.contracts.kinds import DATASET, ENCODER, METHOD, NONE, RUN_KINDS
from medssl.data.loading import list_images, open_dataset
from medssl.data.split.splits import FOLDED, fold_count
from medssl.discovery import discover
from medssl.errors import DataError, OptionError, PluginError
from medssl.recipe import Recipe, resolve
from medssl.recipe.naming import require_known
from medssl.study.plan import Plan, plugin_named

__all__ = ["Cell", "expand", "fold_layers", "is_encoder"]

_OF_ENTRY = ("train", "views")  # sections that a method of a plan may have, beside its options


@dataclass(frozen=True)
class Cell:
    """One run of a study.

    Attributes:
        layers: Recipe layers of the cell, weakest first.
        recipe: The resolved recipe; its ``slug`` names the run's directory.
        variants: Options that distinguish its dataset and its method from others of the same name in the plan; empty if
            the names are unique.
        encoder: Name of its encoder, if the plan lists encoders; else empty.
    """

    layers: tuple[Mapping[str, Any], ...]
    recipe: Recipe
    variants: tuple[str, str] = ("", "")
    encoder: str = ""

    @property
    def name(self) -> str:
        """Short name of the cell: the settings that distinguish it from other cells."""
        recipe = self.recipe
        words = [
            f"{name} ({variant})" if variant else name
            for name, variant in zip((recipe.dataset.name, _shown(recipe)), self.variants, strict=True)
        ]
        if self.encoder:
            words.append(self.encoder)
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
            "encoder": recipe.network,
            "batch_size": recipe.train.batch_size,
            "seed": recipe.seed,
            "label_fraction": recipe.split.label_fraction,
            "fold": recipe.split.fold,
        }


def _shown(recipe: Recipe) -> str:
    """Return the name of the method; an encoder that is only evaluated is frozen."""
    return "frozen" if recipe.method.name == NONE else recipe.method.name


def expand(plan: Plan, layers: Sequence[Mapping[str, Any]], catalog: Catalog, data_dir: Path | None) -> list[Cell]:
    """List the cells of a plan.

    Cells are ordered by seed, so that a study that stops early has complete tables of fewer seeds. Cells that share
    their pre-training follow each other.

    Args:
        plan: Values that vary.
        layers: Recipe layers above the plan's own settings (a recipe file, command-line options), weakest first.
        catalog: Provides recipes, and says which methods are baselines.
        data_dir: Directory of the images; read only to count the folds of ``loso`` and ``site``.

    Raises:
        MedsslError: No method or no dataset is named, or a recipe cannot be resolved.
    """
    starts = list(_starts(plan, catalog))
    for kind, names in ((METHOD, starts), (DATASET, plan.of(DATASET))):
        if not names:
            raise OptionError(
                f"the study names no {kind.name}. Give --{kind.name} NAME, or a plan with {kind.plural}; `medssl list "
                f"{kind.plural}` shows the names."
            )
    below: list[Mapping[str, Any]] = [{"recipe": plan.recipe} if plan.recipe else {}, plan.settings, *layers]
    below += [{kind.section: list(plan.of(kind))} for kind in RUN_KINDS if kind.many and plan.of(kind)]
    cells: dict[str, list[Cell]] = {}
    seen = set()
    datasets = _with_variants(plan.of(DATASET))
    for (dataset, its), seed, start in product(datasets, range(plan.seeds), starts):
        for batch_size, fraction in product(_batch_sizes(plan, start, catalog), plan.label_fractions or (None,)):
            own = _layer(dataset, start, batch_size, seed, fraction)
            under = _without_encoder(below) if start.encoder else below
            whole = Cell((*under, own), resolve(catalog, [*under, own]), (its, start.variant), start.name)
            for cell in _folds(whole, catalog, data_dir):
                if cell.recipe.slug not in seen:
                    seen.add(cell.recipe.slug)
                    cells.setdefault(cell.recipe.pretraining_hash, []).append(cell)
    return list(_without_twice(catalog, [cell for sharing in cells.values() for cell in sharing]))


@dataclass(frozen=True)
class _Start:
    """A method and the encoder that it starts from.

    Attributes:
        method: A method of the plan.
        variant: Its options that distinguish it from others of the same name.
        encoder: An encoder of the plan; ``None``: the recipe's own.
        once: Whether it runs only at the first batch size.
    """

    method: Any
    variant: str = ""
    encoder: Any = None
    once: bool = False

    @property
    def name(self) -> str:
        """Name of the encoder; empty for the recipe's own."""
        return "" if self.encoder is None else plugin_named(self.encoder)


def _starts(plan: Plan, catalog: Catalog) -> Iterator[_Start]:
    """Combine the methods, baselines and encoders of a plan."""
    given = [entry for entry in plan.baselines if is_encoder(entry, catalog)]
    baselines = [entry for entry in plan.baselines if entry not in given]
    encoders: Sequence[Any] = plan.of(ENCODER)
    methods = [(entry, True) for entry in baselines] + [(entry, False) for entry in plan.of(METHOD)]
    variants = dict(zip(map(str, (m for m, _ in methods)), _variants([m for m, _ in methods]), strict=True))
    for entry in given:
        yield _Start(NONE, encoder=entry, once=True)
    everywhere = encoders and plan.of(METHOD) and not plan.on_encoders
    for method, once in methods:
        for encoder in encoders if everywhere else (None,):
            yield _Start(method, variants[str(method)], encoder, once)
    if encoders and not everywhere:
        for (method, variant), encoder in product(_with_variants(plan.on_encoders or (NONE,)), encoders):
            yield _Start(method, variant, encoder)


def is_encoder(entry: Any, catalog: Catalog) -> bool:
    """Whether an entry among the baselines is the name of an encoder and of no method."""
    name = plugin_named(entry)
    if name in {plugin.name for plugin in discover(METHOD.name)} or name == NONE:
        return False
    try:
        require_known(ENCODER, name, catalog)
    except PluginError:
        return False
    return True


def _without_encoder(layers: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Leave out the encoder of the layers: a cell with another encoder does not take its options."""
    return [{key: value for key, value in layer.items() if key != ENCODER.section} for layer in layers]


def _without_twice(catalog: Catalog, cells: Sequence[Cell]) -> Iterator[Cell]:
    """Turn off the evaluation before training if the study has the untrained encoder as a cell of its own."""
    untrained = {_start_of(cell.recipe) for cell in cells if not cell.recipe.method.plugin.trains}
    for cell in cells:
        if cell.recipe.method.plugin.trains and _start_of(cell.recipe) in untrained:
            layers = ({"evaluate": {"baseline": False}}, *cell.layers)  # weakest: the user's setting wins
            yield Cell(layers, resolve(catalog, layers), cell.variants, cell.encoder)
        else:
            yield cell


def _start_of(recipe: Recipe) -> str:
    """Return every setting except the method and its training."""
    values = {key: value for key, value in recipe.to_dict().items() if key not in (METHOD.section, "train")}
    return json.dumps(values, sort_keys=True)


def _with_variants(entries: Sequence[Any]) -> list[tuple[Any, str]]:
    """Pair each dataset or method of a plan with the options that distinguish it from others of the same name."""
    return list(zip(entries, _variants(entries), strict=True))


def _variants(entries: Sequence[Any]) -> list[str]:
    named = [_flat(entry) for entry in entries]
    found = []
    for own in named:
        alike = [other for other in named if other["plugin"] == own["plugin"]]
        words = [f"{key} {value}" for key, value in own.items() if any(key not in o or o[key] != value for o in alike)]
        found.append(", ".join(words))
    return found


def _flat(entry: Any) -> Mapping[str, Any]:
    """Return the options of an entry; its settings of training and views are named like them."""
    values, sections = _parts(entry)
    return {**values, **{key: value for section in sections.values() for key, value in section.items()}}


def _parts(entry: Any) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Separate the plugin and its options from the sections of a recipe that an entry of a plan may have."""
    values: dict[str, Any] = {"plugin": entry} if isinstance(entry, str) else dict(entry)
    return values, {name: dict(values.pop(name, None) or {}) for name in _OF_ENTRY}


def _batch_sizes(plan: Plan, start: _Start, catalog: Catalog) -> Sequence[int | None]:
    sizes = plan.batch_sizes or (None,)
    once = start.once or catalog.entry(METHOD.name, plugin_named(start.method)).get("baseline")
    return sizes[:1] if once else sizes


def _layer(dataset: Any, start: _Start, batch_size: int | None, seed: int, fraction: float | None) -> dict[str, Any]:
    method, sections = _parts(start.method)
    layer = {DATASET.section: dataset, METHOD.section: method, "seed": seed}
    if start.encoder is not None:
        layer[ENCODER.section] = start.encoder
    if batch_size is not None:
        sections["train"]["batch_size"] = batch_size
    layer.update((name, values) for name, values in sections.items() if values)
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
        yield Cell((*cell.layers, layer), resolve(catalog, [*cell.layers, layer]), cell.variants, cell.encoder)


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
    dataset = open_dataset(recipe.dataset, catalog, data_dir, recipe.data.readers)
    listing = list_images(recipe.data, dataset)
    count = fold_count(listing, recipe.split, protocol)
    return [{"split": {"fold": fold}} for fold in range(count)]
