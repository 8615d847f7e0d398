"""Who hears what a run is doing."""

from __future__ import annotations

from medssl.train.loop.records import EpochRecord, StepRecord

__all__ = ["Listener"]


class Listener:
    """Hears what a run is doing; the command line's display is one. Every method may be left as it is."""

    def stage(self, title: str) -> None:
        """A stage begins."""

    def note(self, text: str) -> None:
        """Something the user should know."""

    def progress(self, done: int, total: int) -> None:
        """Images read so far, while the store is built."""

    def step(self, record: StepRecord) -> None:
        """An optimizer step is done."""

    def epoch(self, record: EpochRecord) -> None:
        """An epoch is done."""
