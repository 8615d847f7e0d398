"""The errors that a user can act on.

Each message has three parts: what is wrong, why or where, and what to do next. The command line prints the message and
exits with status 1. An error that is not a :class:`MedsslError` is a bug in medssl and keeps its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

__all__ = [
    "BreachError",
    "CheckpointError",
    "DataError",
    "LaunchError",
    "MedsslError",
    "OptionError",
    "PluginError",
    "TrainingError",
    "closest",
    "counted",
    "did_you_mean",
    "shorten",
]

_LONGEST = 100  # characters of one name in a message; a file name may have 255
_MESSAGE = (8000, 1000)  # characters at the beginning and the end of a message


class MedsslError(Exception):
    """Base class of all errors that the user can correct."""

    def __str__(self) -> str:
        """Return the message; of a very long one, which a damaged file can cause, the beginning and the end."""
        text = super().__str__()
        left_out = len(text) - sum(_MESSAGE)
        return text if left_out <= 0 else f"{text[: _MESSAGE[0]]} [{left_out} characters] {text[-_MESSAGE[1] :]}"


class PluginError(MedsslError):
    """A plugin is unknown, of another kind, missing, broken, claimed twice, or breaks its contract."""


class BreachError(PluginError):
    """A plugin handed over a value that its contract does not allow.

    Attributes:
        plugin: The class of the plugin.
        function: The function that returned the value, or the attribute that holds it.
        problems: Everything that is wrong, one phrase each.
    """

    def __init__(self, plugin: type, function: str, problems: Sequence[str]) -> None:
        self.plugin, self.function, self.problems = plugin, function, tuple(problems)
        super().__init__(
            f"{plugin.__name__} breaks its contract in {function}: {'; '.join(problems)}. Correct it there."
        )

    def __reduce__(self) -> tuple[type[BreachError], tuple[type, str, tuple[str, ...]]]:
        """Copy the arguments, not the message: a pool of processes hands errors over as pickles."""
        return type(self), (self.plugin, self.function, self.problems)


class OptionError(MedsslError):
    """A recipe, a flag or a plugin option has an unknown name, a wrong type or a value out of range."""


class DataError(MedsslError):
    """Images or their labels are missing, unreadable, too few, or not what the dataset says they are."""


class TrainingError(MedsslError):
    """Pre-training cannot continue: for instance the loss is not finite, or a batch is larger than the training set."""


class CheckpointError(MedsslError):
    """A run directory, a state or an encoder file does not belong to this recipe or cannot be read."""


class LaunchError(MedsslError):
    """A launcher's tasks were refused, or it does not answer."""


def closest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that is most similar to ``name``, or ``None`` if none is similar."""
    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return matches[0] if matches else None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'?"`` (with a leading space), or an empty string if no name is similar."""
    match = closest(name, known)
    return f" Did you mean '{match}'?" if match else ""


def counted(number: int, noun: str) -> str:
    """Write a number with its noun: ``1 seed``, ``3 classes``, ``1,024 images``."""
    return f"{number:,} {noun}{'' if number == 1 else 'es' if noun.endswith('s') else 's'}"


def shorten(names: Iterable[object], limit: int = 5, separator: str = ", ") -> str:
    """Join names for a message that a person reads: the first names, cut to a readable length, and the others' number.

    Args:
        names: The names.
        limit: Number of names that are written out.
        separator: Text between two names.
    """
    texts = [str(name) for name in names]
    shown = [text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..." for text in texts[:limit]]
    more = f" and {len(texts) - limit} more" if len(texts) > limit else ""
    return separator.join(shown) + more
