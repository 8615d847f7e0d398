"""tensorboard: curves and settings as event files for TensorBoard."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from medssl.contracts import FinishedRun, StartedRun, Tracker
from medssl_trackers._package import require

__all__ = ["TensorBoard"]


class TensorBoard(Tracker):
    """Writes event files below the run's directory, so ``tensorboard --logdir runs`` shows every run."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            folder: Where to write, one folder per run; empty: ``trackers/tensorboard`` in the run's directory.
        """

        folder: str = ""

    def __init__(self, config: Any) -> None:
        """Check that TensorBoard is installed.

        Raises:
            OptionError: It is not installed.
        """
        super().__init__(config)
        require("tensorboard", "tensorboard")

    def start(self, run: StartedRun) -> None:
        """Open the event file. Of a continued run, TensorBoard hides the epochs that are written again."""
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415  (slow to import)

        place = Path(self.config.folder) / run.study / run.name if self.config.folder else run.folder
        with _unnamed_computer():
            self._writer: Any = SummaryWriter(str(place), purge_step=run.first_epoch or None)
        self._settings = {key: "" if value is None else value for key, value in run.settings.items()}

    def epoch(self, number: int, values: Mapping[str, float]) -> None:
        """Add a point to each curve."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, number)
        self._writer.flush()

    def finish(self, run: FinishedRun) -> None:
        """Write settings and results into one table (the page HPARAMS)."""
        values = {f"test/{name}": value for name, value in run.values.items()}
        with _unnamed_computer():
            self._writer.add_hparams(self._settings, values, run_name=".")
        self._writer.close()

    def fail(self, message: str) -> None:
        """Note why the run has stopped."""
        self._writer.add_text("stopped", message)
        self._writer.close()


@contextlib.contextmanager
def _unnamed_computer() -> Iterator[None]:
    """Keep the computer's name out of the names of event files; TensorBoard asks for it where it opens one."""
    asked: Any = import_module("tensorboard.summary.writer.event_file_writer")
    before, asked.socket = asked.socket, SimpleNamespace(gethostname=lambda: "computer")
    try:
        yield
    finally:
        asked.socket = before
