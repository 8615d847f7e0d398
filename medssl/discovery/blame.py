"""Finds the plugin whose code caused an unexpected error, among those that were loaded in this process."""

from __future__ import annotations

import sys
import traceback
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from medssl.discovery.scanning import Plugin
from medssl.errors import BreachError, MedsslError, PluginError

__all__ = [
    "breach_of",
    "failure_of",
    "file_of",
    "files_of",
    "find_frame",
    "loaded",
    "named_plugin",
    "sentence_about",
]

_CORE = Path(__file__).parents[1]
#: Called by plugins: errors there come from the plugin's arguments.
_CALLED = (_CORE / "tools", _CORE / "contracts", _CORE / "train" / "loop" / "batchnorm.py")
_REPEATED = 20  # frames of one plugin in a traceback that ends in too deep a recursion
_T = TypeVar("_T")


class NamedPlugin(Protocol):
    """An installed plugin, or one that a recipe names."""

    @property
    def kind(self) -> str:
        """Name of its kind."""

    @property
    def name(self) -> str:
        """As users type it."""

    @property
    def distribution(self) -> str:
        """The package that provides it."""

    @property
    def version(self) -> str:
        """Version of that package."""


#: The plugins that were imported, with the classes that their entry points name.
loaded: dict[Plugin, object] = {}


def find_frame(error: BaseException, files: Mapping[str, _T]) -> tuple[_T, traceback.FrameSummary] | None:
    """Return the plugin whose file is the last in the traceback, unless it called the core.

    Args:
        error: The error.
        files: Plugins by file.
    """
    frames = traceback.extract_tb(error.__traceback__)
    if isinstance(error, RecursionError):
        own = [frame for frame in frames if frame.filename in files]
        name, count = Counter(frame.filename for frame in own).most_common(1)[0] if own else ("", 0)
        last = next((frame for frame in reversed(own) if frame.filename == name), None)
        return (files[name], last) if last is not None and count >= _REPEATED else None
    for frame in reversed(frames):
        if frame.filename in files:
            return files[frame.filename], frame
        file = Path(frame.filename)
        if file.is_relative_to(_CORE) and not any(file.is_relative_to(called) for called in _CALLED):
            return None
    return None


def files_of(plugin: object) -> Iterator[str]:
    """Return the files of a plugin and of its base classes outside PyTorch, Python and the core."""
    for parent in getattr(plugin, "__mro__", ()):
        if parent.__module__.partition(".")[0] not in (*sys.stdlib_module_names, "medssl", "torch"):
            yield getattr(sys.modules.get(parent.__module__), "__file__", None) or ""


def file_of(plugin: object) -> str:
    """Return the name of the file that defines a plugin; empty if it has none."""
    return Path(next(iter(files_of(plugin)), "")).name


def sentence_about(error: BaseException) -> PluginError | None:
    """Return an error that names the plugin which caused an unexpected one; ``None`` if none of those loaded did."""
    if isinstance(error, MedsslError) and not isinstance(error, BreachError):
        return None
    if isinstance(error, BreachError):
        owner = next((plugin for plugin, kind in loaded.items() if kind is error.plugin), None)
        return None if owner is None else breach_of(owner, error.plugin, error.function, error.problems)
    found = find_frame(error, {file: plugin for plugin, kind in loaded.items() for file in files_of(kind) if file})
    return None if found is None else failure_of(*found, error)


def breach_of(plugin: NamedPlugin, kind: type, function: str, problems: Sequence[str]) -> PluginError:
    """Return the error for a plugin that broke its contract: who, where, and everything that is wrong.

    Args:
        plugin: The plugin.
        kind: Its class.
        function: The function that broke it.
        problems: What is wrong.
    """
    return PluginError(
        f"{named_plugin(plugin)} breaks its contract in {function} ({file_of(kind)}): {'; '.join(problems)}. "
        f"Correct it there; `medssl check {plugin.name}` checks the plugin."
    )


def failure_of(plugin: NamedPlugin, frame: traceback.FrameSummary, error: BaseException) -> PluginError:
    """Return the error for a plugin whose code raised an unexpected one."""
    said = " ".join(str(error).split()) or "no message"
    return PluginError(
        f"{named_plugin(plugin)} failed in {frame.name}(): {type(error).__name__}: {said:.2000}. It happened at "
        f"{Path(frame.filename).name}:{frame.lineno}. `medssl check {plugin.name}` checks only this plugin; "
        "--traceback shows the full traceback."
    )


def named_plugin(plugin: NamedPlugin) -> str:
    """Return a plugin with its package, for a message."""
    return f"{plugin.kind} '{plugin.name}' ({plugin.distribution} {plugin.version})"
