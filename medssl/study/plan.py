"""A plan: the values that vary in a study, read from a YAML file, the catalogue, or command-line options."""

from __future__ import annotations

import math
from collections.abc import Container, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from medssl.catalog import Catalog
from medssl.contracts.kinds import ENCODER, METHOD, RUN_KINDS, Kind
from medssl.errors import OptionError, did_you_mean
from medssl.io.reading import read_yaml

__all__ = ["PLUGIN_LISTS", "Plan", "build_plan", "plan_content", "plan_of", "plugin_named", "read_plan"]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The values that vary in a study, and the settings that all cells share.

    A plugin is a name, or a mapping of ``plugin`` (the name) and options. The mapping of a method may also hold
    settings of its training under ``train``. Each kind of plugin has its list under its plural: methods, datasets,
    encoders, evaluators and so on.

    Attributes:
        plugins: Plugins by the plural of their kind. Every method runs at every batch size, on every dataset with every
            encoder; a kind of which a run takes several replaces the recipe's list. Empty: the recipe's.
        baselines: Methods that run only at the first batch size; a method that the catalogue marks as baseline does
            too. The name of an encoder stands for this encoder, frozen.
        on_encoders: Methods that run on each of the encoders. The plan's methods and baselines then run on the
            recipe's own encoder alone. Empty: the plan's methods run on each of the encoders.
        batch_sizes: Batch sizes of pre-training; empty: the recipe's.
        label_fractions: Fractions of the training labels that the evaluators see, 0 to 1; empty: all labels.
        seeds: Number of seeds, counted from 0.
        skip_missing: Leave out encoders and methods whose weights are not here and cannot be downloaded.
        recipe: Name of a recipe of the catalogue.
        settings: Sections of a recipe for every cell.
    """

    plugins: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    baselines: tuple[Any, ...] = ()
    on_encoders: tuple[Any, ...] = ()
    batch_sizes: tuple[int, ...] = ()
    label_fractions: tuple[float, ...] = ()
    seeds: int = 1
    skip_missing: bool = False
    recipe: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    def without(self, names: Container[str]) -> Plan:
        """Return the plan without some encoders, in its lists of encoders and of baselines."""
        kept = tuple(each for each in self.of(ENCODER) if plugin_named(each) not in names)
        plugins = {**self.plugins, ENCODER.plural: kept}
        baselines = tuple(each for each in self.baselines if plugin_named(each) not in names)
        return replace(self, plugins=plugins, baselines=baselines)

    def of(self, kind: Kind) -> tuple[Any, ...]:
        """Return the plugins of a kind."""
        return self.plugins.get(kind.plural, ())

    def named(self) -> dict[str, tuple[Any, ...]]:
        """Return every list of plugins by its key in a plan file."""
        return {
            **{kind.plural: self.of(kind) for kind in RUN_KINDS},
            "baselines": self.baselines,
            "on_encoders": self.on_encoders,
        }

    def to_dict(self) -> dict[str, Any]:
        """Return the content of a plan file."""
        values = {key: value for key, value in asdict(self).items() if key not in ("plugins", *self.named())}
        flat = {**self.named(), **values}
        return {key: list(value) if isinstance(value, tuple) else value for key, value in flat.items()}

    def merged(self, **given: Any) -> Plan:
        """Replace values of the plan by the given ones, unless these are empty or ``None``, and check the result."""
        chosen = {key: value for key, value in given.items() if value not in (None, (), [])}
        return build_plan({**self.to_dict(), **chosen}, "the study") if chosen else self


def plugin_named(entry: Any) -> str:
    """Return the name of a plugin in a plan."""
    return str(entry if isinstance(entry, str) else entry["plugin"])


def plan_of(**given: Any) -> Plan:
    """Create a plan from the keys of a plan file: ``plan_of(methods=["dcl"], datasets=["phantom"], seeds=3)``.

    Raises:
        OptionError: See :func:`build_plan`.
    """
    return build_plan(given, "the study")


_OWN = tuple(option.name for option in fields(Plan) if option.name != "plugins")
_KEYS = (*(kind.plural for kind in RUN_KINDS), *_OWN)
#: Each list of plugins in a plan, with its kind. The names of encoders are allowed among the baselines too.
PLUGIN_LISTS: Mapping[str, Kind] = {
    **{kind.plural: kind for kind in RUN_KINDS},
    "baselines": METHOD,
    "on_encoders": METHOD,
}
_LISTS = (*PLUGIN_LISTS, "batch_sizes", "label_fractions")


def read_plan(word: str | Path, catalog: Catalog) -> Plan:
    """Read a plan file (a word with a YAML suffix or a slash), or a plan of the catalogue.

    Raises:
        OptionError: The plan does not exist, the file cannot be read, or its content is not a valid plan.
    """
    return build_plan(*plan_content(word, catalog))


def plan_content(word: str | Path, catalog: Catalog) -> tuple[dict[str, Any], str]:
    """Return the keys of a plan file or a plan of the catalogue, unchecked, and what to call it in a message.

    Raises:
        OptionError: The plan does not exist, or the file cannot be read.
    """
    path = Path(word)
    if path.suffix not in (".yaml", ".yml") and "/" not in str(word):
        return catalog.plan(str(word)), f"the plan '{word}'"
    try:
        values = read_yaml(path)
    except (OSError, ValueError) as error:
        cause = " ".join(str(error).split())
        raise OptionError(
            f"the plan file {path} cannot be read. {cause}. Give a YAML file, or one of: "
            f"{', '.join(catalog.plan_names())}."
        ) from error
    if not isinstance(values, dict):
        raise OptionError(
            f"the plan file {path} contains no plan. It must be a YAML mapping with the keys {_listed()}."
        )
    return values, f"the plan file {path}"


def build_plan(values: Mapping[str, Any], source: str) -> Plan:
    """Check a plan's keys and values.

    Args:
        values: Values by key; a single value may be given instead of a list of one.
        source: Where they come from, for messages.

    Raises:
        OptionError: A key is unknown, or a value is of the wrong type or out of range.
    """
    if "vary" in values:
        raise OptionError(f"{source} is a search of settings. Start it with medssl tune --plan.")
    for key in values:
        if key not in _KEYS:
            raise OptionError(f"{source} has an unknown key '{key}'.{did_you_mean(str(key), _KEYS)} Keys: {_listed()}.")
    given = {key: value for key, value in values.items() if value is not None and key != "summary"}
    for key in _LISTS:
        if key in given:
            given[key] = tuple(given[key]) if isinstance(given[key], list | tuple) else (given[key],)
    plugins = {kind.plural: given.pop(kind.plural) for kind in RUN_KINDS if given.get(kind.plural)}
    plan = Plan(plugins=plugins, **{key: value for key, value in given.items() if key in _OWN})
    if not isinstance(plan.skip_missing, bool):
        raise OptionError(f"{source} has skip_missing {plan.skip_missing!r:.60}. Expected: true or false.")
    _check_names(plan, source)
    _check_numbers(plan, source)
    if not isinstance(plan.settings, Mapping):
        raise OptionError(
            f"{source} has settings {plan.settings!r:.60}. They must be a mapping of sections. For instance: "
            "train: {epochs: 50}."
        )
    return replace(plan, label_fractions=tuple(float(share) for share in plan.label_fractions))


def _check_names(plan: Plan, source: str) -> None:
    for key, values in plan.named().items():
        for value in values:
            if not isinstance(value, str) and not (isinstance(value, Mapping) and isinstance(value.get("plugin"), str)):
                raise OptionError(
                    f"{source} has {value!r:.60} among its {key}. Each must be a name, or a mapping with the name as "
                    "`plugin` and options. Put a name in quotes if YAML reads it as another type."
                )
    if plan.recipe is not None and not isinstance(plan.recipe, str):
        raise OptionError(f"{source} has the recipe {plan.recipe!r:.60}. It must be the name of a recipe.")


def _check_numbers(plan: Plan, source: str) -> None:
    wanted: tuple[tuple[str, Sequence[Any], type, float, float, str], ...] = (
        ("seeds", (plan.seeds,), int, 1, math.inf, "a whole number of at least 1"),
        ("batch_sizes", plan.batch_sizes, int, 2, math.inf, "whole numbers of at least 2"),
        ("label_fractions", plan.label_fractions, float, math.ulp(0), 1, "numbers above 0 and up to 1"),
    )
    for key, values, kind, least, most, words in wanted:
        for value in values:
            number = isinstance(value, int | kind) and not isinstance(value, bool)
            if not (number and least <= value <= most):
                raise OptionError(f"{source} has {key} {value!r:.60}. Expected: {words}. Change it and run again.")


def _listed() -> str:
    return ", ".join(_KEYS)
