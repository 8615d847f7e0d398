"""The catalogue: returns what is known about a name, installed or not."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from medssl.catalog.shape import ABOUT_AUGMENTATION
from medssl.contracts.kinds import DATASET, EVALUATOR, KINDS, METHOD, kind_named
from medssl.errors import OptionError, did_you_mean

__all__ = ["Catalog", "merged"]


@dataclass(frozen=True)
class Catalog:
    """Facts about names. Get one from :func:`medssl.catalog.load_catalog`.

    A name may be given as ``distribution:name``; the catalogue uses the part after the colon. The caller may change the
    values that the methods return.
    """

    content: Mapping[str, Any]

    def names(self, kind: str) -> list[str]:
        """List every known name of a kind, installed or not."""
        return sorted(self.content[kind_named(kind).plural])

    def entry(self, kind: str, name: str) -> Mapping[str, Any]:
        """Return the facts about a name; empty if nothing is known."""
        section = self.content[kind_named(kind).plural]
        facts: Mapping[str, Any] = section.get(name) or section.get(_bare(name), {})
        return copy.deepcopy(facts)

    def summary(self, kind: str, name: str) -> str:
        """Return the summary line of a name, of an ``augmentation`` or of a ``recipe``; empty if there is none."""
        if kind in {known.name for known in KINDS}:
            return str(self.entry(kind, name).get("summary", ""))
        return str(self.content[f"{kind}s"].get(name, {}).get("summary", ""))

    def packages(self, kind: str) -> dict[str, str]:
        """Map the names that other packages provide to these packages."""
        return {name: str(e["package"]) for name, e in self.content[kind_named(kind).plural].items() if "package" in e}

    def presets(self, kind: str) -> list[str]:
        """List the names of a kind that stand for a plugin with options, and those known to be impossible here.

        Their entries have the key ``plugin``, or ``blocked`` with the reason.
        """
        section = self.content[kind_named(kind).plural]
        return sorted(name for name, entry in section.items() if "plugin" in entry or "blocked" in entry)

    def default(self, kind: str) -> str:
        """Return the plugin that a recipe uses if it names none; empty: it must name one."""
        return self._marked(kind, "default")

    def reader(self, kind: str) -> str:
        """Return the plugin that takes files and folders as names; empty if none does."""
        return self._marked(kind, "reads_files")

    def _marked(self, kind: str, mark: str) -> str:
        section = self.content[kind_named(kind).plural]
        return next((str(name) for name, entry in section.items() if entry.get(mark) is True), "")

    def augmentation_names(self) -> list[str]:
        """List the augmentation recipes."""
        return sorted(self.content["augmentations"])

    def augmentation(self, name: str) -> Mapping[str, Any]:
        """Return fields of :class:`medssl.contracts.Augmentation`, merged with those of the recipe's ``base``.

        Raises:
            OptionError: The name is unknown, the name of a ``base`` is unknown, or a recipe is its own base.
        """
        fields: dict[str, Any] = {}
        for recipe in reversed(self._lineage(name)):
            fields |= recipe
        return copy.deepcopy({key: value for key, value in fields.items() if key not in ABOUT_AUGMENTATION})

    def _lineage(self, name: str) -> list[Mapping[str, Any]]:
        """Return an augmentation recipe, its base, the base of that, and so on."""
        names, found = [name], [self._pick("augmentations", name)]
        while base := found[-1].get("base"):
            if base in names:
                raise OptionError(
                    f"the augmentation '{base}' is its own base: {' from '.join([*names, base])}. "
                    "Remove one of these bases. To change an existing recipe, give its name and only the new values."
                )
            if base not in self.content["augmentations"]:
                known = self.augmentation_names()
                raise OptionError(
                    f"the augmentation '{names[-1]}' has the base '{base}', which does not exist."
                    f"{did_you_mean(base, known)} Known augmentations: {', '.join(known)}."
                )
            names.append(base)
            found.append(self.content["augmentations"][base])
        return found

    def recipe(self, name: str, method: str, dataset: str) -> dict[str, Any]:
        """Return a recipe's settings for one method on one dataset.

        The method's settings replace the recipe's own, the dataset's replace those, and the cell's replace all others.

        Returns:
            Settings by section. ``evaluators`` is a list of mappings, each with a ``plugin`` and options: the
            evaluators that a run uses by default.

        Raises:
            OptionError: The recipe is unknown. For an unknown method or dataset the recipe's own settings are returned.
        """
        recipe = self._pick("recipes", name)
        method, dataset = _bare(method), _bare(dataset)
        settings: dict[str, Any] = {}
        for layer in (
            recipe.get("settings"),
            (recipe.get(METHOD.plural) or {}).get(method),
            (recipe.get(DATASET.plural) or {}).get(dataset),
            ((recipe.get("cells") or {}).get(method) or {}).get(dataset),
        ):
            settings = merged(settings, layer or {})
        if EVALUATOR.section in settings:
            settings[EVALUATOR.section] = [
                {"plugin": n, **(own or {})} for n, own in settings[EVALUATOR.section].items()
            ]
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
        """Return published results on a dataset, which a report shows beside its own."""
        return [dict(row) for row in self.content["published"] if row[DATASET.name] == _bare(dataset)]

    def _pick(self, section: str, name: str) -> Mapping[str, Any]:
        known = self.content[section]
        if name not in known:
            listed = ", ".join(sorted(known)) or "none"
            raise OptionError(
                f"no {section[:-1]} named '{name!s:.200}'.{did_you_mean(name, known)} Known {section}: {listed}."
            )
        picked: Mapping[str, Any] = known[name]
        return picked


def _bare(name: str) -> str:
    return name.rpartition(":")[2]


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Merge mappings at every level; all other values of ``above`` replace those of ``below``."""
    found = dict(below)
    for key, value in above.items():
        beneath = found.get(key)
        if isinstance(value, Mapping):
            found[key] = merged(beneath if isinstance(beneath, Mapping) else {}, value)
        elif value is not None or not isinstance(beneath, Mapping):  # an empty section changes nothing
            found[key] = value
    return found
