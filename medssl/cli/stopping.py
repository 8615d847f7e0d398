"""Signals that stop a command, the words that say how to continue, and the end of the process."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

import click

__all__ = ["SAVED", "Stopped", "leave", "status_of", "stoppable", "words_of"]

#: Signals that stop a command: the terminal was closed, Ctrl-C, a request to end, and a scheduler's warnings.
_NAMES = ("SIGHUP", "SIGINT", "SIGTERM", "SIGUSR1", "SIGUSR2", "SIGXCPU")
_THREADS_SECONDS = 10.0  # how long threads that a plugin left may keep the process

#: What is left of a stopped command, and how to continue it; ``run`` and ``bench`` also name their folder.
SAVED = {
    "run": "Finished epochs are saved. Run the same command to continue.",
    "evaluate": "Decoded images are kept. Run the same command to continue.",
    "bench": "Finished cells, and finished epochs of the others, are saved. Run the same command to continue.",
    "tune": "Finished trials, and finished epochs of the last one, are saved. Run the same command to continue.",
    "predict": "No predictions were written. Run the same command again.",
    "export": "Files that are complete are kept. Run the same command again.",
    "audit": "Decoded images are kept, nothing else was written. Run the same command again.",
    "embed": "No features were written. Run the same command again.",
    "fetch": "What has arrived is kept. Run the same command to continue.",
}


class Stopped(KeyboardInterrupt):
    """A signal asked the command to stop.

    Attributes:
        number: Number of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def status_of(stop: KeyboardInterrupt) -> int:
    """Return the exit status after a signal: 128 and its number, as a shell has it; 130 for Ctrl-C."""
    return 128 + (stop.number if isinstance(stop, Stopped) else signal.SIGINT)


def words_of(stop: KeyboardInterrupt) -> str:
    """Return ``Stopped``, with the name of the signal unless it was Ctrl-C."""
    if isinstance(stop, Stopped) and stop.number != signal.SIGINT:
        return f"Stopped by {signal.Signals(stop.number).name}"
    return "Stopped"


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """Turn the signals that stop a command into :class:`Stopped`; a second one ends the process at once.

    A signal that the caller ignores stays ignored, as ``nohup`` wants it.
    """
    before = {}
    if threading.current_thread() is threading.main_thread():
        for name in _NAMES:
            number = getattr(signal, name, None)  # Windows has few of them
            if number is not None and signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
                before[number] = signal.signal(number, _stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _stop(number: int, _frame: FrameType | None) -> None:
    for name in _NAMES:
        other = getattr(signal, name, None)
        if other is not None and signal.getsignal(other) is _stop:
            signal.signal(other, signal.SIG_DFL)
    raise Stopped(number)


def leave(status: int) -> None:
    """End the process soon, also if a plugin has left threads that do not end.

    Python waits for them. After ten seconds this names them and ends the process; nothing of medssl runs in them.

    Args:
        status: Exit status of the process.
    """
    left = [thread for thread in threading.enumerate() if thread is not threading.main_thread() and not thread.daemon]
    if left:
        timer = threading.Timer(_THREADS_SECONDS, _end, (status, left))
        timer.daemon = True
        timer.start()


def _end(status: int, left: list[threading.Thread]) -> None:
    names = ", ".join(sorted(f"'{thread.name}'" for thread in left if thread.is_alive()))
    with contextlib.suppress(OSError, ValueError):
        click.echo(f"not waiting for threads that a plugin left: {names}", err=True)
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status)
