"""Every setting of a run, resolved, checked, frozen and hashed.

Layers, later ones win: the defaults below, the catalogue's recipe, the user's recipe file, flags and ``--set``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge, Lt

from medssl import options
from medssl.catalog import Catalog
from medssl.contracts import Augmentation
from medssl.discovery import load_plugin
from medssl.errors import OptionError, did_you_mean
from medssl.settings import (
    EncoderSettings,
    EvaluateSettings,
    Precision,
    SplitSettings,
    TrainSettings,
    ViewSettings,
)

__all__ = [
    "Choice",
    "EncoderSettings",
    "EvaluateSettings",
    "Recipe",
    "SplitSettings",
    "TrainSettings",
    "ViewSettings",
    "choose",
    "resolve",
]


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One plugin that the recipe names, imported, with its options checked.

    Attributes:
        name: As the user wrote it.
        distribution: The package that brings it.
        version: Of that package.
        plugin: The class.
        config: An instance of its ``Config``.
    """

    name: str
    distribution: str
    version: str
    plugin: type[Any]
    config: Any

    def to_dict(self) -> dict[str, Any]:
        """Return the name and every option."""
        return {"plugin": self.name, **_plain(asdict(self.config))}


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Every setting of a run. Build one with :func:`resolve`.

    Attributes:
        base: Name of the catalogue's recipe it started from.
        seed: Of initial weights, order, views and evaluators; the split has its own.
        precision: ``auto``: bfloat16 where the processor computes in it, else float32.
        augmentation: What a view is drawn with when the method does not say otherwise.
        overridden: Augmentation fields that the user set in the ``views`` section; they win over a method's own.
    """

    base: str
    method: Choice
    dataset: Choice
    evaluators: tuple[Choice, ...]
    seed: int
    precision: Precision
    train: TrainSettings
    views: ViewSettings
    augmentation: Augmentation
    overridden: Mapping[str, Any]
    encoder: EncoderSettings
    split: SplitSettings
    evaluate: EvaluateSettings

    def to_dict(self) -> dict[str, Any]:
        """Return plain nested values in the shape of a recipe file: what ``recipe.yaml`` of a run holds."""
        return {
            "recipe": self.base,
            "method": self.method.to_dict(),
            "dataset": self.dataset.to_dict(),
            "evaluators": [choice.to_dict() for choice in self.evaluators],
            "seed": self.seed,
            "precision": self.precision,
            "train": _plain(asdict(self.train)),
            "views": {**_plain(asdict(self.views)), **_plain(self.overridden)},
            "augmentation": _plain(asdict(self.augmentation)),
            "encoder": _plain(asdict(self.encoder)),
            "split": _plain(asdict(self.split)),
            "evaluate": _plain(asdict(self.evaluate)),
        }

    @property
    def hash(self) -> str:
        """Ten hexadecimal digits over every setting: equal for equal recipes, whatever the order they were given in."""
        return _digest(self.to_dict())

    @property
    def pretraining_hash(self) -> str:
        """The same over what decides the encoder: runs that differ in their evaluation alone can share one.

        Where the best epoch is kept, it is an evaluator that chooses the encoder, by the labels it sees.
        """
        values = self.to_dict()
        del values["evaluate"]
        if self.train.keep == "best":
            return _digest(values)
        del values["evaluators"], values["train"]["validate_every"]
        if not self.method.plugin.uses_labels:
            values["split"] = {key: value for key, value in values["split"].items() if not key.startswith("label_")}
        return _digest(values)

    @property
    def slug(self) -> str:
        """Name of the run's directory."""
        words = f"{self.dataset.name}-{self.method.name}-{self.hash}"
        return words.replace(":", "_").replace("/", "_")


_SECTIONS: Mapping[str, type] = {
    "train": TrainSettings,
    "encoder": EncoderSettings,
    "split": SplitSettings,
    "evaluate": EvaluateSettings,
}
_KEYS = ("recipe", "method", "dataset", "evaluators", "seed", "precision", "views", "augmentation", *_SECTIONS)
_RATES = ("learning_rate", "base_learning_rate")
_AUGMENTATION_FIELDS = tuple(option.name for option in fields(Augmentation))


@dataclass(frozen=True, kw_only=True)
class _Scalars:
    seed: Annotated[int, Ge(0), Lt(2**63)] = 0
    precision: Precision = "auto"


def resolve(catalog: Catalog, layers: Sequence[Mapping[str, Any]]) -> Recipe:
    """Lay the user's layers over the catalogue's recipe, check every value, and freeze the result.

    Args:
        catalog: For recipes, augmentations and facts.
        layers: Nested values in the shape of a recipe file, weakest first (a recipe file, then flags). ``method`` and
            ``dataset`` are a name, or a mapping with ``plugin`` (the name) and options; ``evaluators`` a list of
            either, or a mapping of options by name.

    Raises:
        OptionError: An unknown key (with the closest), a wrong type, a value out of range, a plugin not named.
        PluginError: See :func:`medssl.discovery.load_plugin`.
    """
    user: dict[str, Any] = {}
    for layer in layers:
        _check_keys(layer)
        user = _lay_over(user, _normal_form(layer))
        _drop_unlisted(user, layer)
    base = str(user.get("recipe") or "medssl")
    method, dataset = _named(user, "method"), _named(user, "dataset")
    below = _normal_form(catalog.recipe(base, method, dataset))
    below.setdefault("evaluators", {}).setdefault("*", [name for name in below["evaluators"] if name != "*"])
    values = _lay_over(below, user)
    choices = {kind: choose(kind, name, values.get(kind, {}), catalog) for kind, name in _pair(method, dataset)}
    scalars = options.build(_Scalars, {k: values[k] for k in ("seed", "precision") if k in values}, "recipe")
    views, augmentation, overridden = _resolve_views(catalog, values, choices["dataset"])
    return Recipe(
        base=base,
        method=choices["method"],
        dataset=choices["dataset"],
        evaluators=_choose_evaluators(catalog, values, user),
        seed=scalars.seed,
        precision=scalars.precision,
        views=views,
        augmentation=augmentation,
        overridden=overridden,
        **{name: options.build(kind, values.get(name, {}), name) for name, kind in _SECTIONS.items()},
    )


def _pair(method: str, dataset: str) -> tuple[tuple[str, str], ...]:
    return (("method", method), ("dataset", dataset))


def _check_keys(layer: Mapping[str, Any]) -> None:
    for key in layer:
        if key not in _KEYS:
            raise OptionError(
                f"a recipe has no setting '{key}'.{did_you_mean(str(key), _KEYS)} Settings: {', '.join(_KEYS)}. "
                "An option of the method is method.NAME."
            )


def _normal_form(layer: Mapping[str, Any]) -> dict[str, Any]:
    """Turn the short forms of a layer into mappings that can be merged; drop what is left empty."""
    values = {key: value for key, value in layer.items() if value is not None}
    for kind in ("method", "dataset"):
        if isinstance(values.get(kind), str):
            values[kind] = {"plugin": values[kind]}
    if isinstance(evaluators := values.get("evaluators"), list | tuple):
        named = [{"plugin": e} if isinstance(e, str) else dict(e) for e in evaluators]
        values["evaluators"] = {str(e.pop("plugin", "")): e for e in named}
        values["evaluators"]["*"] = list(values["evaluators"])
    for key in (*_SECTIONS, "views", "augmentation", "method", "dataset", "evaluators"):
        if key in values and not isinstance(values[key], Mapping):
            raise OptionError(f"the section '{key}' must hold settings by name, but is {values[key]!r}.")
    return values


def _lay_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Merge two layers; a learning rate below holds for its optimizer, and until a rate is given in either way."""
    train, given = below.get("train", {}), above.get("train", {})
    optimizer = train.get("optimizer", TrainSettings.optimizer)
    if given.get("optimizer", optimizer) != optimizer or any(given.get(rate) is not None for rate in _RATES):
        below = {**below, "train": {key: value for key, value in train.items() if key not in _RATES}}
    return _merge(below, above)


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merge(merged[key], value) if both else value
    return merged


def _drop_unlisted(user: dict[str, Any], layer: Mapping[str, Any]) -> None:
    """A list of evaluators takes the place of the one before, options included."""
    if isinstance(layer.get("evaluators"), list | tuple):
        section = user["evaluators"]
        user["evaluators"] = {name: section[name] for name in (*section["*"], "*")}


def _named(values: Mapping[str, Any], kind: str) -> str:
    name = values.get(kind, {}).get("plugin")
    if not name:
        raise OptionError(f"no {kind} is named. Give --{kind} NAME; `medssl list {kind}s` shows the names.")
    return str(name)


def choose(kind: str, name: str, values: Mapping[str, Any], catalog: Catalog) -> Choice:
    """Load a plugin and build its ``Config``.

    Args:
        kind: ``method``, ``dataset`` or ``evaluator``.
        name: The plugin's name, or ``distribution:name``.
        values: Its options; a ``plugin`` among them is passed over.
        catalog: Knows which package brings a name that is not installed.

    Raises:
        PluginError: See :func:`medssl.discovery.load_plugin`.
        OptionError: An option is unknown, of the wrong type, or out of range.
    """
    found, plugin = load_plugin(kind, name, catalog.packages(kind))
    given = {key: value for key, value in values.items() if key != "plugin"}
    return Choice(
        name=name,
        distribution=found.distribution,
        version=found.version,
        plugin=plugin,
        config=options.build(plugin.Config, given, f"{kind} '{name}'"),
    )


def _choose_evaluators(catalog: Catalog, values: Mapping[str, Any], user: Mapping[str, Any]) -> tuple[Choice, ...]:
    """Take the names of the strongest list; options for an evaluator that no list names are an error."""
    section = values.get("evaluators", {})
    names = section.get("*", [])
    for name in user.get("evaluators", {}):
        if name != "*" and name not in names:
            raise OptionError(
                f"there are options for the evaluator '{name}', which this run does not use."
                f"{did_you_mean(name, names)} It uses: {', '.join(names) or 'none'}. Add --evaluator {name}."
            )
    if not names:
        raise OptionError("no evaluator is named. Give --evaluator NAME; `medssl list evaluators` shows the names.")
    return tuple(choose("evaluator", name, section.get(name, {}), catalog) for name in names)


def _resolve_views(
    catalog: Catalog, values: Mapping[str, Any], dataset: Choice
) -> tuple[ViewSettings, Augmentation, dict[str, Any]]:
    """Return settings, the augmentation (catalogue, then ``augmentation`` section), and fields set under ``views``."""
    section = values.get("views", {})
    known = {option.name for option in fields(ViewSettings)}
    every = [*known, *_AUGMENTATION_FIELDS]
    for key in section:
        if key not in every:
            raise OptionError(f"views has no option '{key}'.{did_you_mean(key, every)} Options: {', '.join(every)}.")
    given = {key: value for key, value in section.items() if key in known}
    facts = catalog.entry("dataset", dataset.name)
    name = given.get("augmentation") or dataset.plugin(dataset.config, Path(), facts).augmentation
    settings = options.build(ViewSettings, {**given, "augmentation": name}, "views")
    drawn = {**catalog.augmentation(name), **values.get("augmentation", {})}
    set_by_user = {key: value for key, value in section.items() if key in _AUGMENTATION_FIELDS}
    checked = asdict(options.build(Augmentation, set_by_user, "views"))
    return settings, options.build(Augmentation, drawn, "augmentation"), {key: checked[key] for key in set_by_user}


def _digest(values: Mapping[str, Any]) -> str:
    text = json.dumps({**values, "recipe": None}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def _plain(value: Any) -> Any:
    """Turn paths and tuples into what YAML and JSON can hold."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value
