"""Progress of a study: a live display on a terminal, plain lines when the output is piped."""

from __future__ import annotations

import sys
import time

import click

from medssl.cli.display import Closable
from medssl.io.durations import duration
from medssl.io.plain_text import printable
from medssl.study.grid import Cell
from medssl.study.schedule.state import CellOutcome, StudyListener

__all__ = ["PlainStudy", "StudyDisplay", "choose_study_display"]

_EVERY = 60.0  # seconds between two progress lines


class StudyDisplay(Closable, StudyListener):
    """Shows the progress of a study. This base class prints nothing."""


def choose_study_display(*, quiet: bool) -> StudyDisplay:
    """Return a silent display when quiet, a live one on a terminal, plain lines otherwise. All use standard error."""
    if quiet:
        return StudyDisplay()
    return RichStudy() if sys.stderr.isatty() else PlainStudy()


def _ending(outcome: CellOutcome) -> str:
    name, folder = outcome.cell.name, outcome.cell.recipe.slug
    return f"done    {name}" if outcome.state == "done" else f"FAILED  {name} ({folder}): {outcome.message}"


class PlainStudy(StudyDisplay):
    """Lines for a log file: each cell that starts or ends, and once a minute the progress of the running cells."""

    def __init__(self) -> None:
        self._total = self._done = 0
        self._spoken = time.monotonic()
        self._epochs: dict[str, str] = {}
        self._left: float | None = None

    def begin(self, total: int, done: int) -> None:
        """Print the number of cells, and how many are already finished."""
        self._total, self._done = total, done
        click.echo(f"{total} cells, {done} of them already finished", err=True)

    def start(self, cell: Cell) -> None:
        """Print the name of the cell."""
        click.echo(f"start   {cell.name}  ({cell.recipe.slug})", err=True)

    def stage(self, cell: Cell, title: str) -> None:
        """Store the stage for the next line."""
        self._epochs[cell.name] = f"{cell.name}: {title}"

    def epoch(self, cell: Cell, done: int, loss: float) -> None:
        """Print the progress of every running cell once a minute."""
        self._epochs[cell.name] = f"{cell.name}: epoch {done}/{cell.recipe.train.epochs}, loss {loss:.4f}"
        self._say()

    def _say(self) -> None:
        if self._epochs and time.monotonic() - self._spoken >= _EVERY:
            self._spoken = time.monotonic()
            left = f"; about {duration(self._left)} left" if self._left else ""
            click.echo("        " + "; ".join(self._epochs.values()) + left, err=True)

    def end(self, outcome: CellOutcome) -> None:
        """Print how the cell ended, and how many cells are finished."""
        self._done += 1
        self._epochs.pop(outcome.cell.name, None)
        click.echo(f"{printable(_ending(outcome))}  [{self._done}/{self._total}]", err=True)

    def wait(self, cell: Cell) -> None:
        """Print that another process is running the cell."""
        self._epochs.pop(cell.name, None)
        click.echo(f"wait    {cell.name}: another process is running it", err=True)

    def note(self, text: str) -> None:
        """Print it."""
        click.echo(printable(text), err=True)

    def tick(self, left: float | None) -> None:
        """Store the estimated time left, and print the progress once a minute: an epoch may take longer."""
        self._left = left
        self._say()


class RichStudy(StudyDisplay):
    """A progress bar for the study and one for each running cell."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskID, TextColumn

        self._console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[words]}"),
            console=self._console,
        )
        self._bar.start()
        self._study = self._bar.add_task("cells", total=None, words="")
        self._tasks: dict[str, TaskID] = {}
        self._total = self._done = 0

    def begin(self, total: int, done: int) -> None:
        """Set the total and the progress of the study's bar."""
        self._total, self._done = total, done
        self._bar.update(self._study, total=total, completed=done, words=f"{done}/{total}")

    def start(self, cell: Cell) -> None:
        """Add a bar for the cell."""
        epochs = cell.recipe.train.epochs
        self._tasks[cell.recipe.slug] = self._bar.add_task(cell.name, total=epochs, words="starts")

    def stage(self, cell: Cell, title: str) -> None:
        """Show the stage."""
        self._bar.update(self._tasks[cell.recipe.slug], words=title)

    def epoch(self, cell: Cell, done: int, loss: float) -> None:
        """Move the cell's bar."""
        words = f"epoch {done}/{cell.recipe.train.epochs}  loss {loss:.4f}"
        self._bar.update(self._tasks[cell.recipe.slug], completed=done, words=words)

    def end(self, outcome: CellOutcome) -> None:
        """Remove the cell's bar and print how the cell ended."""
        self._done += 1
        if (task := self._tasks.pop(outcome.cell.recipe.slug, None)) is not None:
            self._bar.remove_task(task)
        style = None if outcome.state == "done" else "red"
        self._console.print(printable(_ending(outcome)), style=style, highlight=False, markup=False)
        self._bar.update(self._study, completed=self._done, words=f"{self._done}/{self._total}")

    def wait(self, cell: Cell) -> None:
        """Print that another process is running the cell."""
        if (task := self._tasks.pop(cell.recipe.slug, None)) is not None:
            self._bar.remove_task(task)
        self._console.print(f"wait    {cell.name}: another process is running it", highlight=False, markup=False)

    def note(self, text: str) -> None:
        """Print it above the bars."""
        self._console.print(printable(text), highlight=False, markup=False)

    def tick(self, left: float | None) -> None:
        """Show the estimated time left."""
        words = f"{self._done}/{self._total}" + (f"  about {duration(left)} left" if left else "")
        self._bar.update(self._study, words=words)

    def close(self) -> None:
        """Stop drawing."""
        self._bar.stop()
