"""A plan of a search: the ranges of settings, the objective, and the settings that all trials share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medssl.catalog import Catalog
from medssl.errors import OptionError, did_you_mean
from medssl.study.plan import plan_content

__all__ = ["SearchPlan", "read_search_plan"]


@dataclass(frozen=True, kw_only=True)
class SearchPlan:
    """A plan of a search.

    Attributes:
        vary: Ranges by setting.
        objective: ``EVALUATOR.METRIC``; ``None``: the AUROC of the quickest evaluator.
        trials: Number of settings to try; ``None``: the command's.
        recipe: Name of a recipe of the catalogue; ``None``: the default one.
        settings: Sections of a recipe for every trial.
    """

    vary: Mapping[str, str]
    objective: str | None = None
    trials: int | None = None
    recipe: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


_KINDS: Mapping[str, type] = {"vary": dict, "objective": str, "trials": int, "recipe": str, "settings": dict}
_WORDS = {dict: "a mapping", str: "a text", int: "a whole number"}


def read_search_plan(word: str | Path, catalog: Catalog) -> SearchPlan:
    """Read a plan file or a plan of the catalogue, see :func:`medssl.study.plan.read_plan`.

    Raises:
        OptionError: The plan does not exist, cannot be read, or is no plan of a search.
    """
    values, source = plan_content(word, catalog)
    if not values.get("vary"):
        raise OptionError(f"{source} has no ranges under `vary`, so it is no search. Start a study with medssl bench.")
    for key, value in values.items():
        if key != "summary" and key not in _KINDS:
            raise OptionError(
                f"{source} has an unknown key '{key}'.{did_you_mean(str(key), _KINDS)} Keys: {', '.join(_KINDS)}."
            )
        if key != "summary" and not isinstance(value, _KINDS[key]):
            raise OptionError(f"{source} has {key} {value!r:.60}. Expected: {_WORDS[_KINDS[key]]}.")
    vary = {str(key): str(text) for key, text in values["vary"].items()}
    return SearchPlan(**{**{key: values[key] for key in _KINDS if key in values}, "vary": vary})
