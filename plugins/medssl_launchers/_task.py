"""What submitit starts on a node: it runs a command, and stops it when the task is to be queued again."""

from __future__ import annotations

import os
import signal
import subprocess  # nosec B404 # it starts the command of a task
import time
from collections.abc import Sequence
from importlib import import_module
from typing import Any

__all__ = ["Task"]

_ALREADY = 6.0  # seconds in which the command may end by itself: some clusters send it the same signal
_GRACE = 30.0  # seconds in which it may end after it was asked to
_PAUSE = 0.2


class Task:
    """Runs a command in a folder.

    Args:
        directory: The current folder of the command.
    """

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None

    def __call__(self, command: Sequence[str]) -> None:
        """Run the command.

        Raises:
            RuntimeError: It has failed.
        """
        self._process = subprocess.Popen(command, cwd=self._directory)  # nosec B603 # the words are those of the job
        while not self._has_ended():
            time.sleep(_PAUSE)
        if status := self._process.wait():
            raise RuntimeError(f"the task ended with exit status {status}")

    def checkpoint(self, command: Sequence[str]) -> Any:
        """End the command and say how to go on; submitit calls it in a signal handler, before the time limit."""
        if self._process is not None and not self._ends_within(_ALREADY):
            os.kill(self._process.pid, signal.SIGTERM)
            if not self._ends_within(_GRACE):
                os.kill(self._process.pid, signal.SIGKILL)
        return import_module("submitit").helpers.DelayedSubmission(Task(self._directory), command)

    def _ends_within(self, seconds: float) -> bool:
        end = time.monotonic() + seconds
        while not self._has_ended() and time.monotonic() < end:
            time.sleep(_PAUSE)
        return self._has_ended()

    def _has_ended(self) -> bool:
        """Ask without the lock of ``subprocess``, which the code below the signal handler may hold."""
        if self._process is None:
            return True
        try:
            return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:  # it was asked for already
            return True
