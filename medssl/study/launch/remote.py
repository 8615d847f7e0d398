"""Follows the cells of a study that a launcher runs, from the files in the study's folder.

Nothing else is remembered, so the command may be closed and started again. It then finds the earlier jobs, and submits
a new job for the cells that no job has.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medssl.catalog import Catalog
from medssl.contracts.kinds import LAUNCHER
from medssl.contracts.launchers import TaskState
from medssl.discovery.blame import file_of, named_plugin
from medssl.discovery.guarding import settings_kept
from medssl.errors import BreachError, LaunchError, MedsslError, PluginError
from medssl.io.leases import is_locked
from medssl.recipe import Choice, choose
from medssl.results.directory import read_history
from medssl.study.grid import Cell
from medssl.study.launch.following import Follower
from medssl.study.launch.job import StoredJob, jobs_of, write_job
from medssl.study.schedule.state import CellOutcome

__all__ = ["Remote", "cancel_jobs"]

_PAUSE = 2.0  # seconds between two looks into the folder
_ASK = 10.0  # seconds between two questions to the launcher
_SURE = 2  # answers after which a job that has ended is believed to have: a task may be between two queues
_SILENCE = 600.0  # seconds without an answer after which the command ends
_TRIES = 3  # jobs that are submitted for a cell that none of them has tried


class Remote(Follower):
    """Runs cells by a launcher.

    Args:
        launcher: The launcher with its options.
        at_once: Most tasks at the same time; ``None``: as the launcher likes.
        **common: As in :class:`~medssl.study.launch.following.Follower`.
    """

    def __init__(self, cells: Sequence[Cell], *, launcher: Choice, at_once: int | None, **common: Any) -> None:
        super().__init__(cells, **common)
        self._launcher, self._at_once = _Asked(launcher), at_once
        self._epochs: dict[str, int] = {}  # finished ones, of running cells
        self._jobs: list[StoredJob] = []
        self._ended: dict[Path, int] = {}  # how often it was seen that all tasks of a job have ended
        self._words: dict[Path, str] = {}  # the last words of its tasks
        self._asked = self._answered = time.monotonic()
        self._silent = False

    def run(self) -> list[CellOutcome]:
        """Submit what has to run, and wait until every cell is finished or has failed.

        Raises:
            MedsslError: The launcher refuses the tasks, or has not answered for ten minutes.
        """
        for cell in self._todo():
            if self._is_finished(cell):
                self._outcomes[cell.recipe.slug] = self._loaded(cell)
        todo = self._todo()
        self._begin(todo)
        if todo:
            self._jobs = [job for job in jobs_of(self._place.output) if self._is_at_work(job)]
            has_job = {name for job in self._jobs for name in job.cells if job.failure(name) is None}
            self._submit([cell for cell in todo if cell.recipe.slug not in has_job])
        while self._todo():
            time.sleep(_PAUSE)
            self._look()
            self._listener.tick(None)
        return list(self._outcomes.values())

    def _todo(self) -> list[Cell]:
        return [outcome.cell for outcome in self._outcomes.values() if outcome.state == "pending"]

    def _submit(self, cells: Sequence[Cell]) -> None:
        if cells:
            choice, file = self._launcher.choice, self._catalog_file
            job = write_job(cells, self._place, choice.to_dict(), catalog_file=file, at_once=self._at_once)
            try:
                self._jobs.append(job.submitted(self._launcher.submit(job)))
            except MedsslError:
                shutil.rmtree(job.folder, ignore_errors=True)
                raise
            self._listener.note(f"{len(cells)} cells were submitted: {job.folder.name}")
            self._asked = self._answered = time.monotonic()

    def _is_at_work(self, job: StoredJob) -> bool:
        """Whether tasks of an earlier job of this launcher will still do something."""
        if job.launcher.get("plugin") != self._launcher.choice.name:
            return False
        try:
            return any(task.state in ("waiting", "running") for task in self._launcher.states(job))
        except LaunchError as error:
            self._listener.note(str(error))
            return False

    # ------------------------------------------------------------------------------------------------- what has changed

    def _look(self) -> None:
        if time.monotonic() - self._asked >= _ASK:
            self._asked = time.monotonic()
            for job in self._jobs:
                self._ask(job)
        again = []
        for cell in self._todo():
            outcome = self._outcome(cell)
            if outcome is None:
                self._follow(cell)
            elif outcome.state == "pending":
                again.append(cell)
            else:
                self._end(outcome)
        self._submit(again)

    def _outcome(self, cell: Cell) -> CellOutcome | None:
        """Return how a cell has ended; ``None`` if it has not, and ``pending`` if it needs a new job."""
        if self._is_finished(cell):
            return self._loaded(cell)
        jobs = [job for job in self._jobs if cell.recipe.slug in job.cells]
        failures = [job.failure(cell.recipe.slug) for job in jobs]
        if jobs and failures[-1] is not None:
            return CellOutcome(cell, "failed", failures[-1])
        if any(self._ended.get(job.folder, 0) < _SURE for job in jobs) or self._is_held(cell):
            return None
        if len(jobs) < _TRIES:
            return CellOutcome(cell)
        words = self._words.get(jobs[-1].folder, "")
        return CellOutcome(
            cell, "failed", f"the tasks of {len(jobs)} jobs ended before they had run it. {words}".strip()
        )

    def _end(self, outcome: CellOutcome) -> None:
        self._epochs.pop(outcome.cell.recipe.slug, None)
        super()._end(outcome)

    def _ask(self, job: StoredJob) -> None:
        try:
            states = self._launcher.states(job)
        except LaunchError as error:
            if time.monotonic() - self._answered > _SILENCE:
                raise
            if not self._silent:
                self._listener.note(f"{error} Asking again for {_SILENCE / 60:.0f} minutes.")
            self._silent = True
            return
        self._answered, self._silent = time.monotonic(), False
        ended = all(task.state in ("done", "failed") for task in states)
        self._ended[job.folder] = self._ended.get(job.folder, 0) + 1 if ended else 0
        self._words[job.folder] = next((task.message for task in states if task.state == "failed"), "")

    def _follow(self, cell: Cell) -> None:
        directory, name = self._directory(cell), cell.recipe.slug
        if self._leases.is_held(directory.path):
            if name not in self._epochs:
                self._epochs[name] = 0
                self._listener.start(cell)
            history = read_history(directory)
            if len(history) > self._epochs[name]:
                self._epochs[name] = len(history)
                self._listener.epoch(cell, len(history), float(history[-1].get("loss", "nan")))

    def _is_finished(self, cell: Cell) -> bool:
        directory = self._directory(cell)
        return directory.result.exists() and not (is_locked(directory.path) and self._is_held(cell))


class _Asked:
    """A launcher, whose errors name it."""

    def __init__(self, choice: Choice) -> None:
        self.choice = choice
        self._launcher = choice.plugin(choice.config)

    def submit(self, job: StoredJob) -> str:
        handle = self._call("submit", job.for_launcher())
        if not isinstance(handle, str):
            raise BreachError(self.choice.plugin, "submit()", [f"it must return a text, but returned {handle!r:.80}"])
        return handle

    def states(self, job: StoredJob) -> Sequence[TaskState]:
        found = self._call("states", job.for_launcher(), job.handle)
        if not isinstance(found, Sequence) or not all(isinstance(each, TaskState) for each in found):
            raise BreachError(self.choice.plugin, "states()", [f"it must return states, but returned {found!r:.80}"])
        return found

    def cancel(self, job: StoredJob) -> None:
        self._call("cancel", job.for_launcher(), job.handle)

    def _call(self, function: str, *arguments: Any) -> Any:
        try:
            with settings_kept(named_plugin(self.choice)):
                return getattr(self._launcher, function)(*arguments)
        except MedsslError:
            raise
        except Exception as error:
            text = " ".join(str(error).split())
            raise PluginError(
                f"the launcher '{self.choice.name}' failed in {function}() ({file_of(self.choice.plugin)}): "
                f"{type(error).__name__}: {text}. Tell its authors, or use another launcher."
            ) from error


def cancel_jobs(study: Path, catalog: Catalog) -> list[str]:
    """End the tasks of every job in a study's folder.

    Returns:
        The names of the jobs that had not ended.

    Raises:
        MedsslError: A launcher is not installed, or could not be reached.
    """
    found = []
    for job in jobs_of(study):
        options = {key: value for key, value in job.launcher.items() if key != "plugin"}
        launcher = _Asked(choose(LAUNCHER.name, str(job.launcher.get("plugin")), options, catalog))
        if any(task.state in ("waiting", "running") for task in launcher.states(job)):
            launcher.cancel(job)
            found.append(job.folder.name)
    return found
