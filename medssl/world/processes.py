"""Starts the ranks of one machine, each as a process of its own, and ends all of them if one fails."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess  # nosec B404 # it starts only this Python
import sys
import time
from collections.abc import Sequence
from tempfile import TemporaryFile
from typing import IO, TextIO

from medssl.errors import OptionError
from medssl.world.membership import PARENT, Membership, cores

__all__ = ["start"]

_POLL = 0.1  # seconds between two looks at the processes
_GRACE = 20.0  # seconds in which the others may end by themselves when one has failed, and again after SIGTERM
_LINES = 15  # of the messages of a failed rank


def start(words: Sequence[str], count: int, output: TextIO) -> int:
    """Run ``medssl`` once per rank and wait until all have ended.

    Standard output and the messages are those of rank 0. Of another rank that fails first, the last lines are shown.

    Args:
        words: The command line, without ``medssl``.
        count: Number of ranks.
        output: Standard output of rank 0.

    Returns:
        The exit status of the rank that failed first, 128 and the number of the signal that ended it, or 0.

    Raises:
        OptionError: There are fewer processors.
        KeyboardInterrupt: A signal stopped this process; it was passed on, and all ranks have ended.
    """
    if count > (most := cores()):
        raise OptionError(
            f"--devices {count} is more than this machine has. It has {most} processors for this command, and each "
            f"process needs one, also with a GPU. Give --devices {most} or less."
        )
    with contextlib.ExitStack() as files:
        said = [files.enter_context(TemporaryFile()) for _ in range(count)]
        port = _free_port()
        places = [Membership(rank, count, rank, "127.0.0.1", port) for rank in range(count)]
        ranks = [_start(words, place, output, said[place.rank]) for place in places]
        try:
            failed = _wait(ranks)
        except KeyboardInterrupt as stop:
            _end(ranks, getattr(stop, "number", signal.SIGINT))
            raise
        if failed is None:
            return 0
        _end(ranks, None)
        status = ranks[failed].returncode
        if status < 0 or ranks[0].returncode not in (1, 2):  # otherwise rank 0 has said it
            _tell(failed, status, said[failed])
        return status if status > 0 else 128 - status


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _start(words: Sequence[str], place: Membership, output: TextIO, said: IO[bytes]) -> subprocess.Popen[bytes]:
    """Start one rank in a session of its own, so that Ctrl-C reaches it once: from here."""
    threads = str(max(1, cores() // place.size))
    environment = {"OMP_NUM_THREADS": threads, **os.environ, **place.variables(), PARENT: str(os.getpid())}
    return subprocess.Popen(  # nosec B603 # this Python, with the user's own words
        [sys.executable, "-m", "medssl", *words],
        env=environment,
        stdout=output if place.rank == 0 else subprocess.DEVNULL,
        stderr=None if place.rank == 0 else said,
        start_new_session=True,
    )


def _wait(ranks: Sequence[subprocess.Popen[bytes]]) -> int | None:
    """Wait until all have ended well, or one has failed: its number; of several, one that a signal ended."""
    while True:
        codes = [rank.poll() for rank in ranks]
        failed = [number for number, code in enumerate(codes) if code]
        if failed:
            return min(failed, key=lambda number: (codes[number] or 0) > 0)
        if all(code == 0 for code in codes):
            return None
        time.sleep(_POLL)


def _end(ranks: Sequence[subprocess.Popen[bytes]], number: int | None) -> None:
    """End the ranks that are left: with a signal or by themselves, then by SIGTERM, then at once."""
    for step in (number, signal.SIGTERM):
        left = [rank for rank in ranks if rank.poll() is None]
        for rank in left:
            if step is not None:
                rank.send_signal(step)
        end = time.monotonic() + _GRACE
        while any(rank.poll() is None for rank in left) and time.monotonic() < end:
            time.sleep(_POLL)
    for rank in ranks:
        if rank.poll() is None:
            rank.kill()
            rank.wait()


def _tell(rank: int, code: int, said: IO[bytes]) -> None:
    """Say how another rank than rank 0 ended, or which signal ended a rank."""
    if code < 0:
        name = signal.Signals(-code).name
        lost = " It may have needed more memory than there is." if name == "SIGKILL" else ""
        sys.stderr.write(f"Error: {name} ended the process of rank {rank}, so all have ended.{lost}\n")
    elif rank:
        said.seek(0)
        sys.stderr.write("\n".join([f"rank {rank}:", *said.read().decode(errors="replace").splitlines()[-_LINES:], ""]))
