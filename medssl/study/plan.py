"""A plan: the values that vary in a study, read from a YAML file, the catalogue, or command-line options."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import yaml

from medssl.catalog import Catalog
from medssl.contracts.kinds import KINDS, METHOD, Kind
from medssl.errors import OptionError, did_you_mean

__all__ = ["PLUGIN_LISTS", "VARIED", "Plan", "build_plan", "read_plan"]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The values that vary in a study, and the settings that all cells share.

    A method, a dataset or an evaluator is a name, or a mapping of ``plugin`` (the name) and options.

    Attributes:
        methods: Methods, run at every batch size.
        baselines: Methods that run only at the first batch size; a method that the catalogue marks as baseline does
            too.
        datasets: Datasets; each has its own table.
        evaluators: Evaluators that replace the recipe's; empty: the recipe's.
        batch_sizes: Batch sizes of pre-training; empty: the recipe's.
        label_fractions: Fractions of the training labels that the evaluators see, 0 to 1; empty: all labels.
        seeds: Number of seeds, counted from 0.
        recipe: Name of a recipe of the catalogue.
        settings: Sections of a recipe for every cell.
    """

    methods: tuple[Any, ...] = ()
    baselines: tuple[Any, ...] = ()
    datasets: tuple[Any, ...] = ()
    evaluators: tuple[Any, ...] = ()
    batch_sizes: tuple[int, ...] = ()
    label_fractions: tuple[float, ...] = ()
    seeds: int = 1
    recipe: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the content of a plan file."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    def merged(self, **given: Any) -> Plan:
        """Replace values of the plan by the given ones, unless these are empty or ``None``, and check the result."""
        chosen = {key: value for key, value in given.items() if value not in (None, (), [])}
        return build_plan({**self.to_dict(), **chosen}, "the study") if chosen else self


_KEYS = tuple(option.name for option in fields(Plan))
#: The kinds of plugins that a plan lists.
VARIED = tuple(kind for kind in KINDS if kind.plural in _KEYS)
#: Each list of plugins in a plan, with its kind.
PLUGIN_LISTS: Mapping[str, Kind] = {**{kind.plural: kind for kind in VARIED}, "baselines": METHOD}
_LISTS = tuple(option.name for option in fields(Plan) if option.default == ())


def read_plan(word: str | Path, catalog: Catalog) -> Plan:
    """Read a plan file (a word with a YAML suffix or a slash), or a plan of the catalogue.

    Raises:
        OptionError: The plan does not exist, the file cannot be read, or its content is not a valid plan.
    """
    path = Path(word)
    if path.suffix not in (".yaml", ".yml") and "/" not in str(word):
        return build_plan(catalog.plan(str(word)), f"the plan '{word}'")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        cause = " ".join(str(error).split())
        raise OptionError(
            f"the plan file {path} cannot be read. {cause}. Give a YAML file, or one of: "
            f"{', '.join(catalog.plan_names())}."
        ) from error
    if not isinstance(values, dict):
        raise OptionError(
            f"the plan file {path} contains no plan. It must be a YAML mapping with the keys {_listed()}."
        )
    return build_plan(values, f"the plan file {path}")


def build_plan(values: Mapping[str, Any], source: str) -> Plan:
    """Check a plan's keys and values.

    Args:
        values: Values by key; a single value may be given instead of a list of one.
        source: Where they come from, for messages.

    Raises:
        OptionError: A key is unknown, or a value is of the wrong type or out of range.
    """
    for key in values:
        if key not in _KEYS:
            raise OptionError(f"{source} has an unknown key '{key}'.{did_you_mean(str(key), _KEYS)} Keys: {_listed()}.")
    given = {key: value for key, value in values.items() if value is not None and key != "summary"}
    for key in _LISTS:
        if key in given:
            given[key] = tuple(given[key]) if isinstance(given[key], list | tuple) else (given[key],)
    plan = Plan(**given)
    _check_names(plan, source)
    _check_numbers(plan, source)
    if not isinstance(plan.settings, Mapping):
        raise OptionError(
            f"{source} has settings {plan.settings!r:.60}. They must be a mapping of sections. For instance: "
            "train: {epochs: 50}."
        )
    return replace(plan, label_fractions=tuple(float(share) for share in plan.label_fractions))


def _check_names(plan: Plan, source: str) -> None:
    for key in PLUGIN_LISTS:
        for value in getattr(plan, key):
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
