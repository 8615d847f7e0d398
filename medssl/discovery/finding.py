"""Finds the one installed plugin of a kind and name, or says why there is none and what to do next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medssl.discovery.scanning import GROUPS, Plugin, discover, normalised
from medssl.errors import PluginError, did_you_mean

__all__ = ["find"]


def find(
    kind: str, name: str, *, packages: Mapping[str, str] | None = None, plugins: Sequence[Plugin] | None = None
) -> Plugin:
    """Return the one installed plugin of this kind and name.

    Args:
        kind: ``method``, ``dataset`` or ``evaluator``.
        name: A plugin's name, or ``distribution:name`` where two distributions claim the name.
        packages: Known names of this kind, and the package that brings each.
        plugins: What is installed, of every kind; discovered by default.

    Raises:
        PluginError: The name is unknown, of another kind, not installed, or claimed twice.
    """
    same_kind = discover(kind) if plugins is None else [plugin for plugin in plugins if plugin.kind == kind]
    matches = [plugin for plugin in same_kind if plugin.name == name]
    owner, _, bare = name.rpartition(":")
    if owner and not matches:
        matches = [p for p in same_kind if p.name == bare and p.distribution == normalised(owner)]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise PluginError(_claimed_twice(kind, name, matches))
    others = [p for k in GROUPS if k != kind for p in discover(k)] if plugins is None else plugins
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
        return (
            f"{kind} '{name}' is defined twice, by {claims}. pip install --force-reinstall {owners[0]} clears this up."
        )
    ways_out = " or ".join(f"{owner}:{matches[0].name}" for owner in owners)
    return f"{kind} '{name}' is claimed by {claims}. Say which one you mean: {ways_out}."


def _stale_install(kind: str, name: str) -> str | None:
    """Look for the name in the pyproject.toml files from the working directory upwards."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        if name in _declared(folder / "pyproject.toml", GROUPS[kind]):
            return (
                f"no {kind} named '{name}' is installed, but {folder / 'pyproject.toml'} declares it. "
                f"Entry points are read when a package is installed: re-run pip install -e . in {folder}."
            )
    return None


def _declared(project: Path, group: str) -> Mapping[str, Any]:
    import tomllib  # noqa: PLC0415  # on the way to an error only

    try:
        points = tomllib.loads(project.read_text(encoding="utf-8")).get("project", {}).get("entry-points", {})
    except (OSError, ValueError):
        return {}
    declared = points.get(group, {}) if isinstance(points, Mapping) else {}
    return declared if isinstance(declared, Mapping) else {}


def _not_installed(kind: str, name: str, packages: Mapping[str, str]) -> str | None:
    if name not in packages:
        return None
    from importlib import metadata  # noqa: PLC0415  # a fifth of the time of `medssl list`, and rarely needed

    package = packages[name]
    try:
        version = metadata.version(package)
    except (metadata.PackageNotFoundError, ValueError):
        return f"{kind} '{name}' comes with the package {package}, which is not installed: pip install {package}"
    return (
        f"{kind} '{name}' comes with the package {package}, but the installed version {version} does not bring it: "
        f"pip install --upgrade {package}"
    )


def _wrong_kind(kind: str, name: str, others: Sequence[Plugin]) -> str | None:
    for plugin in others:
        if plugin.name == name:
            return (
                f"'{name}' is {_article(plugin.kind)}, not {_article(kind)}; did you swap --{kind} and --{plugin.kind}?"
            )
    return None


def _article(kind: str) -> str:
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"


def _unknown(kind: str, name: str, same_kind: Sequence[Plugin]) -> str:
    names = sorted({plugin.name for plugin in same_kind})
    owners = {plugin.name: f"{plugin.distribution}:{plugin.name}" for plugin in same_kind}
    guess = did_you_mean(name.lower(), owners.values() if ":" in name else names)
    installed = f"Installed {kind}s: {', '.join(names)}." if names else f"No {kind}s are installed."
    return f"no {kind} named '{name}'.{guess} {installed} (medssl list {kind}s)"
