"""A task of a job: it runs one free cell after the other, until none is left."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from medssl.catalog import load_catalog
from medssl.recipe import resolve
from medssl.runs.pipeline import Place
from medssl.study.grid import Cell
from medssl.study.launch.crew import Crew
from medssl.study.launch.job import StoredJob, read_job
from medssl.study.schedule.state import CellOutcome, StudyListener
from medssl.study.schedule.timing import Clock

__all__ = ["run_free_cells"]


def run_free_cells(folder: Path, number: int, listener: StudyListener) -> Sequence[CellOutcome]:
    """Run the free cells of a job: those that are not finished, have not failed in this job, and run nowhere else.

    Args:
        folder: Folder of the job.
        number: Number of the task, from 0. Tasks begin at different cells, so they meet less often.
        listener: Receives progress events.

    Returns:
        The outcome of every cell; ``pending`` for those that run elsewhere.

    Raises:
        CheckpointError: The job cannot be read.
    """
    job = read_job(folder)
    for name, value in job.variables.items():
        os.environ.setdefault(name, value)
    catalog_file = Path(job.catalog_file) if job.catalog_file else None
    catalog = load_catalog(catalog_file)
    cells = [Cell(tuple(layers), resolve(catalog, layers)) for layers in job.cells.values()]
    crew = Crew(
        _from(cells, number),
        place=Place(**{**job.place, "output": job.study}),  # this machine may see the folder at another path
        catalog_file=catalog_file,
        jobs=1,
        clock=Clock(),
        listener=listener,
        changed=lambda outcomes: _note_failures(job, outcomes),
        waits=False,
        skip=lambda cell: job.failure(cell.recipe.slug) is not None,
    )
    return crew.run()


def _from(cells: Sequence[Cell], number: int) -> list[Cell]:
    """Begin with the first cell of the encoder of this number, and keep the order."""
    keys = [cell.recipe.pretraining_hash for cell in cells]
    firsts = [keys.index(key) for key in dict.fromkeys(keys)]
    start = firsts[number % len(firsts)] if firsts else 0
    return [*cells[start:], *cells[:start]]


def _note_failures(job: StoredJob, outcomes: Sequence[CellOutcome]) -> None:
    for outcome in outcomes:
        name = outcome.cell.recipe.slug
        if outcome.state == "failed" and job.failure(name) is None:
            job.fail(name, outcome.message or "")
