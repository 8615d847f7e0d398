"""Which plugin an unexpected error came from: its author can put it right, given a sentence instead of a traceback."""

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
_TOOLS = _CORE / "tools"  # called by plugins: what goes wrong there comes from what they gave


@contextlib.contextmanager
def naming_the_plugin(recipe: Recipe) -> Iterator[None]:
    """Turn what goes wrong in a plugin's own code into an error that names plugin, function, file and line.

    What goes wrong in the core stays as it is, also where a plugin had called it.

    Raises:
        PluginError: See above; its cause is the error itself.
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
            f"`medssl check {choice.name}` looks at the plugin alone; --traceback shows the whole path."
        ) from error


def _culprit(error: Exception, recipe: Recipe) -> tuple[Choice, traceback.FrameSummary] | None:
    """Return the plugin whose file is the last in the traceback, unless it had called back into the core."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return None  # whoever asked last is not who took it
    files = {file: choice for choice in recipe.choices for file in _files(choice.plugin)}
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if frame.filename in files:
            return files[frame.filename], frame
        file = Path(frame.filename)
        if file.is_relative_to(_CORE) and not file.is_relative_to(_TOOLS):
            return None
    return None


def _files(plugin: type) -> Iterator[str]:
    """Return where a plugin is written, and what it inherits from outside PyTorch, Python and the core."""
    for parent in plugin.__mro__:
        if parent.__module__.partition(".")[0] not in ("abc", "builtins", "medssl", "torch", "typing"):
            yield getattr(sys.modules.get(parent.__module__), "__file__", None) or ""
