"""Checks whether a class fulfils the contract of its kind, without building an instance."""

from __future__ import annotations

import inspect
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any

from medssl.contracts.first_edition import old_words
from medssl.contracts.kinds import kind_named

__all__ = ["violations"]


def violations(kind: str, plugin: object) -> list[str]:
    """List what ``plugin`` lacks to be a plugin of this kind, one phrase each; empty if nothing is missing.

    Only what can be seen without building an instance is checked; ``medssl check`` checks more.

    Args:
        kind: Name of a kind.
        plugin: The object that the entry point loaded.
    """
    base = kind_named(kind).load_contract()
    if not isinstance(plugin, type):
        return [f"the entry point names {type(plugin).__name__} {plugin!r}, not a class"]
    if not issubclass(plugin, base):
        return [f"{plugin.__name__} is not a subclass of {_public(base)}"]
    missing = sorted(getattr(plugin, "__abstractmethods__", ()))
    found = [old] if (old := old_words(plugin)) else [f"{name}() is missing" for name in missing]
    own: Any = plugin
    return (
        found + _attribute_violations(base, own) + _config_violations(own.Config) + _constructor_violations(base, own)
    )


def _attribute_violations(base: type, plugin: type[Any]) -> list[str]:
    """List the attributes of the class that have another type than in the contract, or name unknown targets."""
    from medssl.contracts.targets import TARGETS  # noqa: PLC0415  (numpy, which `medssl list` does not need)

    found = []
    for name, usual in vars(base).items():
        value = getattr(plugin, name, None)
        if name.startswith("_") or not isinstance(usual, bool | str | tuple) or isinstance(value, property):
            continue
        if not isinstance(value, type(usual)):
            wanted = {bool: "True or False", str: "a text", tuple: "a tuple of texts"}[type(usual)]
            found.append(f"{name} must be {wanted}, but is {value!r:.80}")
        elif isinstance(value, tuple) and not all(isinstance(each, str) for each in value):
            found.append(f"{name} must be a tuple of texts, but is {value!r:.80}")
    targets = getattr(plugin, "targets", None)
    if isinstance(targets, tuple) and not (targets and set(map(str, targets)) <= set(TARGETS)):
        found.append(f"targets must name some of {', '.join(TARGETS)}, but is {targets!r:.80}")
    needs, allowed = getattr(plugin, "needs", None), ("features", "images")
    if hasattr(base, "needs") and isinstance(needs, str) and needs not in allowed:
        found.append(f"needs must be one of {', '.join(allowed)}, but is '{needs:.80}'")
    return found


def _config_violations(config: object) -> list[str]:
    if not (isinstance(config, type) and is_dataclass(config)):
        return ["Config is not a dataclass"]
    found = []
    parameters = config.__dataclass_params__  # type: ignore[attr-defined]
    if not parameters.frozen:
        found.append("Config is not frozen (@dataclass(frozen=True, kw_only=True))")
    without = [option.name for option in fields(config) if option.init and _has_no_default(option)]
    if without:
        return [*found, f"Config has options without a default: {', '.join(without)}"]
    try:
        config()
    except Exception as error:  # a third party's code may raise anything
        found.append(f"Config cannot be built from its defaults ({type(error).__name__}: {error})")
    return found


def _has_no_default(option: Field[Any]) -> bool:
    return option.default is MISSING and option.default_factory is MISSING


def _constructor_violations(base: type, plugin: type) -> list[str]:
    wanted = list(inspect.signature(base).parameters)
    try:
        got = inspect.signature(plugin).parameters
    except (ValueError, TypeError):
        return ["__init__() has no signature that Python can read"]
    if any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in got.values()):
        return ["__init__() takes *args or **kwargs, so its arguments cannot be checked"]
    required = [n for n, p in got.items() if p.default is p.empty]
    if len(got) < len(wanted) or len(required) > len(wanted):
        return [f"__init__() must take ({', '.join(wanted)}), but takes ({', '.join(got)})"]
    return []


def _public(contract: type) -> str:
    """Return the name by which users import a contract: medssl's own are in :mod:`medssl.contracts`."""
    module = contract.__module__
    return f"{'medssl.contracts' if module.startswith('medssl.contracts.') else module}.{contract.__name__}"
