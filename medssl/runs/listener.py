"""The interface for progress events of a run."""

from __future__ import annotations

from medssl.results.directory import RunResult
from medssl.train.loop.records import EpochRecord, StepRecord

__all__ = ["Listener"]


class Listener:
    """Receives progress events of a run, for example to display them. No method has to be overridden."""

    def stage(self, title: str) -> None:
        """A stage begins."""

    def note(self, text: str) -> None:
        """A message for the user."""

    def progress(self, done: int, total: int) -> None:
        """Images read so far, while the store is built."""

    def step(self, record: StepRecord) -> None:
        """An optimizer step is done."""

    def epoch(self, record: EpochRecord) -> None:
        """An epoch is done."""

    def finished(self, result: RunResult) -> None:
        """The result and its page are written."""
