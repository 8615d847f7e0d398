"""Runs the cells of a study in several processes."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess  # nosec B404 # it starts only this Python, see _COMMAND
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medssl.errors import CheckpointError
from medssl.io.leases import LeaseWatch, is_locked
from medssl.results.directory import RunDirectory
from medssl.runs.kept.reuse import lease_of_pretraining
from medssl.runs.pipeline import Place
from medssl.study.grid import Cell
from medssl.study.schedule.state import LOG, CellOutcome, StudyListener
from medssl.study.schedule.timing import Clock

__all__ = ["Crew"]

_COMMAND = (
    sys.executable,
    "-P",
    "-m",
    "medssl.study.launch.worker",
)  # -P: do not import modules from the current folder
_PATIENCE = 0.5  # seconds between two checks for changes
_GRACE = 5.0  # seconds that a worker has to end after it is asked to


@dataclass
class _Work:
    """A running cell."""

    cell: Cell
    process: subprocess.Popen[str]
    log: Path
    epochs: int = 0
    said: str = ""  # the last event: done, failed, busy
    message: str = ""


class Crew:
    """Runs cells, each in its own process.

    The run directory alone determines the state of a cell: a finished cell is skipped, an interrupted one continues,
    and one that another process is running is waited for. Cells that share their pre-training never run at the same
    time, so that the second finds the encoder of the first.

    Args:
        cells: The cells, in the order in which they should start.
        place: Where runs read and write.
        catalog_file: The user's own catalogue.
        jobs: Number of cells to run at the same time.
        clock: Knows the times of earlier runs.
        listener: Receives progress events.
        changed: Called with all outcomes whenever one has changed.
        waits: Whether to wait for cells that other processes run, instead of leaving them ``pending``.
        skip: Says of a cell whether not to try it.
    """

    def __init__(
        self,
        cells: Sequence[Cell],
        *,
        place: Place,
        catalog_file: Path | None,
        jobs: int,
        clock: Clock,
        listener: StudyListener,
        changed: Callable[[Sequence[CellOutcome]], None],
        waits: bool = True,
        skip: Callable[[Cell], bool] = lambda _: False,
    ) -> None:
        self._waits, self._skip = waits, skip
        self._place, self._catalog_file, self._jobs = place, catalog_file, jobs
        self._listener, self._changed = listener, changed
        self._outcomes = {cell.recipe.slug: CellOutcome(cell) for cell in cells}
        self._pending = list(cells)
        self._working: dict[str, _Work] = {}
        self._events: queue.Queue[tuple[str, Mapping[str, Any]]] = queue.Queue()
        self._clock, self._leases = clock, LeaseWatch()
        self._trained: set[str] = set()
        self._waiting: set[str] = set()

    def run(self) -> list[CellOutcome]:
        """Run every cell that is not finished; return the outcome of each.

        Raises:
            MedsslError: The study's folder cannot be written to.
        """
        self._pass_over_finished()
        self._listener.begin(len(self._outcomes), len(self._outcomes) - len(self._pending))
        self._changed(list(self._outcomes.values()))
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

    def _directory(self, cell: Cell) -> RunDirectory:
        return RunDirectory(self._place.output / cell.recipe.slug)

    def _leased(self, cell: Cell) -> Sequence[Path]:
        """Return the folders whose leases the cell's process will take."""
        return self._directory(cell).path, lease_of_pretraining(cell.recipe, self._place.output)

    def _is_finished(self, cell: Cell) -> bool:
        """Whether a cell has its result; if its end was killed, the page may be missing, and a worker writes it."""
        directory = self._directory(cell)
        return directory.result.exists() and not is_locked(directory.path)

    def _pass_over_finished(self) -> None:
        for cell in list(self._pending):
            if not self._place.force and self._is_finished(cell):
                self._settle(CellOutcome(cell, "done"))

    def _next(self) -> Cell | None:
        busy = {work.cell.recipe.pretraining_hash for work in self._working.values()}
        for cell in list(self._pending):
            if cell.recipe.pretraining_hash in busy or self._skip(cell):
                continue
            if any(self._leases.is_held(path) for path in self._leased(cell)):
                if cell.recipe.slug not in self._waiting:
                    self._waiting.add(cell.recipe.slug)
                    self._listener.wait(cell)
            elif (cell.recipe.slug in self._waiting or not self._place.force) and self._is_finished(cell):
                self._settle(CellOutcome(cell, "done"))  # by the process that this one waited for
                self._listener.end(self._outcomes[cell.recipe.slug])
            else:
                self._waiting.discard(cell.recipe.slug)
                return cell
        return None

    def _settle(self, outcome: CellOutcome) -> None:
        cell = outcome.cell
        if cell in self._pending:
            self._pending.remove(cell)
        if outcome.state == "done":
            try:
                self._directory(cell).load()
                (self._directory(cell).path / LOG).unlink(missing_ok=True)  # also that of a study that was killed
                self._trained.add(cell.recipe.pretraining_hash)
            except CheckpointError as error:
                outcome = CellOutcome(cell, "failed", str(error))
        self._outcomes[cell.recipe.slug] = outcome

    # ------------------------------------------------------------------------------------------------- the processes

    def _start(self, cell: Cell) -> None:
        directory = self._directory(cell)
        self._release(cell)
        directory.make()
        log = directory.path / LOG
        log.unlink(missing_ok=True)
        log.touch(mode=0o600)  # messages may name files of patients
        with log.open("w", encoding="utf-8") as stderr:
            process = subprocess.Popen(  # nosec B603 # no word of the command comes from outside
                _COMMAND,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                encoding="utf-8",
                env=self._environment(),
                start_new_session=True,  # Ctrl-C reaches only this process, which then stops its workers
            )
        self._pending.remove(cell)
        self._working[cell.recipe.slug] = _Work(cell, process, log)
        self._listener.start(cell)
        threading.Thread(target=self._listen, args=(cell, process), daemon=True).start()

    def _environment(self) -> dict[str, str]:
        """Divide the processor's cores among the workers, and make them import the same medssl."""
        wanted = os.environ.get("OMP_NUM_THREADS", "")
        cores = int(wanted) if wanted.isdigit() else os.cpu_count() or 1
        root = str(Path(__file__).parents[3])
        paths = [root, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
        return {
            **os.environ,
            "OMP_NUM_THREADS": str(max(1, cores // self._jobs)),
            "PYTHONPATH": os.pathsep.join(paths),
        }

    def _job(self, cell: Cell) -> str:
        place = self._place
        return json.dumps(
            {
                "layers": cell.layers,
                "catalog_file": self._catalog_file and str(self._catalog_file),
                "data_dir": place.data_dir and str(place.data_dir),
                "output": str(place.output),
                "device": place.device,
                "force": place.force,
                "on_bad_image": place.on_bad_image,
            },
            default=str,
        )

    def _listen(self, cell: Cell, process: subprocess.Popen[str]) -> None:
        """Receive the events of a worker, in a thread; add a last event when it has ended."""
        try:
            with process:  # closes the pipes and waits for the end
                assert process.stdin is not None  # nosec B101 # for the type checker; Popen gives both
                assert process.stdout is not None  # nosec B101
                process.stdin.write(self._job(cell) + "\n")
                process.stdin.flush()
                for line in process.stdout:
                    self._events.put((cell.recipe.slug, json.loads(line)))
        except (OSError, ValueError):
            pass  # the worker has ended; its exit status says how
        self._events.put((cell.recipe.slug, {"event": "ended", "code": process.wait()}))

    def _release(self, cell: Cell) -> None:
        """Remove the leases of the cell whose process has ended, so that no process waits for it."""
        for path in self._leased(cell):
            self._leases.clear(path)

    def _dismiss(self) -> None:
        """Stop all running cells; each run keeps its finished epochs."""
        for work in self._working.values():
            work.process.terminate()
        for work in self._working.values():
            try:
                work.process.wait(_GRACE)
            except subprocess.TimeoutExpired:
                work.process.kill()
                work.process.wait()
            self._release(work.cell)
        self._working.clear()

    # --------------------------------------------------------------------------------------------- what they tell us

    def _hear(self) -> None:
        try:
            slug, event = self._events.get(timeout=_PATIENCE)
        except queue.Empty:
            self._listener.tick(self._left())
            return
        work = self._working[slug]
        match event["event"]:
            case "stage":
                self._listener.stage(work.cell, event["title"])
            case "epoch":
                work.epochs = event["epoch"] + 1
                self._clock.learn_epoch(work.cell.recipe, event["seconds"])
                self._listener.epoch(work.cell, work.epochs, event["loss"])
            case "ended":
                self._end(work, event["code"])
            case said:
                work.said, work.message = said, event.get("message", "")

    def _end(self, work: _Work, code: int) -> None:
        del self._working[work.cell.recipe.slug]
        if work.said == "busy":
            self._pending.append(work.cell)
            self._waiting.add(work.cell.recipe.slug)
            self._listener.wait(work.cell)
            return
        if work.said == "done":
            outcome = CellOutcome(work.cell, "done")
            self._clock.learn_result(work.cell.recipe, self._directory(work.cell).load())
        else:
            outcome = CellOutcome(work.cell, "failed", work.message or _last_words(code, work.log))
        self._settle(outcome)
        self._changed(list(self._outcomes.values()))
        self._listener.end(self._outcomes[work.cell.recipe.slug])
        self._listener.tick(self._left())

    def _left(self) -> float | None:
        at_work = [work.cell for work in self._working.values()]
        done = {slug: work.epochs for slug, work in self._working.items()}
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
