"""The state of each cell, reported to a listener and written to ``study.json``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from medssl.io.files import write_atomic
from medssl.study.grid import Cell
from medssl.study.plan import Plan

__all__ = ["LOG", "STUDY_SCHEMA", "CellOutcome", "StudyListener", "write_state"]

STUDY_SCHEMA = 1
LOG = "worker.log"  # in a run's directory: output of the cell's process, kept if the cell failed

State = Literal["done", "failed", "pending"]


@dataclass(frozen=True)
class CellOutcome:
    """Outcome of a cell.

    Attributes:
        cell: The cell.
        state: ``done``, ``failed``, or ``pending`` if the study stopped first.
        message: Why it failed.
    """

    cell: Cell
    state: State = "pending"
    message: str | None = None


class StudyListener:
    """Receives the progress events of a study. The default of every method does nothing."""

    def begin(self, total: int, done: int) -> None:
        """The study begins; ``done`` of its ``total`` cells are already finished."""

    def start(self, cell: Cell) -> None:
        """A cell starts, or continues after an interruption."""

    def stage(self, cell: Cell, title: str) -> None:
        """A stage of a cell begins."""

    def epoch(self, cell: Cell, done: int, loss: float) -> None:
        """An epoch of a cell is done."""

    def end(self, outcome: CellOutcome) -> None:
        """A cell is finished or has failed."""

    def wait(self, cell: Cell) -> None:
        """Another process is running the cell."""

    def note(self, text: str) -> None:
        """Something to know about the study as a whole."""

    def tick(self, left: float | None) -> None:
        """Called regularly with the estimated seconds left; ``None`` if unknown."""


def write_state(output: Path, plan: Plan, layers: Sequence[Mapping[str, Any]], outcomes: Sequence[CellOutcome]) -> None:
    """Write ``study.json`` completely or not at all.

    Args:
        output: The study's folder.
        plan: The values that vary.
        layers: Recipe layers above the plan's settings.
        outcomes: Outcome of each cell.
    """
    cells: list[Mapping[str, Any]] = []
    for outcome in outcomes:
        message = {"message": outcome.message} if outcome.message else {}
        cells.append({**outcome.cell.describe(), "state": outcome.state, **message})
    values = {"schema": STUDY_SCHEMA, "plan": plan.to_dict(), "layers": list(layers), "cells": cells}
    write_atomic(output / "study.json", (json.dumps(values, indent=2, default=str) + "\n").encode(), private=True)
