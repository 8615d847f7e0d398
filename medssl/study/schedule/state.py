"""What became of each cell, told to whoever listens and written to ``study.json``."""

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
LOG = "worker.log"  # in a run's directory: what the process of its cell printed, kept when that failed

State = Literal["done", "failed", "pending"]


@dataclass(frozen=True)
class CellOutcome:
    """What became of a cell.

    Attributes:
        cell: The cell.
        state: ``done``, ``failed``, or ``pending`` when the study was stopped before.
        message: Why it failed.
    """

    cell: Cell
    state: State = "pending"
    message: str | None = None


class StudyListener:
    """Hears what a study is doing; every method may be left as it is."""

    def begin(self, total: int, done: int) -> None:
        """The study begins; so many of its cells were finished before."""

    def start(self, cell: Cell) -> None:
        """Work on a cell begins, or goes on where an earlier call stopped."""

    def stage(self, cell: Cell, title: str) -> None:
        """A stage of a cell begins."""

    def epoch(self, cell: Cell, done: int, loss: float) -> None:
        """An epoch of a cell is done."""

    def end(self, outcome: CellOutcome) -> None:
        """A cell is finished or has failed."""

    def wait(self, cell: Cell) -> None:
        """Another process is at work on a cell."""

    def tick(self, left: float | None) -> None:
        """Time has passed; so many seconds are left, as far as can be said."""


def write_state(output: Path, plan: Plan, layers: Sequence[Mapping[str, Any]], outcomes: Sequence[CellOutcome]) -> None:
    """Write ``study.json``, whole or not at all.

    Args:
        output: The study's folder.
        plan: What varied.
        layers: Recipe layers over the plan's settings.
        outcomes: What became of each cell.
    """
    cells: list[Mapping[str, Any]] = []
    for outcome in outcomes:
        message = {"message": outcome.message} if outcome.message else {}
        cells.append({**outcome.cell.describe(), "state": outcome.state, **message})
    values = {"schema": STUDY_SCHEMA, "plan": plan.to_dict(), "layers": list(layers), "cells": cells}
    write_atomic(output / "study.json", (json.dumps(values, indent=2, default=str) + "\n").encode())
