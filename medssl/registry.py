"""Entry points to plugins: listing without importing, finding one by name, loading one.

This is the only place that looks for plugins and the only one that imports them. Listing reads package metadata and
nothing else, so it works, quickly, beside a plugin that is broken. Every error names what the user typed, where the
trouble lies, and what to do next.
"""

from __future__ import annotations

import configparser
import functools
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import entrypoints

from medssl.errors import PluginError, did_you_mean

__all__ = ["GROUPS", "Plugin", "discover", "find", "load", "package_summary", "scan_installed"]

#: Entry-point group of each kind of plugin.
GROUPS: Mapping[str, str] = {
    "method": "medssl.methods",
    "dataset": "medssl.datasets",
    "evaluator": "medssl.evaluators",
}

#: Reads one entry-point group.
Scan = Callable[[str], Iterable[entrypoints.EntryPoint]]


@dataclass(frozen=True, order=True)
class Plugin:
    """One installed plugin, not imported.

    Attributes:
        kind: ``method``, ``dataset`` or ``evaluator``.
        name: The name that users type.
        distribution: The installed package that brings it, normalised (``medssl-foo``).
        version: Of that package.
        target: ``module:class``.
    """

    kind: str
    name: str
    distribution: str
    version: str
    target: str

    def __str__(self) -> str:
        return f"{self.kind} '{self.name}' ({self.distribution} {self.version}, {self.target})"


# --------------------------------------------------------------------------------------------------------- discovery


def discover(kind: str, *, scan: Scan | None = None) -> list[Plugin]:
    """List the installed plugins of one kind, sorted by name, without importing any.

    A plugin that is found twice (one distribution on two paths) is listed once. Two distributions that claim one name
    are both listed; :func:`find` refuses to choose.

    Args:
        kind: ``method``, ``dataset`` or ``evaluator``.
        scan: What reads the entry points of a group; the installed packages' by default.
    """
    found: dict[tuple[str, str, str], Plugin] = {}
    for point in (scan or scan_installed)(GROUPS[kind]):
        owner = point.distro
        plugin = Plugin(
            kind=kind,
            name=point.name,
            distribution=_normalised(owner.name) if owner else "unknown",
            version=str(owner.version or "?") if owner else "?",
            target=point.module_name + (f":{point.object_name}" if point.object_name else ""),
        )
        found.setdefault((plugin.name, plugin.target, plugin.distribution), plugin)
    return sorted(found.values())


def scan_installed(group: str) -> Sequence[entrypoints.EntryPoint]:
    """Read one entry-point group of every installed package.

    One unreadable ``entry_points.txt`` stops the whole scan of ``entrypoints``, whoever owns it. Then the packages are
    read one by one, and the file at fault is named in a warning and left out.
    """
    folders = tuple((folder, _changed(folder)) for folder in sys.path)
    return _read_installed(folders).get(group, [])


def _changed(folder: str) -> int:
    try:
        return os.stat(folder or ".").st_mtime_ns  # noqa: PTH116  # entries of sys.path are texts
    except OSError:
        return 0


@functools.lru_cache(maxsize=1)
def _read_installed(_folders: tuple[tuple[str, int], ...]) -> Mapping[str, Sequence[entrypoints.EntryPoint]]:
    """Read every file once for all groups, and again only when a folder of ``sys.path`` has changed."""
    try:
        found = [pair for config, owner in entrypoints.iter_files_distros() for pair in _points(config, owner)]
    except Exception:  # whatever a foreign file provokes: parsing, decoding, a corrupt archive
        found = list(_read_one_by_one())
    return {group: [point for owned_by, point in found if owned_by == group] for group in GROUPS.values()}


def _points(config: Any, owner: entrypoints.Distribution) -> Iterator[tuple[str, entrypoints.EntryPoint]]:
    for group in GROUPS.values():
        for name, target in config[group].items() if group in config else ():
            yield group, entrypoints.EntryPoint.from_string(target, name, owner)


def _read_one_by_one() -> Iterator[tuple[str, entrypoints.EntryPoint]]:
    from importlib import metadata  # noqa: PLC0415  # a fifth of the time of `medssl list`, and rarely needed

    seen = set()
    for distribution in metadata.distributions():
        # the folder is no public attribute, but its name and place are all that a package with broken metadata has
        folder = Path(str(getattr(distribution, "_path", "unknown")))
        owner = entrypoints.Distribution.from_name_version(folder.stem)
        if _normalised(owner.name) in seen:
            continue  # the first on the path is the one that gets imported
        seen.add(_normalised(owner.name))
        config = entrypoints.CaseSensitiveConfigParser(delimiters=("=",))
        try:
            config.read_string(distribution.read_text("entry_points.txt") or "")
            yield from list(_points(config, owner))
        except (configparser.Error, entrypoints.BadEntryPoint, ValueError, OSError) as error:
            warnings.warn(
                f"{folder / 'entry_points.txt'} cannot be read: {' '.join(str(error).split())}. Plugins that it may "
                "declare are left out, all others are there. Reinstall the package that owns it, or tell its authors.",
                stacklevel=2,
            )


def _normalised(distribution: str) -> str:
    """``Medssl_Foo`` and ``medssl.foo`` are one package: ``medssl-foo`` (PEP 503)."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


# ----------------------------------------------------------------------------------------------------------- finding


def package_summary(distribution: str) -> str:
    """Return the line that an installed package says of itself; empty where it says none."""
    from importlib import metadata  # noqa: PLC0415  # as above

    try:
        return str((metadata.metadata(distribution).get_all("Summary") or [""])[0])
    except (metadata.PackageNotFoundError, ValueError):
        return ""


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
        matches = [p for p in same_kind if p.name == bare and p.distribution == _normalised(owner)]
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
    from importlib import metadata  # noqa: PLC0415  # as above

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


# ----------------------------------------------------------------------------------------------------------- loading


def load(plugin: Plugin) -> Any:
    """Import a plugin and return what its entry point names; whether that keeps the contract is not checked here.

    Raises:
        PluginError: The import fails; the cause is chained.
    """
    try:
        return entrypoints.EntryPoint.from_string(plugin.target, plugin.name).load()
    except Exception as error:
        raise PluginError(
            f"{plugin} failed to load: {type(error).__name__}: {error}. "
            "The other plugins are unaffected; --traceback shows where."
        ) from error
