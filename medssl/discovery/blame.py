"""Finds the plugin whose code caused an unexpected error, among those that were loaded in this process."""

from __future__ import annotations

import sys
import traceback
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from medssl.discovery.scanning import Plugin
from medssl.errors import BreachError, MedsslError, PluginError

__all__ = ["file_of", "files_of", "find_frame", "loaded", "sentence_about"]

_CORE = Path(__file__).parents[1]
#: Called by plugins: errors there come from the plugin's arguments.
_CALLED = (_CORE / "tools", _CORE / "contracts", _CORE / "train" / "loop" / "batchnorm.py")
_REPEATED = 20  # frames of one plugin in a traceback that ends in too deep a recursion
_T = TypeVar("_T")

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
        problems = "; ".join(error.problems)
        if owner is None:
            return None
        where = f"{error.function} ({file_of(error.plugin)})"
        return PluginError(
            f"{owner} breaks its contract in {where}: {problems}. Correct it there; `medssl check {owner.name}` checks "
            "the plugin."
        )
    found = find_frame(error, {file: plugin for plugin, kind in loaded.items() for file in files_of(kind) if file})
    if found is None:
        return None
    plugin, frame = found
    said = " ".join(str(error).split()) or "no message"
    return PluginError(
        f"{plugin.kind} '{plugin.name}' ({plugin.distribution} {plugin.version}) failed in {frame.name}(): "
        f"{type(error).__name__}: {said:.2000}. It happened at {Path(frame.filename).name}:{frame.lineno}. "
        f"`medssl check {plugin.name}` checks only this plugin; --traceback shows the full traceback."
    )
