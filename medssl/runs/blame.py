"""Finds the plugin that caused an unexpected error, and reports it in a sentence instead of a traceback."""

from __future__ import annotations

import contextlib
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

import torch

from medssl.errors import MedsslError, PluginError
from medssl.recipe import Choice, Recipe

__all__ = ["naming_the_plugin"]

_CORE = Path(__file__).parents[1]
_TOOLS = _CORE / "tools"  # called by plugins: errors there come from the plugin's arguments


@contextlib.contextmanager
def naming_the_plugin(recipe: Recipe) -> Iterator[None]:
    """Turn an exception in a plugin's own code into an error that names plugin, function, file and line.

    Exceptions in the core are not changed, even if a plugin called the core.

    Raises:
        PluginError: The exception came from a plugin; it is the cause of this error.
    """
    try:
        yield
    except MedsslError:
        raise
    except Exception as error:
        found = _culprit(error, recipe)
        if found is None:
            raise
        choice, frame = found
        said = " ".join(str(error).split()) or "no message"
        raise PluginError(
            f"{choice.kind} '{choice.name}' ({choice.distribution} {choice.version}) failed in {frame.name}(): "
            f"{type(error).__name__}: {said}. It happened at {Path(frame.filename).name}:{frame.lineno}. "
            f"`medssl check {choice.name}` checks only this plugin; --traceback shows the full traceback."
        ) from error


def _culprit(error: Exception, recipe: Recipe) -> tuple[Choice, traceback.FrameSummary] | None:
    """Return the plugin whose file is the last in the traceback, unless it called the core."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return None  # the last caller did not cause the error
    files = {file: choice for choice in recipe.choices for file in _files(choice.plugin)}
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if frame.filename in files:
            return files[frame.filename], frame
        file = Path(frame.filename)
        if file.is_relative_to(_CORE) and not file.is_relative_to(_TOOLS):
            return None
    return None


def _files(plugin: type) -> Iterator[str]:
    """Return the files of a plugin and of its base classes outside PyTorch, Python and the core."""
    for parent in plugin.__mro__:
        if parent.__module__.partition(".")[0] not in ("abc", "builtins", "medssl", "torch", "typing"):
            yield getattr(sys.modules.get(parent.__module__), "__file__", None) or ""
