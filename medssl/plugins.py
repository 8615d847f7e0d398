"""From a name to a class that keeps its contract."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any

from medssl import registry
from medssl.contracts import Dataset, Evaluator, Method
from medssl.errors import PluginError

__all__ = ["load_plugin", "violations"]

_BASES: Mapping[str, type] = {"method": Method, "dataset": Dataset, "evaluator": Evaluator}


def violations(kind: str, plugin: object) -> list[str]:
    """Say, in one phrase each, what ``plugin`` lacks to be a plugin of this kind; an empty list when nothing.

    Only what can be seen without building it; ``medssl check`` goes further.

    Args:
        kind: ``method``, ``dataset`` or ``evaluator``.
        plugin: What the entry point loaded.
    """
    base = _BASES[kind]
    if not isinstance(plugin, type):
        return [f"the entry point names {type(plugin).__name__} {plugin!r}, not a class"]
    if not issubclass(plugin, base):
        return [f"{plugin.__name__} is not a subclass of medssl.contracts.{base.__name__}"]
    found = [f"{name}() is missing" for name in sorted(getattr(plugin, "__abstractmethods__", ()))]
    return found + _config_violations(plugin.Config) + _constructor_violations(base, plugin)  # type: ignore[attr-defined]


def _config_violations(config: object) -> list[str]:
    if not (isinstance(config, type) and is_dataclass(config)):
        return ["Config is not a dataclass"]
    found = []
    parameters = config.__dataclass_params__  # type: ignore[attr-defined]
    if not parameters.frozen:
        found.append("Config is not frozen (@dataclass(frozen=True, kw_only=True))")
    try:
        config()
    except TypeError:
        without = [option.name for option in fields(config) if option.init and _has_no_default(option)]
        found.append(f"Config has options without a default: {', '.join(without)}")
    return found


def _has_no_default(option: Field[Any]) -> bool:
    return option.default is MISSING and option.default_factory is MISSING


def _constructor_violations(base: type, plugin: type) -> list[str]:
    wanted = list(inspect.signature(base).parameters)
    got = inspect.signature(plugin).parameters
    if any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in got.values()):
        return ["__init__() takes *args or **kwargs, so its arguments cannot be checked"]
    required = [n for n, p in got.items() if p.default is p.empty]
    if len(got) < len(wanted) or len(required) > len(wanted):
        return [f"__init__() must take ({', '.join(wanted)}), but takes ({', '.join(got)})"]
    return []


def load_plugin(kind: str, name: str, packages: Mapping[str, str] | None = None) -> tuple[registry.Plugin, type[Any]]:
    """Find a plugin by name, import it, and make sure that it keeps its contract.

    Args:
        kind: ``method``, ``dataset`` or ``evaluator``.
        name: Its name, or ``distribution:name`` where two distributions claim one name.
        packages: Known names that are not installed, with the package that brings each (from the catalogue).

    Raises:
        PluginError: It is unknown, missing, broken, claimed twice, or breaks the contract (all violations at once).
    """
    plugin = registry.find(kind, name, packages=packages)
    loaded = registry.load(plugin)
    if found := violations(kind, loaded):
        raise PluginError(
            f"{kind} '{plugin.name}' ({plugin.distribution} {plugin.version}) breaks the {kind} contract: "
            f"{'; '.join(found)}. It is defined at {plugin.target}. See the contract in medssl.contracts."
        )
    return plugin, loaded
