"""Other hospitals: the settings of images that a run only tests on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medssl.catalog import Catalog
from medssl.contracts.kinds import DATASET
from medssl.errors import OptionError
from medssl.recipe import options
from medssl.recipe.choosing import Choice, choose

__all__ = ["External", "choose_external"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


@dataclass(frozen=True, kw_only=True)
class _Settings:
    path: Path
    labels: Mapping[str, str | None] | None = None


@dataclass(frozen=True, kw_only=True)
class External:
    """Images of another hospital.

    Attributes:
        name: The user's name for them.
        path: Folder of the images.
        labels: The run's label for each of their labels that has another name; ``None`` leaves its images out.
        dataset: The plugin that lists them.
    """

    name: str
    path: Path
    labels: Mapping[str, str | None]
    dataset: Choice

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as in a recipe file."""
        return {"path": str(self.path), "labels": dict(self.labels), **self.dataset.to_dict()}


def choose_external(values: Mapping[str, Any], dataset: Mapping[str, Any], catalog: Catalog) -> tuple[External, ...]:
    """Build the external test sets of a recipe.

    They are read by the run's dataset plugin with the run's options. An entry may set ``path``, ``labels``, another
    ``plugin``, and options of the plugin.

    Args:
        values: The section ``external``: settings by name.
        dataset: The section ``dataset``: ``plugin`` and options.
        catalog: Of plugins.

    Raises:
        OptionError: A name, a path or an option is wrong.
        PluginError: The plugin cannot be loaded.
    """
    found = []
    for name, entry in values.items():
        if not isinstance(entry, Mapping) or not entry.get("path"):
            raise OptionError(f"external.{name} has no path. Give the folder of its images: --external {name}=FOLDER.")
        if not _NAME.fullmatch(name):
            raise OptionError(
                f"an external test set cannot be called '{name}'. Use letters, digits, '-' and '_', for instance "
                "--external leiden=FOLDER."
            )
        own = {key: value for key, value in entry.items() if key in ("path", "labels")}
        settings = options.build(_Settings, own, f"external.{name}")
        plugin = str(entry.get("plugin") or dataset["plugin"])
        inherited = {key: value for key, value in dataset.items() if key != "plugin"}
        given = {key: value for key, value in entry.items() if key not in (*own, "plugin")}
        merged = {**(inherited if plugin == dataset["plugin"] else {}), **given}
        choice = choose(DATASET.name, plugin, merged, catalog)
        found.append(External(name=name, path=settings.path, labels=settings.labels or {}, dataset=choice))
    return tuple(found)
