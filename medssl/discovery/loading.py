"""Imports a plugin and checks that it fulfils its contract."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import entrypoints

from medssl.discovery.contract import violations
from medssl.discovery.finding import find
from medssl.discovery.scanning import Plugin
from medssl.errors import PluginError

__all__ = ["load", "load_plugin"]


def load(plugin: Plugin) -> Any:
    """Import a plugin and return the object that its entry point names. The contract is not checked here.

    Raises:
        PluginError: The import fails; the cause is chained.
    """
    try:
        return entrypoints.EntryPoint.from_string(plugin.target, plugin.name).load()
    except PluginError as error:
        raise PluginError(f"{plugin} cannot be used: {error}") from error
    except Exception as error:
        raise PluginError(
            f"{plugin} cannot be loaded: {type(error).__name__}: {error}. "
            "The other plugins are not affected. Run again with `medssl --traceback` to see where it failed."
        ) from error


def load_plugin(kind: str, name: str, packages: Mapping[str, str] | None = None) -> tuple[Plugin, type[Any]]:
    """Find a plugin by name, import it, and check that it fulfils its contract.

    Args:
        kind: Name of a kind.
        name: Its name, or ``distribution:name`` if two distributions use the same name.
        packages: Known names that are not installed, with the package that provides each (from the catalogue).

    Raises:
        PluginError: It is unknown, missing, broken, ambiguous, or violates the contract (one message lists all
            violations).
    """
    plugin = find(kind, name, packages=packages)
    loaded = load(plugin)
    if found := violations(kind, loaded):
        raise PluginError(
            f"{kind} '{plugin.name}' ({plugin.distribution} {plugin.version}) breaks the {kind} contract: "
            f"{'; '.join(found)}. It is defined at {plugin.target}. See the contract in medssl.contracts."
        )
    return plugin, loaded
