"""A worker process, as the crew sees it: its start, its share of the machine, the cells it gets, and its end."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess  # nosec B404 # it starts only this Python, see _COMMAND
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from medssl.study.grid import Cell
from medssl.world.membership import cores

__all__ = ["Events", "WorkerProcess"]

# -P: do not import modules from the current folder
_COMMAND = (sys.executable, "-P", "-m", "medssl.study.launch.worker")

Events = queue.Queue[tuple["WorkerProcess", Mapping[str, Any]]]


class WorkerProcess:
    """A process that runs one cell after another.

    Attributes:
        slot: Its number among the workers that run at the same time, from 0.
        cell: The cell that it runs; ``None`` if it waits for one.
        log: Where the output of the cell goes.
        plugins: Names of the plugins of other packages that its cells use.
        count: Number of cells that it was given.
        epochs: Finished epochs of the cell.
        heard: Whether it has said anything about the cell.
        ending: Whether it gets no further cell.

    Args:
        slot: Its number among the workers that run at the same time, from 0.
        slots: Number of workers that run at the same time; they share cores and GPUs.
        device: The device that was asked for.
        log: Gets what the process says before its first cell.
        plugins: Names of the plugins of other packages that its cells use.
        events: Receives what it tells, and at last ``ended``.
    """

    def __init__(self, slot: int, slots: int, device: str, log: Path, plugins: set[str], events: Events) -> None:
        self.slot, self.log, self.plugins, self._events = slot, log, plugins, events
        self.cell: Cell | None = None
        self.count = self.epochs = 0
        self.heard = self.ending = False
        with log.open("ab") as said:
            self.process = subprocess.Popen(  # nosec B603 # no word of the command comes from outside
                _COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, text=True, encoding="utf-8",
                env={**os.environ, **variables(slot, slots, device)},
                start_new_session=True,  # Ctrl-C reaches only this process, which then stops its workers
            )  # fmt: skip
        if share := own_cores(slot, slots):
            with contextlib.suppress(OSError):
                os.sched_setaffinity(self.process.pid, share)
        threading.Thread(target=self._listen, daemon=True).start()

    def begin(self, cell: Cell, log: Path, job: str) -> None:
        """Give it a cell: one line of JSON."""
        self.cell, self.log, self.count, self.epochs, self.heard = cell, log, self.count + 1, 0, False
        with contextlib.suppress(OSError):  # it has ended, and its last event says how
            print(job, file=self.process.stdin, flush=True)

    def retire(self) -> None:
        """Let it end after its cell."""
        self.ending = True
        with contextlib.suppress(OSError):
            if self.process.stdin:
                self.process.stdin.close()

    def _listen(self) -> None:
        """Receive its events, in a thread; add a last one when it has ended."""
        with contextlib.suppress(OSError, ValueError), self.process:  # closes the pipes and waits for the end
            for line in self.process.stdout or ():
                self._events.put((self, json.loads(line)))
        self._events.put((self, {"event": "ended", "code": self.process.wait()}))


def variables(slot: int, slots: int, device: str) -> dict[str, str]:
    """Return the environment variables of a worker: its threads, its GPU, and where it finds the same medssl."""
    paths = [str(Path(__file__).parents[3]), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    found = {"OMP_NUM_THREADS": str(_threads(slots)), "PYTHONPATH": os.pathsep.join(paths)}
    if slots > 1 and device in ("auto", "cuda") and (count := torch.cuda.device_count()) > 1:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        names = visible.split(",")[:count] if visible else [str(number) for number in range(count)]
        found["CUDA_VISIBLE_DEVICES"] = names[slot % len(names)]
    return found


def own_cores(slot: int, slots: int) -> set[int]:
    """Return the cores to which a worker is bound; none if it may use all, or if they are fewer than its threads."""
    if slots == 1 or not hasattr(os, "sched_setaffinity"):
        return set()
    every = sorted(os.sched_getaffinity(0))
    share = every[slot * len(every) // slots : (slot + 1) * len(every) // slots]
    return set(share) if len(share) >= _threads(slots) else set()


def _threads(slots: int) -> int:
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    return max(1, (int(wanted) if wanted.isdigit() else cores()) // slots)
