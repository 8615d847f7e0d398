"""Finds the plugin that caused an unexpected error, and reports it in a sentence instead of a traceback."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

from medssl.discovery.blame import breach_of, failure_of, files_of, find_frame, loaded, sentence_about
from medssl.discovery.scanning import Plugin
from medssl.errors import BreachError, MedsslError
from medssl.recipe import Choice, Recipe

__all__ = ["naming_the_plugin"]


@contextlib.contextmanager
def naming_the_plugin(recipe: Recipe) -> Iterator[None]:
    """Turn an exception in a plugin's own code into an error that names plugin, function, file and line.

    Exceptions in the core are not changed, even if a plugin called the core. An exit of the process that a plugin asks
    for is an error too, but not Ctrl-C.

    Raises:
        PluginError: The exception came from a plugin, or a plugin broke its contract; it is the cause of this error.
    """
    try:
        yield
    except BreachError as error:
        choice = next((choice for choice in recipe.choices if issubclass(error.plugin, choice.plugin)), None)
        if choice is None:
            raise sentence_about(error) or error from error
        raise breach_of(choice, choice.plugin, error.function, error.problems) from error
    except (MedsslError, KeyboardInterrupt, MemoryError, torch.OutOfMemoryError):
        raise
    except BaseException as error:
        # those of the recipe, and readers that are used without being named
        known: list[tuple[Choice | Plugin, object]] = [
            *loaded.items(),
            *((each, each.plugin) for each in recipe.choices),
        ]
        files = {file: plugin for plugin, kind in known for file in files_of(kind) if file}
        found = find_frame(error, files)
        if found is None:
            raise
        raise failure_of(*found, error) from error
