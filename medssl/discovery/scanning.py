"""Reads entry points: lists the installed plugins without importing them."""

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

from medssl.contracts.kinds import KINDS, kind_named

__all__ = ["Plugin", "discover", "normalised", "package_summary", "scan_installed"]

#: Type of a function that reads one entry-point group.
Scan = Callable[[str], Iterable[entrypoints.EntryPoint]]


@dataclass(frozen=True, order=True)
class Plugin:
    """One installed plugin, not imported.

    Attributes:
        kind: Name of a kind.
        name: The name that users type.
        distribution: Name of the installed package that provides it, normalised (``medssl-foo``).
        version: Version of that package.
        target: ``module:class``.
    """

    kind: str
    name: str
    distribution: str
    version: str
    target: str

    def __str__(self) -> str:
        return f"{self.kind} '{self.name}' ({self.distribution} {self.version}, {self.target})"


def discover(kind: str, *, scan: Scan | None = None) -> list[Plugin]:
    """List the installed plugins of one kind, sorted by name, without importing any.

    A plugin that is found twice (one distribution on two paths) is listed once. If two distributions use the same name,
    both are listed; :func:`medssl.discovery.find` then raises an error.

    Args:
        kind: Name of a kind.
        scan: Function that reads the entry points of a group; by default those of the installed packages.
    """
    found: dict[tuple[str, str, str], Plugin] = {}
    for point in (scan or scan_installed)(kind_named(kind).group):
        owner = point.distro
        plugin = Plugin(
            kind=kind,
            name=point.name,
            distribution=normalised(owner.name) if owner else "unknown",
            version=str(owner.version or "?") if owner else "?",
            target=point.module_name + (f":{point.object_name}" if point.object_name else ""),
        )
        found.setdefault((plugin.name, plugin.target, plugin.distribution), plugin)
    return sorted(found.values())


def scan_installed(group: str) -> Sequence[entrypoints.EntryPoint]:
    """Read one entry-point group of every installed package.

    One unreadable ``entry_points.txt`` of any package stops the whole scan of ``entrypoints``. In that case the
    packages are read one by one, the unreadable file is skipped, and a warning names it.
    """
    folders = tuple((folder, _changed(folder)) for folder in sys.path)
    return _read_installed(folders).get(group, [])


def _changed(folder: str) -> int:
    try:
        return os.stat(folder or ".").st_mtime_ns  # noqa: PTH116  # entries of sys.path are strings
    except OSError:
        return 0


@functools.lru_cache(maxsize=1)
def _read_installed(_folders: tuple[tuple[str, int], ...]) -> Mapping[str, Sequence[entrypoints.EntryPoint]]:
    """Read every file once for all groups, and again only when a folder of ``sys.path`` has changed."""
    try:
        found = [pair for config, owner in entrypoints.iter_files_distros() for pair in _points(config, owner)]
    except Exception:  # another package's file may fail in any way: parsing, decoding, a corrupt archive
        found = list(_read_one_by_one())
    return {group: [point for owned_by, point in found if owned_by == group] for group in _groups()}


def _groups() -> list[str]:
    return [kind.group for kind in KINDS]


def _points(config: Any, owner: entrypoints.Distribution) -> Iterator[tuple[str, entrypoints.EntryPoint]]:
    for group in _groups():
        for name, target in config[group].items() if group in config else ():
            yield group, entrypoints.EntryPoint.from_string(target, name, owner)


def _read_one_by_one() -> Iterator[tuple[str, entrypoints.EntryPoint]]:
    from importlib import metadata  # noqa: PLC0415  # takes a fifth of the time of `medssl list`, and is rarely needed

    seen = set()
    for distribution in metadata.distributions():
        # the folder is no public attribute, but its name and place are all that a package with broken metadata has
        folder = Path(str(getattr(distribution, "_path", "unknown")))
        owner = entrypoints.Distribution.from_name_version(folder.stem)
        if normalised(owner.name) in seen:
            continue  # Python imports the first one on the path
        seen.add(normalised(owner.name))
        config = entrypoints.CaseSensitiveConfigParser(delimiters=("=",))
        try:
            config.read_string(distribution.read_text("entry_points.txt") or "")
            yield from list(_points(config, owner))
        except (configparser.Error, entrypoints.BadEntryPoint, ValueError, OSError) as error:
            warnings.warn(
                f"{folder / 'entry_points.txt'} cannot be read: {' '.join(str(error).split())}. Plugins that it "
                "declares are left out; all others are available. Reinstall the package, or tell its authors.",
                stacklevel=2,
            )


def normalised(distribution: str) -> str:
    """Return a package name in its normal form: ``Medssl_Foo`` and ``medssl.foo`` become ``medssl-foo`` (PEP 503)."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def package_summary(distribution: str) -> str:
    """Return the summary line in the metadata of an installed package; empty if it has none."""
    from importlib import metadata  # noqa: PLC0415  # takes a fifth of the time of `medssl list`, and is rarely needed

    try:
        return str((metadata.metadata(distribution).get_all("Summary") or [""])[0])
    except (metadata.PackageNotFoundError, ValueError):
        return ""
