"""Runs the cells of a study in several processes."""

from __future__ import annotations

import json
import queue
import signal
import subprocess  # nosec B404 # it starts nothing here
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from medssl.io.leases import is_locked
from medssl.study.grid import Cell
from medssl.study.launch.following import Follower
from medssl.study.launch.workers import Events, WorkerProcess
from medssl.study.schedule.state import LOG, CellOutcome
from medssl.study.schedule.timing import Clock

__all__ = ["Crew"]

_PATIENCE = 0.5  # seconds between two checks for changes
_GRACE = 5.0  # seconds that a worker has to end after it is asked to
_CELLS = 50  # of one worker: a new process from time to time bounds what a library leaves behind


class Crew(Follower):
    """Runs cells in worker processes.

    The run directory alone determines the state of a cell: a finished cell is skipped, an interrupted one continues,
    and one that another process is running is waited for. Cells that share their pre-training never run at the same
    time, so that the second finds the encoder of the first.

    A worker runs one cell after another, so torch and the plugins are imported once. A new process takes its place
    after a cell that failed, if the cell left the process in another state (see :mod:`~medssl.study.launch.worker`),
    after 50 cells, and for a cell with other plugins that are not medssl's own.

    Args:
        jobs: Number of cells to run at the same time.
        clock: Knows the times of earlier runs.
        waits: Whether to wait for cells that other processes run, instead of leaving them ``pending``.
        skip: Says of a cell whether not to try it.
        **common: As in :class:`~medssl.study.launch.following.Follower`.
    """

    def __init__(
        self,
        cells: Sequence[Cell],
        *,
        jobs: int,
        clock: Clock,
        waits: bool = True,
        skip: Callable[[Cell], bool] = lambda _: False,
        **common: Any,
    ) -> None:
        super().__init__(cells, **common)
        self._jobs, self._clock, self._waits, self._skip = jobs, clock, waits, skip
        self._pending = list(cells)
        self._workers: list[WorkerProcess] = []
        self._events: Events = queue.Queue()
        self._trained: set[str] = set()
        self._waiting: set[str] = set()

    def run(self) -> list[CellOutcome]:
        """Run every cell that is not finished; return the outcome of each.

        Raises:
            MedsslError: The study's folder cannot be written to.
        """
        self._pass_over_finished()
        self._begin(self._pending)
        try:
            while self._pending or self._working:
                while len(self._working) < self._jobs and (cell := self._next()) is not None:
                    self._start(cell)
                if not (self._working or self._waits):
                    break  # other processes run what is left
                self._hear()
        finally:
            self._dismiss()
        return list(self._outcomes.values())

    # ------------------------------------------------------------------------------------------------ which is next

    @property
    def _working(self) -> list[tuple[WorkerProcess, Cell]]:
        """The workers that run a cell, each with it."""
        return [(worker, worker.cell) for worker in self._workers if worker.cell]

    def _is_finished(self, cell: Cell) -> bool:
        """Whether a cell has its result; if its end was killed, the page may be missing, and a worker writes it."""
        directory = self._directory(cell)
        return directory.result.exists() and not is_locked(directory.path)

    def _pass_over_finished(self) -> None:
        for cell in list(self._pending):
            if not self._place.force and self._is_finished(cell):
                self._outcomes[cell.recipe.slug] = self._settled(CellOutcome(cell, "done"))

    def _next(self) -> Cell | None:
        busy = {cell.recipe.pretraining_hash for _, cell in self._working}
        for cell in list(self._pending):
            if cell.recipe.pretraining_hash in busy or self._skip(cell):
                continue
            if self._is_held(cell):
                if cell.recipe.slug not in self._waiting:
                    self._waiting.add(cell.recipe.slug)
                    self._listener.wait(cell)
            elif (cell.recipe.slug in self._waiting or not self._place.force) and self._is_finished(cell):
                self._end(CellOutcome(cell, "done"))  # by the process that this one waited for
            else:
                self._waiting.discard(cell.recipe.slug)
                return cell
        return None

    def _settled(self, outcome: CellOutcome) -> CellOutcome:
        cell = outcome.cell
        if cell in self._pending:
            self._pending.remove(cell)
        if outcome.state == "done":
            outcome = self._loaded(cell)
        if outcome.state == "done":
            (self._directory(cell).path / LOG).unlink(missing_ok=True)  # also that of a study that was killed
            self._trained.add(cell.recipe.pretraining_hash)
        return outcome

    def _end(self, outcome: CellOutcome) -> None:
        super()._end(self._settled(outcome))
        self._listener.tick(self._left())

    # ------------------------------------------------------------------------------------------------- the processes

    def _start(self, cell: Cell) -> None:
        directory = self._directory(cell)
        self._release(cell)
        directory.make()
        log = directory.path / LOG
        log.unlink(missing_ok=True)
        log.touch(mode=0o600)  # messages may name files of patients
        self._worker(cell, log).begin(cell, log, self._job(cell, log))
        self._pending.remove(cell)
        self._listener.start(cell)

    def _worker(self, cell: Cell, log: Path) -> WorkerProcess:
        """Return a worker that waits for a cell and has the plugins of this one, or start one."""
        plugins = {choice.name for choice in cell.recipe.choices if choice.distribution != "medssl"}
        waiting = [worker for worker in self._workers if not (worker.cell or worker.ending)]
        for worker in waiting:
            if worker.plugins == plugins and worker.process.poll() is None:
                return worker
        for worker in waiting:
            worker.retire()
        slot = min({*range(self._jobs)} - {worker.slot for worker in self._workers if not worker.ending})
        worker = WorkerProcess(slot, self._jobs, self._place.device, log, plugins, self._events)
        self._workers.append(worker)
        return worker

    def _job(self, cell: Cell, log: Path) -> str:
        """Return what a worker needs to run a cell. It does not wait for the encoder of another process; others do."""
        place = {**asdict(self._place), "patient": False}
        job = {"layers": cell.layers, "log": log, "catalog_file": self._catalog_file, "place": place}
        return json.dumps(job, default=str)

    def _release(self, cell: Cell) -> None:
        """Remove the leases of the cell whose process has ended, so that no process waits for it."""
        for path in self._leased(cell):
            self._leases.clear(path)

    def _dismiss(self) -> None:
        """Stop all running cells, each of which keeps its finished epochs, and let all workers end."""
        for worker in self._workers:
            if worker.cell:
                worker.process.terminate()
            worker.retire()
        for worker in self._workers:
            try:
                worker.process.wait(_GRACE)
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait()
            if worker.cell:
                self._release(worker.cell)
        self._workers.clear()

    # --------------------------------------------------------------------------------------------- what they tell us

    def _hear(self) -> None:
        try:
            worker, event = self._events.get(timeout=_PATIENCE)
        except queue.Empty:
            self._listener.tick(self._left())
            return
        if event["event"] == "ended":
            self._workers.remove(worker)
        if cell := worker.cell:
            self._take(worker, cell, event)

    def _take(self, worker: WorkerProcess, cell: Cell, event: Mapping[str, Any]) -> None:
        match event["event"]:
            case "stage":
                self._listener.stage(cell, event["title"])
            case "epoch":
                worker.epochs = event["epoch"] + 1
                self._clock.learn_epoch(cell.recipe, event["seconds"])
                self._listener.epoch(cell, worker.epochs, event["loss"])
            case "ended" if worker.count > 1 and not worker.heard:
                self._pending.insert(0, cell)  # it had ended before it was given the cell
            case "ended":
                self._end(CellOutcome(cell, "failed", _last_words(event["code"], worker.log)))
            case said:
                worker.cell = None
                if said == "busy":
                    self._pending.append(cell)
                    self._waiting.add(cell.recipe.slug)
                    self._listener.wait(cell)
                else:
                    if said == "done":
                        self._clock.learn_result(cell.recipe, self._directory(cell).load())
                    self._end(CellOutcome(cell, said, event.get("message")))
                if not (event["again"] and worker.count < _CELLS and self._pending):
                    worker.retire()
        worker.heard = True

    def _left(self) -> float | None:
        done = {cell.recipe.slug: worker.epochs for worker, cell in self._working}
        at_work = [cell for _, cell in self._working]
        return self._clock.left([*at_work, *self._pending], done, self._trained, self._jobs)


def _last_words(code: int, log: Path) -> str:
    """Describe how a process ended that did not report its outcome."""
    how = f"exit status {code}"
    if code < 0:
        how = f"signal {signal.Signals(-code).name}"
    hint = " The usual cause is too little memory; try fewer --jobs." if code == -9 else ""
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n") if log.exists() else []
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return f"its process ended by {how}.{hint}{' ' + last if last else ''}"
