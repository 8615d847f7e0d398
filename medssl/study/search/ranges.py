"""Ranges of settings for a search: ``0.01..1:log``, ``50..200``, ``16,32,64``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from medssl.errors import OptionError

if TYPE_CHECKING:
    from optuna.trial import Trial

__all__ = ["Range", "parse_range", "read_vary"]


@dataclass(frozen=True, kw_only=True)
class Range:
    """The values that a setting may have.

    Attributes:
        choices: A list of values as texts; empty: the interval from ``low`` to ``high``.
        low: Smallest value.
        high: Largest value.
        log: Whether values are drawn on a logarithmic scale.
        whole: Whether values are whole numbers.
    """

    choices: tuple[str, ...] = ()
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    whole: bool = False

    def draw(self, trial: Trial, key: str) -> str:
        """Ask a trial for a value of the setting ``key``; as a text, like one of the command line."""
        if self.choices:
            return str(trial.suggest_categorical(key, list(self.choices)))
        if self.whole:
            return str(trial.suggest_int(key, int(self.low), int(self.high), log=self.log))
        return f"{trial.suggest_float(key, self.low, self.high, log=self.log):.4g}"

    def __str__(self) -> str:
        if self.choices:
            return ",".join(self.choices)
        return f"{self.low:g}..{self.high:g}{':log' if self.log else ''}"


def parse_range(text: str, key: str) -> Range:
    """Read a range.

    Args:
        text: ``low..high``, with ``:log`` for a logarithmic scale; whole numbers if both ends are written without a
            point. Or values separated by commas.
        key: The setting, for the message.

    Raises:
        OptionError: It is neither, or it is empty.
    """
    interval, _, scale = text.strip().partition(":")
    low, dots, high = interval.partition("..")
    if not dots:
        choices = tuple(word.strip() for word in text.split(","))
        if len(choices) < 2 or not all(choices):
            raise OptionError(
                f"'{text}' is not a range for {key}. Write low..high (0.01..1:log for a logarithmic scale), or at "
                "least two values separated by commas."
            )
        return Range(choices=choices)
    try:
        ends = float(low), float(high)
    except ValueError as error:
        raise OptionError(f"'{text}' is not a range for {key}: its ends must be numbers, as in 0.01..1:log.") from error
    if scale not in ("", "log") or not ends[0] < ends[1] or (scale and ends[0] <= 0):
        raise OptionError(
            f"'{text}' is not a range for {key}. The first number must be the smaller one, the only scale is `log`, "
            "and a logarithmic scale needs numbers above 0."
        )
    whole = all(end.strip().lstrip("-").isdigit() for end in (low, high))
    return Range(low=ends[0], high=ends[1], log=bool(scale), whole=whole)


def read_vary(texts: Mapping[str, str]) -> dict[str, Range]:
    """Read every range, by setting, in the order of their names.

    Raises:
        OptionError: See :func:`parse_range`.
    """
    return {key: parse_range(text, key) for key, text in sorted(texts.items())}
