"""Progress of a run: a live display on a terminal, plain lines when the output is piped."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Self

import click

from medssl.io.plain_text import printable
from medssl.io.waiting import said_each_minute
from medssl.runs.listener import Listener

if TYPE_CHECKING:
    from medssl.recipe import Recipe
    from medssl.train.loop.trainer import EpochRecord, StepRecord

__all__ = ["Closable", "Display", "choose_display", "epoch_line", "reading_images"]


class Closable:
    """A display that is closed at the end of a ``with`` block."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Restore the terminal."""


class Display(Closable, Listener):
    """Shows the progress of a run. This base class prints nothing."""


def choose_display(recipe: Recipe, *, quiet: bool) -> Display:
    """Return a silent display when quiet, a live one on a terminal, plain lines otherwise. All use standard error."""
    if quiet:
        return Display()
    return RichDisplay(recipe) if sys.stderr.isatty() else PlainDisplay(recipe)


@contextlib.contextmanager
def reading_images(then: str) -> Iterator[Callable[[int, int], None]]:
    """Print once a minute how far a command is that has no display; give it the number of images read and of all.

    Args:
        then: What it does when the images are read.
    """
    said = "the images are listed"

    def progress(done: int, total: int) -> None:
        nonlocal said
        said = f"{done} of {total} images read" if done < total else then

    with said_each_minute(lambda: said):
        yield progress


def epoch_line(record: EpochRecord, epochs: int) -> str:
    """Describe an epoch in one line: loss, speed, spread of the features, validation scores."""
    words = [
        f"epoch {record.epoch + 1}/{epochs}",
        f"loss {record.loss:.4f}",
        f"{record.images_per_second:.0f} images/s",
    ]
    if record.feature_std is not None and record.effective_rank is not None:
        words += [f"feature std {record.feature_std:.2f}", f"rank {record.effective_rank:.1f}"]
    words.extend(f"{name} {value:.3f}" for name, value in record.validation.items())
    return "  ".join(words)


class PlainDisplay(Display):
    """Lines for a log file: stages, notes, about ten of the epochs, and once a minute how far the stage is."""

    def __init__(self, recipe: Recipe) -> None:
        self._epochs = recipe.train.epochs
        self._every = max(1, recipe.train.epochs // 10)
        click.echo(f"{recipe.slug}", err=True)
        self._stage, self._far = "", ""
        self._minutes = contextlib.ExitStack()
        self._minutes.enter_context(said_each_minute(lambda: f"{self._stage}{self._far}"))

    def stage(self, title: str) -> None:
        """Print the stage's name."""
        self._stage, self._far = title, ""
        click.echo(title, err=True)

    def note(self, text: str) -> None:
        """Print the note, indented."""
        click.echo(printable(f"  {text}"), err=True)

    def progress(self, done: int, total: int) -> None:
        """Keep the number of images read for the next line."""
        self._far = f", {done} of {total} images read"

    def step(self, record: StepRecord) -> None:
        """Keep the step for the next line."""
        self._far = f", step {record.step + 1} of {record.total_steps}, loss {record.loss:.4f}"

    def epoch(self, record: EpochRecord) -> None:
        """Print the first and the last epoch, and about ten between them."""
        done = record.epoch + 1
        if done in (1, self._epochs) or done % self._every == 0:
            click.echo(f"  {epoch_line(record, self._epochs)}", err=True)

    def close(self) -> None:
        """Print no more lines."""
        self._minutes.close()


class RichDisplay(Display):
    """One live line per stage, with a progress bar, the time left and the latest values."""

    def __init__(self, recipe: Recipe) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._epochs = recipe.train.epochs
        self._console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[words]}"),
            TimeRemainingColumn(compact=True),
            console=self._console,
            transient=False,
        )
        self._console.print(f"[bold]{recipe.slug}[/bold]", highlight=False)
        self._bar.start()
        self._task = self._bar.add_task("start", total=None, words="")
        self._words = ""
        self._drawn = 0.0

    def stage(self, title: str) -> None:
        """Start a new line for the stage."""
        self._bar.update(self._task, visible=False)
        self._task = self._bar.add_task(title, total=None, words="")

    def note(self, text: str) -> None:
        """Print above the display."""
        self._console.print(printable(f"  {text}"), highlight=False, markup=False, style="dim")

    def progress(self, done: int, total: int) -> None:
        """Show the number of images read, at most ten times a second."""
        if done == total or time.monotonic() - self._drawn > 0.1:
            self._drawn = time.monotonic()
            self._bar.update(self._task, completed=done, total=total, words=f"{done}/{total} images")

    def step(self, record: StepRecord) -> None:
        """Move the bar."""
        self._bar.update(self._task, completed=record.step + 1, total=record.total_steps)

    def epoch(self, record: EpochRecord) -> None:
        """Show the values of the latest epoch."""
        self._bar.update(self._task, words=epoch_line(record, self._epochs))

    def close(self) -> None:
        """Stop drawing."""
        self._bar.stop()
