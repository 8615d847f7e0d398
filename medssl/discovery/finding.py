"""Finds the installed plugin of a kind and name, or explains why it is not found and what to do next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medssl.contracts.kinds import KINDS, NONE, kind_named
from medssl.discovery.scanning import Plugin, discover, normalised
from medssl.errors import PluginError, did_you_mean

__all__ = ["find"]


def find(
    kind: str, name: str, *, packages: Mapping[str, str] | None = None, plugins: Sequence[Plugin] | None = None
) -> Plugin:
    """Return the installed plugin of this kind and name.

    Args:
        kind: Name of a kind.
        name: Name of a plugin, or ``distribution:name`` if two distributions use the name; ``none`` stands for the
            stand-in of a kind that has one.
        packages: Known names of this kind, with the package that provides each.
        plugins: The installed plugins of every kind; discovered by default.

    Raises:
        PluginError: The name is unknown, belongs to another kind, is not installed, or is used by two distributions.
    """
    if name == NONE and kind_named(kind).stand_in:
        return Plugin(kind, NONE, "medssl", _version("medssl"), kind_named(kind).stand_in)
    same_kind = discover(kind) if plugins is None else [plugin for plugin in plugins if plugin.kind == kind]
    matches = [plugin for plugin in same_kind if plugin.name == name]
    owner, _, bare = name.rpartition(":")
    if owner and not matches:
        matches = [p for p in same_kind if p.name == bare and p.distribution == normalised(owner)]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise PluginError(_claimed_twice(kind, name, matches))
    others = [p for other in KINDS if other.name != kind for p in discover(other.name)] if plugins is None else plugins
    raise PluginError(
        _stale_install(kind, bare)
        or _not_installed(kind, name, packages or {})
        or _wrong_kind(kind, name, others)
        or _unknown(kind, name, same_kind)
    )


def _claimed_twice(kind: str, name: str, matches: Sequence[Plugin]) -> str:
    owners = sorted({plugin.distribution for plugin in matches})
    claims = " and ".join(f"{plugin.distribution} {plugin.version} ({plugin.target})" for plugin in matches)
    if len(owners) == 1:
        return f"{kind} '{name}' is defined twice, by {claims}. Run pip install --force-reinstall {owners[0]}."
    ways_out = " or ".join(f"{owner}:{matches[0].name}" for owner in owners)
    return f"{kind} '{name}' is provided by {claims}. Say which one you mean: {ways_out}."


def _stale_install(kind: str, name: str) -> str | None:
    """Look for the name in the pyproject.toml files of the working directory and its parents."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        if name in _declared(folder / "pyproject.toml", kind_named(kind).group):
            return (
                f"no {kind} named '{name!s:.200}' is installed, but {folder / 'pyproject.toml'} declares it. "
                f"Entry points are read when a package is installed: run pip install -e . in {folder} again."
            )
    return None


def _declared(project: Path, group: str) -> Mapping[str, Any]:
    import tomllib  # noqa: PLC0415  # needed only for an error message

    try:
        points = tomllib.loads(project.read_text(encoding="utf-8")).get("project", {}).get("entry-points", {})
    except (OSError, ValueError):
        return {}
    declared = points.get(group, {}) if isinstance(points, Mapping) else {}
    return declared if isinstance(declared, Mapping) else {}


def _not_installed(kind: str, name: str, packages: Mapping[str, str]) -> str | None:
    if name not in packages:
        return None
    package = packages[name]
    version = _version(package)
    if not version:
        return f"{kind} '{name}' comes with the package {package}, which is not installed: pip install {package}"
    return (
        f"{kind} '{name}' comes with the package {package}, but the installed version {version} does not provide it: "
        f"pip install --upgrade {package}"
    )


def _version(package: str) -> str:
    """Return the version of an installed package; empty if it is not installed."""
    from importlib import metadata  # noqa: PLC0415  # takes a fifth of the time of `medssl list`, and is rarely needed

    try:
        return metadata.version(package)
    except (metadata.PackageNotFoundError, ValueError):
        return ""


def _wrong_kind(kind: str, name: str, others: Sequence[Plugin]) -> str | None:
    for plugin in others:
        if plugin.name == name:
            return (
                f"'{name}' is {kind_named(plugin.kind).with_article}, not {kind_named(kind).with_article}; "
                f"did you swap --{kind} and --{plugin.kind}?"
            )
    return None


def _unknown(kind: str, name: str, same_kind: Sequence[Plugin]) -> str:
    names = sorted({plugin.name for plugin in same_kind})
    owners = {plugin.name: f"{plugin.distribution}:{plugin.name}" for plugin in same_kind}
    guess = did_you_mean(name.lower(), owners.values() if ":" in name else names)
    plural = kind_named(kind).plural
    installed = f"Installed {plural}: {', '.join(names)}." if names else f"No {plural} are installed."
    return f"no {kind} named '{name!s:.200}'.{guess} {installed} (medssl list {plural})"
