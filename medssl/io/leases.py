"""Leases: one process at a time works in a folder, also where several machines share it.

A lease is a small file that its holder rewrites every five seconds. Who looks at it compares its bytes and measures
time with a clock of its own: bytes that do not change for a minute belong to a process that has ended or cannot write.
No time of day and no time of a file is read, so clocks that differ between machines do no harm, and no lock of the file
system is needed.
"""

from __future__ import annotations

import _thread
import contextlib
import json
import os
import secrets
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from medssl.errors import CheckpointError
from medssl.io.locks import BusyError
from medssl.io.machines import is_stopped, machine, process_mark, runs
from medssl.io.reading import parse_json
from medssl.io.waiting import waiting_for

__all__ = ["Lease", "LeaseLostError", "LeaseWatch", "confirm", "holding", "is_held", "is_locked"]

_NAME = "lock"
_BREAK = "lock.break"  # exists for the moment in which one process removes a dead lease
_BEAT = 5.0  # seconds between two signs of life
_DEAD = 60.0  # seconds without a change after which a lease is dead
_SAFE = 0.75  # of these: after so long without a sign, the holder asks whether it still has the lease
_LOOK = 0.2  # seconds between two looks at the lease of another

_held: dict[Path, Lease] = {}  # of this process, by directory
_own: set[str] = set()  # ids of the leases of this process that are taken or held


class LeaseLostError(CheckpointError):
    """This process has lost its lease, so another one may be working in its folder."""


@contextlib.contextmanager
def holding(directory: Path) -> Iterator[Lease]:
    """Take the lease of a directory, which must exist, and renew it in a thread.

    A lease of this machine whose process has ended is taken over at once. One of another machine is watched until it
    changes, and then it is in use, or until it has not changed for a minute, and then it is taken over.

    A process can lose its lease if it was stopped for minutes or could not write. Then its main thread is interrupted,
    if that took the lease, and :func:`confirm` refuses every further file.

    Raises:
        BusyError: Another process holds it.
        CheckpointError: The directory cannot be written to.
        LeaseLostError: It was lost.
    """
    lease = _take(directory)
    try:
        try:
            yield lease
        finally:
            lease.release()
    except KeyboardInterrupt:
        if lease.lost:  # the lease's thread has interrupted, not the user
            raise LeaseLostError(lease.lost) from None
        raise


def is_locked(directory: Path) -> bool:
    """Whether a process took the lease of a directory and has not released it; it may have been killed since."""
    return (directory / _NAME).exists()


def is_held(directory: Path) -> bool:
    """Whether another process may be working in a directory, as far as one look can tell."""
    return LeaseWatch().is_held(directory)


def confirm(path: Path) -> None:
    """Make sure, before a file is written, that this process still holds the lease of its folder, if it took one.

    Raises:
        LeaseLostError: It has lost it.
    """
    for directory, lease in list(_held.items()):
        if directory in path.absolute().parents:
            lease.confirm()


class LeaseWatch:
    """Watches leases of other processes, and measures on its own clock how long each has not changed."""

    def __init__(self) -> None:
        self._seen: dict[Path, tuple[bytes, float]] = {}

    def is_held(self, directory: Path) -> bool:
        """Whether a process is working in a directory; call it again and again, and it finds dead leases too."""
        try:
            content = _read(directory / _NAME)
        except PermissionError:
            return False  # who takes the lease is told
        except OSError:
            return True  # a file system that does not answer: ask again
        return content is not None and not self._is_dead(directory / _NAME, content)

    def clear(self, directory: Path) -> None:
        """Remove the lease of a directory if it is dead; only one of several processes does."""
        file = directory / _NAME
        with contextlib.suppress(OSError):
            content = _read(file)
            if content is not None and self._is_dead(file, content):
                with _alone(directory, self) as alone:
                    if alone and _read(file) == content:
                        file.unlink()

    def clear_break(self, file: Path) -> None:
        """Remove what a process left that was killed while it removed a dead lease."""
        content = _read(file)
        if content is not None and self._is_dead(file, content):
            aside = file.with_name(f".{_BREAK}.{secrets.token_hex(8)}.tmp")
            with contextlib.suppress(OSError):
                file.rename(aside)
                if _read(aside) != content:  # another process was faster, and this file is a new one
                    os.link(aside, file)
                aside.unlink()

    def _is_dead(self, file: Path, content: bytes) -> bool:
        now = time.monotonic()
        before, since = self._seen.get(file, (None, now))
        if content != before:
            since = now
            self._seen[file] = content, now
        return _has_ended(content) or now - since >= _DEAD


class Lease:
    """The lease of a directory, taken by this process.

    Attributes:
        lost: Why this process no longer has it; empty if it has.

    Args:
        directory: The directory.
    """

    def __init__(self, directory: Path) -> None:
        self.lost = ""
        self._directory, self._file = directory.absolute(), directory.absolute() / _NAME
        self._id, self._count, self._process = secrets.token_hex(8), 0, os.getpid()
        self._bytes = self._tried = b""
        self._why, self._seen = "it or its computer was stopped", LeaseWatch()
        self._renewed = time.monotonic()
        self._mutex, self._end = threading.Lock(), threading.Event()
        self._interrupts = threading.current_thread() is threading.main_thread()
        self._thread = threading.Thread(target=self._beat, name=f"lease of {directory.name}", daemon=True)

    def create(self) -> bool:
        """Write the file, and start the thread that renews it; ``False`` if the file exists.

        Raises:
            OSError: The directory cannot be written to.
        """
        self._renewed = time.monotonic()
        _own.add(self._id)  # before others can read it
        try:
            number = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        except OSError as error:
            _own.discard(self._id)
            if isinstance(error, FileExistsError):
                return False
            raise
        with os.fdopen(number, "wb", buffering=0) as file, contextlib.suppress(OSError):
            content = self._content()  # a full disk stops the run when it writes something
            self._bytes = content[: file.write(content)]
            os.fsync(file.fileno())
        self._tried = self._bytes
        _held[self._directory] = self
        self._thread.start()
        return True

    def renew(self) -> None:
        """Give a sign of life, or find that the lease is lost."""
        with self._mutex:
            if self.lost:
                return
            try:
                if time.monotonic() - self._renewed < _SAFE * _DEAD:
                    self._write()
                else:  # another process may be about to take it over
                    with _alone(self._directory, self._seen) as alone:
                        if alone:
                            self._write()
            except OSError as error:
                self._why = f"{self._file} could not be written: {error.strerror or error}"
            if not self.lost and time.monotonic() - self._renewed > _DEAD:
                self._lose()

    def confirm(self) -> None:
        """Make sure that it is still held.

        Raises:
            LeaseLostError: It is lost.
        """
        if self._process != os.getpid():
            return  # a copy in a forked process
        if not self.lost and time.monotonic() - self._renewed >= _SAFE * _DEAD:
            self.renew()
        if self.lost:
            raise LeaseLostError(self.lost)

    def release(self) -> None:
        """Remove the file, if the lease is not lost, and the directory, if it is empty."""
        self._end.set()
        self._thread.join()
        self.renew()
        _held.pop(self._directory, None)
        _own.discard(self._id)
        if not self.lost:
            with contextlib.suppress(OSError):
                self._seen.clear_break(self._directory / _BREAK)
                for left in self._directory.glob(f".{_NAME}.*.tmp"):  # of holders that were killed while they wrote
                    left.unlink()
                self._file.unlink()
            with contextlib.suppress(OSError):
                self._directory.rmdir()  # succeeds only if the folder is empty, so a refused run leaves no folder

    def _beat(self) -> None:
        while not self._end.wait(_BEAT):
            self.renew()
            if self.lost:
                if self._interrupts and callable(signal.getsignal(signal.SIGINT)):
                    _interrupt()
                return

    def _write(self) -> None:
        began = time.monotonic()
        if _read(self._file) not in (self._bytes, self._tried):
            self._lose()
            return
        self._count += 1
        self._tried = self._content()
        _replace(self._file, self._tried)
        if time.monotonic() - began > _SAFE * _DEAD:  # stopped in between: it may have replaced that of another
            self._lose()
        self._bytes, self._renewed = self._tried, began

    def _lose(self) -> None:
        self.lost = (
            f"another process has taken over {self._directory}, or may have. This one gave no sign of life for a "
            f"minute ({self._why}). It writes nothing more there. Run the same command again: it continues, or says "
            "who is working there."
        )

    def _content(self) -> bytes:
        who = {"pid": self._process, "host": socket.gethostname(), "machine": machine()}
        return json.dumps({**who, "mark": process_mark(self._process), "id": self._id, "count": self._count}).encode()


def _interrupt() -> None:
    """Raise KeyboardInterrupt in the main thread, also if it waits for something."""
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
    else:  # Windows
        _thread.interrupt_main()


def _take(directory: Path) -> Lease:
    seen, file, lease = LeaseWatch(), directory / _NAME, Lease(directory)
    try:
        first = _read(file)
        with waiting_for(lambda: f"whether {_holder(first)} is still working in {directory}; it takes a minute to see"):
            while not lease.create():
                found = _read(file)
                if not seen.is_held(directory):
                    seen.clear(directory)
                elif None not in (first, found) and (found != first or _is_awake(found)):
                    who = _holder(found)
                    raise BusyError(f"{directory} is in use. {who} is working in it. Wait until it ends, or stop it.")
                first = first or found
                time.sleep(_LOOK)
    except OSError as error:
        raise CheckpointError(
            f"{file} cannot be written. {error.strerror or error}. Give a folder you may write to with --output."
        ) from error
    return lease


@contextlib.contextmanager
def _alone(directory: Path, seen: LeaseWatch) -> Iterator[bool]:
    """Keep out other processes that want to remove a dead lease, for a moment; ``False``: another one is at it."""
    file = directory / _BREAK
    mine = {"pid": os.getpid(), "machine": machine(), "mark": process_mark(os.getpid()), "id": secrets.token_hex(8)}
    try:
        number = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        seen.clear_break(file)
        yield False
        return
    try:
        with os.fdopen(number, "wb", buffering=0) as opened, contextlib.suppress(OSError):
            opened.write(json.dumps(mine).encode())
        yield True
    finally:
        file.unlink(missing_ok=True)


def _read(file: Path) -> bytes | None:
    """Read a lease; ``None`` if there is none."""
    try:
        if file not in file.parent.iterdir():  # on NFS this also refreshes what this machine knows of the folder
            return None
        return file.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _replace(file: Path, content: bytes) -> None:
    temporary = file.with_name(f".{file.name}.{os.getpid()}-{machine()}.tmp")
    try:
        with temporary.open("wb") as opened:
            opened.write(content)
            opened.flush()
            os.fsync(opened.fileno())
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)


def _said(content: bytes | None) -> dict[str, Any]:
    try:
        found = parse_json((content or b"").decode())
    except ValueError:
        return {}
    return found if isinstance(found, dict) and isinstance(found.get("pid"), int) else {}


def _has_ended(content: bytes) -> bool:
    """Whether a lease names a process of this machine that has ended, or this one, which could not remove it."""
    said = _said(content)
    here = bool(said) and machine() != "" and said.get("machine") == machine()
    if here and said["pid"] == os.getpid():
        return said.get("id") not in _own
    return here and not runs(said["pid"], str(said.get("mark", "")))


def _is_awake(content: bytes | None) -> bool:
    """Whether a lease names a process of this machine that runs and was not stopped."""
    said = _said(content)
    here = bool(said) and machine() != "" and said.get("machine") == machine()
    return here and runs(said["pid"], str(said.get("mark", ""))) and not is_stopped(said["pid"])


def _holder(content: bytes | None) -> str:
    said = _said(content)
    return f"Process {said['pid']} on {said.get('host', 'another machine')}" if said else "Another process"
