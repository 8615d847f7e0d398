"""The errors a user can act on, as one small tree.

Every message reads the same way: one sentence says what is wrong, one says why or where, one says what to do next.
The command line prints that message and exits with 1; anything that is not a :class:`MedsslError` is a bug of ours
and keeps its traceback.
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
    """Anything the user can put right. Catch this one to catch them all."""


class PluginError(MedsslError):
    """A plugin is unknown, of another kind, missing, broken, claimed twice, or breaks its contract."""


class OptionError(MedsslError):
    """A recipe, a flag or a plugin option has an unknown name, a wrong type or a value out of range."""


class DataError(MedsslError):
    """Images or their labels are missing, unreadable, too few, or not what the dataset says they are."""


class TrainingError(MedsslError):
    """Pre-training cannot go on: a loss that is not finite, a batch larger than the training set."""


class CheckpointError(MedsslError):
    """A run directory, a state or an encoder file does not belong to this recipe or cannot be read."""


def closest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that looks most like ``name``, or ``None`` when nothing comes near."""
    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return matches[0] if matches else None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'?"`` (with its leading blank), or an empty string when nothing comes near."""
    match = closest(name, known)
    return f" Did you mean '{match}'?" if match else ""
