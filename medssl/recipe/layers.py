"""Layers of settings: expands their short forms and merges them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from medssl.catalog.catalog import merged
from medssl.contracts.encoders import HALF
from medssl.contracts.kinds import ENCODER, RUN_KINDS, Kind
from medssl.errors import OptionError, did_you_mean
from medssl.recipe.settings import EvaluateSettings, SplitSettings, TrainSettings

__all__ = ["SECTIONS", "lay_over", "nested", "normal_form", "stack"]

#: Sections of a recipe that belong neither to a plugin nor to the views.
SECTIONS: Mapping[str, type] = {"train": TrainSettings, "split": SplitSettings, "evaluate": EvaluateSettings}
_MAPPINGS = (*(kind.section for kind in RUN_KINDS), "views", "augmentation", "external", *SECTIONS)
_KEYS = ("recipe", "seed", "precision", *_MAPPINGS)
_NORMALISATIONS: Mapping[str, Mapping[str, Any]] = {
    "imagenet": {},
    "half": {"mean": list(HALF.mean), "std": list(HALF.std)},
}
_RATES = ("learning_rate", "base_learning_rate")


def stack(layers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Merge the user's layers, weakest first.

    A list of plugins replaces the previous list, options included; the key ``*`` holds the names of the last list.

    Raises:
        OptionError: A key is unknown (the message names the closest), or a section is not a mapping.
    """
    user: dict[str, Any] = {}
    for layer in layers:
        _check_keys(layer)
        written = normal_form(layer)
        user = lay_over(user, written)
        for kind in RUN_KINDS:
            if kind.many and "*" in written.get(kind.section, {}):
                section = user[kind.section]
                user[kind.section] = {name: section[name] for name in (*section["*"], "*")}
    return user


def _check_keys(layer: Mapping[str, Any]) -> None:
    for key in layer:
        if key not in _KEYS:
            raise OptionError(
                f"a recipe has no setting '{key}'.{did_you_mean(str(key), _KEYS)} Settings: {', '.join(_KEYS)}. "
                "An option of the method is written method.NAME."
            )


def normal_form(layer: Mapping[str, Any]) -> dict[str, Any]:
    """Expand the short forms of a layer into mappings that can be merged; drop empty entries.

    A plugin is a name, or a mapping of ``plugin`` (the name) and options. Several plugins are a list of these, a single
    one, or a mapping of options by name.
    """
    values = _moved({key: value for key, value in layer.items() if value is not None})
    for kind in RUN_KINDS:
        given = values.get(kind.section)
        if not kind.many and isinstance(given, str):
            values[kind.section] = {"plugin": given}
        elif kind.many and (isinstance(given, str) or (isinstance(given, Mapping) and "plugin" in given)):
            values[kind.section] = _by_name([given], kind)
        elif kind.many and isinstance(given, list | tuple):
            values[kind.section] = _by_name(given, kind)
    for key in _MAPPINGS:
        if key in values and not isinstance(values[key], Mapping):
            raise OptionError(
                f"the section '{key}' must be a mapping of settings by name, but is {values[key]!r:.80}. Write the "
                "settings below it, as `name: value`."
            )
        if key in values and not all(isinstance(name, str) for name in values[key]):
            raise OptionError(
                f"the names in the section '{key}' must be texts, but are {list(values[key])!r:.80}. Put quotes around "
                "them."
            )
    return values


def _moved(values: dict[str, Any]) -> dict[str, Any]:
    """Read ``views.normalisation`` of earlier recipes: mean and deviation now belong to the encoder."""
    views = values.get("views")
    if not isinstance(views, Mapping) or "normalisation" not in views:
        return values
    name = views["normalisation"]
    if name not in _NORMALISATIONS:
        raise OptionError(
            f"views.normalisation {name!r} is unknown. Mean and deviation belong to the encoder now: set "
            "encoder.mean and encoder.std to three numbers each."
        )
    given = values.get(ENCODER.section) or {}
    section = {"plugin": given} if isinstance(given, str) else dict(given)
    kept = {key: value for key, value in views.items() if key != "normalisation"}
    return {**values, "views": kept, ENCODER.section: {**_NORMALISATIONS[name], **section}}


def _by_name(listed: Sequence[Any], kind: Kind) -> dict[str, Any]:
    for each in listed:
        if not isinstance(each, str) and not (isinstance(each, Mapping) and isinstance(each.get("plugin"), str)):
            raise OptionError(
                f"{each!r:.60} is listed under '{kind.section}'. Each must be a name, or a mapping with the name as "
                "`plugin` and options. Put a name in quotes if YAML reads it as another type."
            )
    named = [{"plugin": each} if isinstance(each, str) else dict(each) for each in listed]
    values: dict[str, Any] = {str(each.pop("plugin", "")): each for each in named}
    return {**values, "*": list(values)}


def lay_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Merge two layers. A learning rate below is kept only while ``above`` changes neither the optimizer nor a rate."""
    train, given = below.get("train", {}), above.get("train", {})
    optimizer = train.get("optimizer", TrainSettings.optimizer)
    if given.get("optimizer", optimizer) != optimizer or any(given.get(rate) is not None for rate in _RATES):
        below = {**below, "train": {key: value for key, value in train.items() if key not in _RATES}}
    return merged(below, above)


def nested(key: str, value: Any) -> dict[str, Any]:
    """Return the layer with one setting: ``nested("train.epochs", 5)`` is ``{"train": {"epochs": 5}}``."""
    layer = value
    for name in reversed(key.split(".")):
        layer = {name: layer}
    return dict(layer)
