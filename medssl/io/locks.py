"""A lock of the operating system, for folders in which the processes of one machine meet, and for moments only.

Where several machines may meet, and for longer work, there are leases: :mod:`medssl.io.leases`.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from typing import IO

from medssl.errors import CheckpointError
from medssl.io.reading import read_json

__all__ = ["BusyError", "hold"]

_NAME = "lock"


class BusyError(CheckpointError):
    """Another process is working in this directory."""


@contextlib.contextmanager
def hold(directory: Path) -> Iterator[None]:
    """Lock a directory, which must exist, so that other processes cannot work in it.

    The operating system releases the lock when the process ends for any reason. A lock file that a killed process left
    behind therefore locks nothing.

    Raises:
        BusyError: Another process holds it.
        CheckpointError: The directory cannot be written to.
    """
    path = directory / _NAME
    while True:
        file = _open(path)
        if not _locked(file):
            holder = _holder(path)
            file.close()
            raise BusyError(f"{directory} is in use. {holder} is working in it. Wait until it ends, or stop it.")
        if _same_file(file, path):
            break
        file.close()  # another process removed the file after we opened it and before we locked it
    with contextlib.suppress(OSError):  # on a full disk the lock works too, it only does not say whose it is
        file.truncate(0)
        file.write(json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode())
    try:
        yield
    finally:
        with contextlib.suppress(OSError), contextlib.closing(file):  # a lock file that is left behind locks nothing
            if sys.platform != "win32":  # Windows cannot remove an open file
                path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            directory.rmdir()  # succeeds only if the folder is empty, so a refused run leaves no folder


def _open(path: Path) -> FileIO:
    try:
        return path.open("a+b", buffering=0)
    except OSError as error:
        raise CheckpointError(
            f"{path} cannot be written. {error.strerror or error}. Give a folder you may write to with --output."
        ) from error


def _locked(file: IO[bytes] | FileIO) -> bool:
    """Take the lock without waiting; ``False`` if another process has it."""
    try:
        if sys.platform == "win32":
            import msvcrt  # noqa: PLC0415  # exists only on Windows

            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl  # noqa: PLC0415  # does not exist on Windows

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True


def _same_file(file: FileIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _holder(path: Path) -> str:
    try:
        holder = read_json(path)
        return f"Process {holder['pid']} on {holder['host']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "Another process"
