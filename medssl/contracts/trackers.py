"""The contract of a tracker: it passes the numbers of a run on, to a table, a dashboard or a server.

A run calls its trackers in threads of their own, so a slow server does not slow the training down. A tracker that
raises an error or does not answer is left out with one warning, and the run goes on.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["FinishedRun", "StartedRun", "Tracker"]


@dataclass(frozen=True, kw_only=True)
class StartedRun:
    """A run that begins or continues.

    Attributes:
        name: Name of the run's directory: dataset, method and a key of the recipe.
        study: Name of the folder above it.
        settings: Every setting by dotted key: ``{"train.epochs": 100, "seed": 0}``. A path is replaced by a private
            name.
        folder: A folder of this tracker alone, in the run's directory. It is kept when a run is continued.
        first_epoch: Number of the first epoch to come, from 0; more than 0 for a continued run.
    """

    name: str
    study: str
    settings: Mapping[str, str | int | float | bool | None]
    folder: Path
    first_epoch: int = 0


@dataclass(frozen=True, kw_only=True)
class FinishedRun:
    """The outcome of a run.

    Attributes:
        values: Numbers by name. ``NAME/accuracy`` is a metric on the test part; ``NAME/accuracy/low`` and
            ``NAME/accuracy/high`` are the ends of its confidence interval.
        files: Files that a tracker may keep: ``result``, ``report`` (without images), ``encoder``.
    """

    values: Mapping[str, float]
    files: Mapping[str, Path]


class Tracker(ABC):
    """Receives the numbers of a run.

    The core calls :meth:`start` once, :meth:`epoch` after each epoch of pre-training, and then :meth:`finish` or
    :meth:`fail`. All calls of one tracker come from one thread, in this order.

    Attributes:
        Config: A frozen, keyword-only dataclass of this tracker's options, every one with a default.

    Args:
        config: The options. The constructor checks that everything it needs is installed, and connects to nothing.

    Raises:
        OptionError: A package is not installed; the message says how to install it.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """No options."""

    def __init__(self, config: Any) -> None:
        self.config = config

    @abstractmethod
    def start(self, run: StartedRun) -> None:
        """A run begins, or a stopped run is continued."""

    def epoch(self, number: int, values: Mapping[str, float]) -> None:
        """An epoch is done.

        Args:
            number: From 0.
            values: ``loss``, ``learning_rate``, ``images_per_second``, ``feature_std``, ``effective_rank`` and, where
                there was a validation, ``validation/<name>``.
        """

    @abstractmethod
    def finish(self, run: FinishedRun) -> None:
        """The run is finished; everything must be sent when this returns."""

    def fail(self, message: str) -> None:
        """The run has stopped before its end.

        Args:
            message: Why: the kind of error, without its words, which may name files.
        """
