"""Loads a plugin that a recipe names and checks its options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from medssl.catalog import Catalog
from medssl.contracts.kinds import Kind, kind_named
from medssl.discovery import load_plugin
from medssl.errors import OptionError, did_you_mean
from medssl.recipe import options
from medssl.recipe.naming import read_name

__all__ = ["Choice", "choose", "choose_many", "name_in", "plain"]


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One plugin that the recipe names, imported, with its options checked.

    Attributes:
        kind: Name of its kind.
        name: As the user wrote it.
        distribution: The package that provides it.
        version: Version of that package.
        plugin: The class.
        config: An instance of its ``Config``.
        loader: Name of the installed plugin, if ``name`` is a name of the catalogue or a file.
        facts: Entry of the catalogue.
        implied: Whether a recipe that names no plugin has this one.
    """

    kind: str
    name: str
    distribution: str
    version: str
    plugin: type[Any]
    config: Any
    loader: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict, compare=False)
    implied: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return the name and every option, except those of the plugin's ``Config.LATER`` that have their default.

        Options that came later are left out so that recipes of earlier versions keep their hash.
        """
        default = {each.name: each.default for each in fields(self.config)}
        later = {name for name in getattr(self.config, "LATER", ()) if getattr(self.config, name) == default[name]}
        return {"plugin": self.name, **{k: v for k, v in plain(asdict(self.config)).items() if k not in later}}

    @property
    def origin(self) -> dict[str, str]:
        """Return name, package and version, as written into a result."""
        named = {"name": self.name, "distribution": self.distribution, "version": self.version}
        return {**named, "loader": self.loader} if self.loader not in ("", self.name) else named


def name_in(kind: Kind, values: Mapping[str, Any], default: str = "") -> str:
    """Return the name of the plugin in merged layers, for a kind of which a run takes one; empty if none is named.

    Args:
        kind: The kind.
        values: The layers.
        default: The plugin if none is named.

    Raises:
        OptionError: No plugin is named, but a run needs one.
    """
    name = values.get(kind.section, {}).get("plugin") or default
    if not name and kind.required:
        raise OptionError(
            f"no {kind.name} is named. Give --{kind.name} NAME; `medssl list {kind.plural}` shows the names."
        )
    return str(name or "")


def choose(kind: str, name: str, values: Mapping[str, Any], catalog: Catalog) -> Choice:
    """Load a plugin and build its ``Config``.

    Args:
        kind: Name of its kind.
        name: The plugin's name, or ``distribution:name``.
        values: Its options; the key ``plugin`` is ignored.
        catalog: Knows which package provides a name that is not installed.

    Raises:
        PluginError: See :func:`medssl.discovery.load_plugin`.
        OptionError: An option is unknown, of the wrong type, or out of range.
    """
    named = read_name(kind_named(kind), name, catalog)
    found, plugin = load_plugin(kind, named.plugin, catalog.packages(kind))
    given = {**named.options, **{key: value for key, value in values.items() if key != "plugin"}}
    return Choice(
        kind=kind,
        name=name,
        distribution=found.distribution,
        version=found.version,
        plugin=plugin,
        config=options.build(plugin.Config, given, f"{kind} '{name}'"),
        loader=found.name,
        facts=catalog.entry(kind, name),
        implied=name == catalog.default(kind),
    )


def choose_many(kind: Kind, values: Mapping[str, Any], user: Mapping[str, Any], catalog: Catalog) -> tuple[Choice, ...]:
    """Choose the plugins of a kind of which a run takes several: those in the list of the strongest layer.

    Args:
        kind: The kind.
        values: All layers, merged; the key ``*`` holds the names of the strongest list.
        user: The user's layers alone; options for a plugin that no list names are an error. If a run needs no plugin
            of this kind, they choose the plugin.
        catalog: As for :func:`choose`.

    Raises:
        OptionError: See :func:`choose`; or no plugin is named, but a run needs one.
    """
    section = values.get(kind.section, {})
    names = section.get("*", [])
    given = [name for name in user.get(kind.section, {}) if name != "*"]
    if isinstance(names, list) and not kind.required:
        names = [*names, *(name for name in given if name not in names)]
    if not isinstance(names, list) or not all(isinstance(section.get(name), Mapping | None) for name in names):
        raise OptionError(
            f"the section '{kind.section}' must list names, or have a mapping of options for each name. Write it as "
            "`[name, ...]` or `name: {option: value}`."
        )
    for name in given:
        if name not in names:
            raise OptionError(
                f"options were given for the {kind.name} '{name}', which this run does not use."
                f"{did_you_mean(name, names)} It uses: {', '.join(names) or 'none'}. Add --{kind.name} {name}."
            )
    if not names and kind.required:
        raise OptionError(
            f"no {kind.name} is named. Give --{kind.name} NAME; `medssl list {kind.plural}` shows the names."
        )
    return tuple(choose(kind.name, name, section.get(name) or {}, catalog) for name in names)


def plain(value: Any) -> Any:
    """Turn paths and tuples into values that YAML and JSON can hold."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value
