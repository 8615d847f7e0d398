"""The errors that a user can act on.

Each message has three parts: what is wrong, why or where, and what to do next. The command line prints the message and
exits with status 1. An error that is not a :class:`MedsslError` is a bug in medssl and keeps its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "CheckpointError",
    "DataError",
    "MedsslError",
    "OptionError",
    "PluginError",
    "TrainingError",
    "closest",
    "did_you_mean",
]


class MedsslError(Exception):
    """Base class of all errors that the user can correct."""


class PluginError(MedsslError):
    """A plugin is unknown, of another kind, missing, broken, claimed twice, or breaks its contract."""


class OptionError(MedsslError):
    """A recipe, a flag or a plugin option has an unknown name, a wrong type or a value out of range."""


class DataError(MedsslError):
    """Images or their labels are missing, unreadable, too few, or not what the dataset says they are."""


class TrainingError(MedsslError):
    """Pre-training cannot continue: for instance the loss is not finite, or a batch is larger than the training set."""


class CheckpointError(MedsslError):
    """A run directory, a state or an encoder file does not belong to this recipe or cannot be read."""


def closest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that is most similar to ``name``, or ``None`` if none is similar."""
    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return matches[0] if matches else None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'?"`` (with a leading space), or an empty string if no name is similar."""
    match = closest(name, known)
    return f" Did you mean '{match}'?" if match else ""
