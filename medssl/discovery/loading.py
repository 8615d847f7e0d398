"""Imports a plugin and checks that it fulfils its contract."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from typing import Any

import entrypoints

from medssl.discovery.blame import loaded
from medssl.discovery.contract import violations
from medssl.discovery.finding import find
from medssl.discovery.guarding import settings_kept
from medssl.discovery.scanning import Plugin
from medssl.errors import OptionError, PluginError
from medssl.io.waiting import waiting_for

__all__ = ["load", "load_plugin"]


def load(plugin: Plugin) -> Any:
    """Import a plugin and return the object that its entry point names. The contract is not checked here.

    Raises:
        PluginError: The import fails; the cause is chained.
        OptionError: There is no folder for temporary files, which PyTorch needs as it is imported.
    """
    try:
        tempfile.gettempdir()
    except OSError as error:
        raise OptionError(
            "there is no folder for temporary files. PyTorch and other libraries need one. Free some space, or set "
            f"TMPDIR to a folder that you can write to. ({error.strerror or error})"
        ) from error
    try:
        with waiting_for(f"the import of {plugin}"), settings_kept(str(plugin), at_import=True):
            found: Any = entrypoints.EntryPoint.from_string(plugin.target, plugin.name).load()
    except PluginError as error:
        raise PluginError(f"{plugin} cannot be used: {error}") from error
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a plugin may call sys.exit() where it finds no GPU, for instance
        said = " ".join(str(error).split()) or "no message"
        raise PluginError(
            f"{plugin} cannot be loaded: {type(error).__name__}: {said:.2000}. "
            "The other plugins are not affected. Run again with `medssl --traceback` to see where it failed."
        ) from error
    loaded[plugin] = found
    return found


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
    contents = load(plugin)
    if found := violations(kind, contents):
        raise PluginError(
            f"{kind} '{plugin.name}' ({plugin.distribution} {plugin.version}) breaks the {kind} contract: "
            f"{'; '.join(found)}. It is defined at {plugin.target}. See the contract in medssl.contracts."
        )
    return plugin, contents
