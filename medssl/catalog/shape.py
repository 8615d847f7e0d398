"""The required structure of a catalogue file, and the checks of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from medssl.contracts.kinds import DATASET, EVALUATOR, KINDS, METHOD, RUN_KINDS
from medssl.errors import did_you_mean

__all__ = ["ABOUT_AUGMENTATION", "TOP_LEVEL", "field_problems", "problems"]

_PLURALS = tuple(kind.plural for kind in KINDS)
TOP_LEVEL = (*_PLURALS, "augmentations", "recipes", "plans", "published")
_RECIPE = ("summary", "settings", METHOD.plural, DATASET.plural, "cells")
_SECTIONS = (
    *("train", "views", "augmentation", "split", "evaluate", "precision"),
    *(kind.section for kind in RUN_KINDS),
)
_FACTS: Mapping[str, type] = {  # other facts may have any name and type
    **dict.fromkeys(
        (
            "summary",
            "package",
            "licence",
            "doi",
            "group",
            "image",
            "notes",
            "gate",
            "plugin",
            "blocked",
            "training_data",
        ),
        str,
    ),
    **dict.fromkeys(("paper", "counts", "sets", "options"), dict),
    **dict.fromkeys(("classes", "sources", "forbids", "trained_on"), list),
    **dict.fromkeys(("images", "features", "parameters"), int),
    **dict.fromkeys(("baseline", "default", "reads_files"), bool),
}
ABOUT_AUGMENTATION: Mapping[str, type] = {"summary": str, "base": str}  # the other keys are fields
_PAPER: Mapping[str, type] = {**dict.fromkeys(("title", "authors", "venue", "arxiv", "doi", "url"), str), "year": int}
_SOURCE: Mapping[str, type] = {**dict.fromkeys(("file", "url", "sha256", "md5"), str), "bytes": int}
_ROW: Mapping[str, type] = {
    **dict.fromkeys((DATASET.name, METHOD.name, EVALUATOR.name, "source", "split", "network"), str),
    **dict.fromkeys(("accuracy", "f1_weighted"), float),
    **dict.fromkeys(("batch_size", "test"), int),
}
_PLAN: Mapping[str, type] = {
    **dict.fromkeys(("summary", "recipe"), str),
    **dict.fromkeys(
        (*(kind.plural for kind in RUN_KINDS), "baselines", "on_encoders", "batch_sizes", "label_fractions"), list
    ),
    **dict.fromkeys(("settings", "vary"), dict),
    "objective": str,
    **dict.fromkeys(("seeds", "trials"), int),
    "skip_missing": bool,
}
_WORDS = {str: "a text", int: "a whole number", float: "a number", list: "a list", dict: "a mapping", bool: "yes or no"}


def problems(values: Any) -> Iterator[str]:
    """Yield one sentence for each violation of the structure that the head of ``registry.yaml`` describes."""
    if not isinstance(values, dict):
        yield f"expected sections ({', '.join(TOP_LEVEL)}), got {values!r:.60}."
        return
    yield from _unknown("", values, TOP_LEVEL)
    for section in (*_PLURALS, "augmentations", "recipes", "plans"):
        for name, entry in _each(values, section):
            where = _place(section, name)
            if not isinstance(name, str):
                yield f"{where}: a name must be a text. Put it in quotes."
            elif not isinstance(entry, dict | None):
                yield f"{where}: expected a mapping, got {entry!r:.60}."
            else:
                yield from _named_problems(section, where, entry or {})
    rows = values.get("published") or []
    if not isinstance(rows, list):
        yield f"published: expected a list, got {rows!r:.60}."
        return
    for number, row in enumerate(rows, start=1):
        yield from _typed(f"published, row {number}", row, _ROW, required=(DATASET.name, METHOD.name, EVALUATOR.name))


def field_problems(values: Mapping[str, Any], fields: tuple[str, ...]) -> Iterator[str]:
    """Yield one sentence for each augmentation field that is not in ``fields``."""
    for name, entry in _each(values, "augmentations"):
        for key in entry if isinstance(entry, dict) else ():
            if key not in fields:
                hint = did_you_mean(str(key), fields)
                yield f"{_place('augmentations', name)}: no field '{key}'.{hint} Fields: {', '.join(sorted(fields))}."


def _each(values: Mapping[str, Any], section: str) -> Iterator[tuple[Any, Any]]:
    entries = values.get(section) or {}
    yield from entries.items() if isinstance(entries, dict) else [("", entries)]


def _place(*names: Any) -> str:
    return ".".join(str(name) for name in names if name != "")


def _named_problems(section: str, where: str, entry: Mapping[str, Any]) -> Iterator[str]:
    if section == "recipes":
        yield from _recipe_problems(where, entry)
    elif section == "plans":
        yield from _unknown(where, entry, tuple(_PLAN))
        yield from _typed(where, entry, _PLAN)
    elif section == "augmentations":
        yield from _typed(where, entry, ABOUT_AUGMENTATION)
    elif section in _PLURALS:
        yield from _entry_problems(where, entry)


def _entry_problems(where: str, entry: Mapping[str, Any]) -> Iterator[str]:
    yield from _typed(where, entry, _FACTS)
    if isinstance(paper := entry.get("paper"), dict):
        yield from _typed(f"{where}.paper", paper, _PAPER)
    if isinstance(sources := entry.get("sources"), list):
        for number, source in enumerate(sources, start=1):
            yield from _typed(f"{where}.sources, number {number}", source, _SOURCE, required=("file", "url"))


def _recipe_problems(where: str, recipe: Mapping[str, Any]) -> Iterator[str]:
    yield from _unknown(where, recipe, _RECIPE)
    parts = {f"{where}.settings": recipe.get("settings")}
    for group in (METHOD.plural, DATASET.plural):
        parts |= {_place(where, group, name): settings for name, settings in _each(recipe, group)}
    for method, cells in _each(recipe, "cells"):
        parts |= {_place(where, "cells", method, name): s for name, s in _each({"cells": cells}, "cells")}
    for place, settings in parts.items():
        if not isinstance(settings, dict | None):
            yield f"{place}: expected a mapping, got {settings!r:.60}."
            continue
        yield from _unknown(place, settings or {}, _SECTIONS)
        for section, options in (settings or {}).items():
            if section != "precision" and not isinstance(options, dict | None):
                yield f"{place}.{section}: expected a mapping, got {options!r:.60}."


def _unknown(where: str, values: Mapping[Any, Any], known: tuple[str, ...]) -> Iterator[str]:
    for key in values:
        if key not in known:
            place = f"{where}: " if where else ""
            yield f"{place}no section '{key}'.{did_you_mean(str(key), known)} Sections: {', '.join(known)}."


def _typed(where: str, values: Any, types: Mapping[str, type], required: tuple[str, ...] = ()) -> Iterator[str]:
    if not isinstance(values, dict):
        yield f"{where}: expected a mapping, got {values!r:.60}."
        return
    for key, value in values.items():
        wanted = types.get(key)
        fits = isinstance(value, int | float if wanted is float else wanted or object)
        if wanted and (not fits or (isinstance(value, bool) and wanted is not bool)):
            hint = " Put it in quotes." if wanted is str and isinstance(value, int | float) else ""
            yield f"{where}.{key}: expected {_WORDS[wanted]}, got {value!r:.60}.{hint}"
    yield from (f"{where}: '{key}' is missing." for key in required if key not in values)
