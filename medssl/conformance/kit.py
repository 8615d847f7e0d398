"""Chooses the checks for a plugin and runs them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from typing import Any

from medssl.conformance.running import Check, CheckResult, ContractError, Subject, require, results_of
from medssl.contracts.kinds import kind_named
from medssl.discovery import violations
from medssl.recipe import options

__all__ = ["check_plugin", "checks_for", "iterate_checks", "run_checks"]


def check_options_have_names_types_and_defaults(subject: Subject) -> None:
    """``Config`` can be built without arguments and from its own values, and every option can be described."""
    config = subject.plugin.Config()
    values = {option.name: getattr(config, option.name) for option in fields(config)}
    same = options.build(subject.plugin.Config, values, "Config") == config
    require(same, f"Config must accept its own defaults, but changes {values}")
    described = [option.name for option in options.describe(subject.plugin.Config)]
    require(described == list(values), f"`medssl show` must list every option, but lists only: {described}")


_OF_ALL: tuple[Check, ...] = (check_options_have_names_types_and_defaults,)


def checks_for(kind: str, plugin: type[Any]) -> tuple[Check, ...]:
    """Return the checks of a kind that apply to a plugin."""
    modules = [import_module(name) for name in kind_named(kind).checks]
    meant = [module for module in modules if getattr(module, "applies", _always)(plugin)]
    return (*_OF_ALL, *(check for module in meant for check in module.CHECKS))


def _always(_plugin: type[Any]) -> bool:
    return True


def iterate_checks(
    kind: str,
    plugin: type[Any],
    *,
    config: Any = None,
    root: Path | None = None,
    facts: Mapping[str, Any] | None = None,
) -> Iterator[CheckResult]:
    """Run every check on a plugin's class, one at a time on request.

    A wrong signature, or a plugin that cannot be built, ends the checks at once.

    Args:
        kind: Name of a kind: ``method``.
        plugin: The class.
        config: Its options; ``None`` for the defaults.
        root: Folder with a dataset's files; ``None``: none are available, and checks that need files say so.
        facts: Entries of the catalogue about a dataset: sources, counts.
    """
    if found := violations(kind, plugin):
        yield CheckResult("keeps the signature", problem="; ".join(found))
        return
    yield CheckResult("keeps the signature")
    subject = Subject(plugin, plugin.Config() if config is None else config, root, facts or {})
    yield from results_of(checks_for(kind, plugin), subject)


def run_checks(kind: str, plugin: type[Any], **what: Any) -> list[CheckResult]:
    """Run every check and return the results; arguments as in :func:`iterate_checks`."""
    return list(iterate_checks(kind, plugin, **what))


def check_plugin(kind: str, plugin: type[Any], **what: Any) -> None:
    """Run every check, and raise one error with all findings. Arguments as in :func:`iterate_checks`.

    Raises:
        ContractError: At least one check failed.
    """
    failed = [result for result in run_checks(kind, plugin, **what) if result.problem is not None]
    if failed:
        lines = "\n".join(f"- {result.name}: {result.problem}" for result in failed)
        raise ContractError(f"{getattr(plugin, '__name__', plugin)} breaks the {kind} contract:\n{lines}")
