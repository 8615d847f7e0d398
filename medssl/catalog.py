"""The catalogue: what is known about names, read from ``registry.yaml`` and a file of the user's own over it.

It makes no plugin loadable and holds no plugin's defaults; it adds papers, licences, sources, augmentations, recipes
and published results to names, whether they are installed or not.
"""

from __future__ import annotations

import copy
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from medssl.errors import OptionError, did_you_mean

__all__ = ["Catalog", "load_catalog"]

_KINDS = {"method": "methods", "dataset": "datasets", "evaluator": "evaluators"}
_TOP_LEVEL = (*_KINDS.values(), "augmentations", "recipes", "plans", "published")
_RECIPE = ("summary", "settings", "methods", "datasets", "cells")
_SECTIONS = (
    *("train", "views", "augmentation", "encoder", "split", "evaluate", "precision"),
    *("method", "dataset", "evaluators"),
)
_FACTS: Mapping[str, type] = {  # every other fact is free in name and form
    **dict.fromkeys(("summary", "package", "licence", "doi", "group", "image", "notes"), str),
    **dict.fromkeys(("paper", "counts", "sets"), dict),
    **dict.fromkeys(("classes", "sources"), list),
    "images": int,
    **dict.fromkeys(("baseline", "as_given"), bool),
}
_ABOUT_AUGMENTATION: Mapping[str, type] = {"summary": str, "base": str}  # every other key is a field
_PAPER: Mapping[str, type] = {**dict.fromkeys(("title", "authors", "venue", "arxiv", "doi", "url"), str), "year": int}
_SOURCE: Mapping[str, type] = {**dict.fromkeys(("file", "url", "sha256", "md5"), str), "bytes": int}
_ROW: Mapping[str, type] = {
    **dict.fromkeys(("dataset", "method", "evaluator", "source"), str),
    **dict.fromkeys(("accuracy", "f1_weighted"), float),
    **dict.fromkeys(("batch_size", "test"), int),
}
_PLAN: Mapping[str, type] = {
    **dict.fromkeys(("summary", "recipe"), str),
    **dict.fromkeys(("methods", "baselines", "datasets", "evaluators", "batch_sizes", "label_fractions"), list),
    "settings": dict,
    "seeds": int,
}
_WORDS = {str: "a text", int: "a whole number", float: "a number", list: "a list", dict: "a mapping", bool: "yes or no"}


# ------------------------------------------------------------------------------------------------------------ asking


@dataclass(frozen=True)
class Catalog:
    """What is known about names. Get one from :func:`load_catalog`.

    A name may be given as ``distribution:name``; the catalogue knows it by its last part. What the methods return
    belongs to the caller.
    """

    content: Mapping[str, Any]

    def names(self, kind: str) -> list[str]:
        """List every known name of a kind (``method``, ``dataset``, ``evaluator``), installed or not."""
        return sorted(self.content[_KINDS[kind]])

    def entry(self, kind: str, name: str) -> Mapping[str, Any]:
        """Return the facts about a name; empty when nothing is known."""
        section = self.content[_KINDS[kind]]
        facts: Mapping[str, Any] = section.get(name) or section.get(_bare(name), {})
        return copy.deepcopy(facts)

    def summary(self, kind: str, name: str) -> str:
        """Return the one line about a name, an ``augmentation`` or a ``recipe``; empty when nothing is known."""
        if kind in _KINDS:
            return str(self.entry(kind, name).get("summary", ""))
        return str(self.content[f"{kind}s"].get(name, {}).get("summary", ""))

    def packages(self, kind: str) -> dict[str, str]:
        """Map the known names that other packages bring to those packages."""
        return {name: str(e["package"]) for name, e in self.content[_KINDS[kind]].items() if "package" in e}

    def augmentation_names(self) -> list[str]:
        """List the augmentation recipes."""
        return sorted(self.content["augmentations"])

    def augmentation(self, name: str) -> Mapping[str, Any]:
        """Return fields of :class:`medssl.contracts.Augmentation`, laid over those of the recipe it starts from.

        Raises:
            OptionError: The name is unknown, or that of a ``base`` is, or a recipe starts from itself.
        """
        fields: dict[str, Any] = {}
        for recipe in reversed(self._lineage(name)):
            fields |= recipe
        return copy.deepcopy({key: value for key, value in fields.items() if key not in _ABOUT_AUGMENTATION})

    def _lineage(self, name: str) -> list[Mapping[str, Any]]:
        """Return an augmentation recipe, the one it starts from, the one that starts from, and so on."""
        names, found = [name], [self._pick("augmentations", name)]
        while base := found[-1].get("base"):
            if base in names:
                raise OptionError(
                    f"the augmentation '{base}' starts from itself: {' from '.join([*names, base])}. "
                    "Take out one of these bases; to change a recipe that exists, name it and the new values alone."
                )
            if base not in self.content["augmentations"]:
                known = self.augmentation_names()
                raise OptionError(
                    f"the augmentation '{names[-1]}' starts from '{base}', which there is not."
                    f"{did_you_mean(base, known)} Known augmentations: {', '.join(known)}."
                )
            names.append(base)
            found.append(self.content["augmentations"][base])
        return found

    def marked(self, kind: str, mark: str) -> list[str]:
        """List the names of a kind whose entry has a mark (``baseline``, ``as_given``) set."""
        return [name for name in self.names(kind) if self.entry(kind, name).get(mark)]

    def recipe_names(self) -> list[str]:
        """List the recipes."""
        return sorted(self.content["recipes"])

    def recipe(self, name: str, method: str, dataset: str) -> dict[str, Any]:
        """Return a recipe's settings for one method on one dataset.

        The method's settings are laid over the recipe's own, the dataset's over those, and the cell's over all.

        Returns:
            Settings by section; ``evaluators`` is a list of mappings, each with a ``plugin`` and options: those are
            what a run uses when it is not told otherwise.

        Raises:
            OptionError: The recipe is unknown. An unknown method or dataset gets the recipe's own settings.
        """
        recipe = self._pick("recipes", name)
        method, dataset = _bare(method), _bare(dataset)
        settings: dict[str, Any] = {}
        for layer in (
            recipe.get("settings"),
            (recipe.get("methods") or {}).get(method),
            (recipe.get("datasets") or {}).get(dataset),
            ((recipe.get("cells") or {}).get(method) or {}).get(dataset),
        ):
            settings = _merged(settings, layer or {})
        if "evaluators" in settings:
            settings["evaluators"] = [{"plugin": n, **(own or {})} for n, own in settings["evaluators"].items()]
        return copy.deepcopy(settings)

    def plan_names(self) -> list[str]:
        """List the plans of a study."""
        return sorted(self.content["plans"])

    def plan(self, name: str) -> dict[str, Any]:
        """Return the keys of a plan file.

        Raises:
            OptionError: The name is unknown.
        """
        plan = copy.deepcopy(self._pick("plans", name))
        return {key: value for key, value in plan.items() if key != "summary"}

    def published(self, dataset: str) -> list[dict[str, Any]]:
        """Return published results on a dataset, for a report to print beside its own."""
        return [dict(row) for row in self.content["published"] if row["dataset"] == _bare(dataset)]

    def _pick(self, section: str, name: str) -> Mapping[str, Any]:
        known = self.content[section]
        if name not in known:
            listed = ", ".join(sorted(known)) or "none"
            raise OptionError(
                f"no {section[:-1]} named '{name}'.{did_you_mean(name, known)} Known {section}: {listed}."
            )
        picked: Mapping[str, Any] = known[name]
        return picked


def _bare(name: str) -> str:
    return name.rpartition(":")[2]


# ----------------------------------------------------------------------------------------------------------- loading


def load_catalog(extra: Path | None = None) -> Catalog:
    """Read medssl's catalogue and lay the user's over it.

    Mappings are merged to any depth, published rows are added, and every other value is replaced.

    Args:
        extra: A file of the same shape that holds only what is new or different.

    Raises:
        OptionError: A file cannot be read or has the wrong shape; all its problems at once.
    """
    content = _read(_shipped())
    if extra is not None:
        fields = {field for recipe in content["augmentations"].values() for field in recipe}
        own = _read(extra, tuple(fields | _ABOUT_AUGMENTATION.keys()))
        content = {**_merged(content, own), "published": content["published"] + own["published"]}
    return Catalog(content)


def _shipped() -> Path:
    """Find the file inside an installed package, else, in an editable install, at the top of the checkout."""
    packaged = Path(__file__).with_name("registry.yaml")
    return packaged if packaged.is_file() else Path(__file__).parents[1] / "registry.yaml"


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        beneath = merged.get(key)
        if isinstance(value, Mapping):
            merged[key] = _merged(beneath if isinstance(beneath, Mapping) else {}, value)
        elif value is not None or not isinstance(beneath, Mapping):  # an empty section changes nothing
            merged[key] = value
    return merged


def _read(file: Path, fields: tuple[str, ...] = ()) -> dict[str, Any]:
    """Read and check one file; augmentations may hold these fields, and any if there are none."""
    try:
        values = yaml.load(file.read_text(encoding="utf-8"), Loader=_Loader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise OptionError(
            f"the catalogue {file} cannot be read. {error}. Name a YAML file with --registry, in the shape of medssl's "
            "own registry.yaml."
        ) from error
    problems = list(_problems(values if values is not None else {}))
    if fields and isinstance(values, dict):
        problems += _field_problems(values, fields)
    if problems:
        listed = "".join(f"\n  {problem}" for problem in problems)
        raise OptionError(f"the catalogue {file} has the wrong shape.{listed}")
    return _completed(values or {})


def _completed(values: Mapping[str, Any]) -> dict[str, Any]:
    """Put an empty collection wherever a section or an entry is left out or left empty."""
    sections = {s: {n: e or {} for n, e in (values.get(s) or {}).items()} for s in _TOP_LEVEL if s != "published"}
    return {**sections, "published": values.get("published") or []}


def _mapping(loader: Any, node: yaml.MappingNode) -> dict[Hashable, Any]:
    """Build a mapping, refusing a key that stands there twice: YAML would keep the last and drop the first unseen."""
    seen: set[str] = set()
    for key, _ in node.value:
        if str(key.value) in seen and key.tag != "tag:yaml.org,2002:merge":
            raise yaml.constructor.ConstructorError(None, None, f"'{key.value}' stands here twice", key.start_mark)
        seen.add(str(key.value))
    built: dict[Hashable, Any] = loader.construct_mapping(node, deep=True)
    return built


_Loader: Any = type("_Loader", (getattr(yaml, "CSafeLoader", yaml.SafeLoader),), {})  # libyaml's is six times as fast
_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)


# ---------------------------------------------------------------------------------------------------------- checking


def _problems(values: Any) -> Iterator[str]:
    """Yield one sentence for each thing that is not as the head of ``registry.yaml`` says."""
    if not isinstance(values, dict):
        yield f"expected sections ({', '.join(_TOP_LEVEL)}), got {values!r:.60}."
        return
    yield from _unknown("", values, _TOP_LEVEL)
    for section in (*_KINDS.values(), "augmentations", "recipes", "plans"):
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
        yield from _typed(f"published, row {number}", row, _ROW, required=("dataset", "method", "evaluator"))


def _field_problems(values: Mapping[str, Any], fields: tuple[str, ...]) -> Iterator[str]:
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
        yield from _typed(where, entry, _ABOUT_AUGMENTATION)
    elif section in _KINDS.values():
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
    for group in ("methods", "datasets"):
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
