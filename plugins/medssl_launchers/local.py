"""local: processes of this machine that go on when the command ends."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess  # nosec B404 # it starts the commands of the job
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from medssl.contracts import Job, Launcher, PositiveInt, TaskState
from medssl.errors import LaunchError
from medssl_launchers._lanes import lanes_of
from medssl_launchers._logs import state_of

__all__ = ["Local"]

_LANE = "medssl_launchers._lanes"


class Local(Launcher):
    """Starts processes on this machine, in lanes: each lane runs one task after the other."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options of ``local``.

        Attributes:
            lanes: Number of tasks at the same time, unless ``--jobs`` says another.
        """

        lanes: PositiveInt = 1  # as `medssl bench` without a launcher

    def submit(self, job: Job) -> str:
        """Start the lanes, each in a session of its own: the end of the terminal does not end them."""
        pids = []
        for lane in lanes_of(job.commands, job.at_once or self.config.lanes):
            words = [sys.executable, "-P", "-m", _LANE, str(job.folder), json.dumps(lane)]
            try:
                process = subprocess.Popen(  # nosec B603 # the words are those of the job
                    words, cwd=job.directory, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL, start_new_session=True,
                )  # fmt: skip
            except OSError as error:
                raise LaunchError(
                    f"no process could be started. {error}. Close other programs and try again."
                ) from error
            process.returncode = 0  # it is not waited for; without this Python would warn
            pids.append(process.pid)
        return json.dumps({"host": socket.gethostname(), "pids": pids})

    def states(self, job: Job, handle: str) -> Sequence[TaskState]:
        """Read the files that the lanes write."""
        pids = _pids(job, handle)
        alive = [_runs(pid) for pid in pids]
        return [state_of(job.folder, i, alive=alive[i % len(pids)]) for i in range(len(job.commands))]

    def cancel(self, job: Job, handle: str) -> None:
        """End the lanes and what they have started."""
        for pid in _pids(job, handle):
            if _runs(pid):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGTERM)


def _pids(job: Job, handle: str) -> list[int]:
    said = json.loads(handle)
    if said["host"] != socket.gethostname():
        raise LaunchError(
            f"the processes of {job.folder.name} are on {said['host']}, and this is another machine. Give the command "
            "there."
        )
    return [int(pid) for pid in said["pids"]]


def _runs(pid: int) -> bool:
    """Whether a lane runs; one that has ended may wait for its parent to ask for it."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, PermissionError):  # a number of another user's process was given again
        return False
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0]
    except OSError:
        return True
    return _LANE.encode() in words or (not words and state != "Z")  # a program that is being loaded has no words yet
