"""csv: two tables in the run's directory, for a spreadsheet."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medssl.contracts import FinishedRun, StartedRun, Tracker

__all__ = ["Csv"]


class Csv(Tracker):
    """Writes ``trackers/csv/epochs.csv`` and, at the end, ``results.csv``.

    Each line of ``epochs.csv`` is one number: epoch, name, value. So a value that occurs only in some epochs, such as a
    validation score, needs no column.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """No options."""

    def start(self, run: StartedRun) -> None:
        """Begin ``epochs.csv``; of a continued run, keep the epochs before it."""
        self._folder = run.folder
        run.folder.mkdir(parents=True, exist_ok=True)
        epochs = run.folder / "epochs.csv"
        kept = [row for row in _rows(epochs) if int(row[0]) < run.first_epoch] if run.first_epoch else []
        _write(epochs, ["epoch", "name", "value"], kept)

    def epoch(self, number: int, values: Mapping[str, float]) -> None:
        """Add the lines of an epoch."""
        with (self._folder / "epochs.csv").open("a", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([number, name, repr(value)] for name, value in values.items())

    def finish(self, run: FinishedRun) -> None:
        """Write ``results.csv``."""
        rows = ([name, repr(value)] for name, value in run.values.items())
        _write(self._folder / "results.csv", ["name", "value"], rows)


def _rows(file: Path) -> list[list[str]]:
    """Read the complete lines of ``epochs.csv``; a killed run may have left half a line."""
    if not file.is_file():
        return []
    with file.open(encoding="utf-8", newline="") as opened:
        return [row for row in csv.reader(opened) if len(row) == 3 and row[0].isdigit()]


def _write(file: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    with file.open("w", encoding="utf-8", newline="") as opened:
        csv.writer(opened).writerows([header, *rows])
