"""Observes what a case does: which files it writes, which programs it starts, how long it takes, how much memory."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

SECONDS = 10  # a case may take
_WAITING = 6  # as long may it take if it waits, for instance for the processor
BYTES = 2**31  # of memory that a case may take, more than there was before
CEILING = 2**32  # beyond it, an allocation fails, so that a fault does not take the whole machine

_PROGRAMS = (
    "subprocess.Popen",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.spawn",
    "os.fork",
    "pty.spawn",
    "ctypes.dlopen",
)
#: Events that change a folder: the positions of the path and of the folder's descriptor among their arguments.
_CHANGES = {
    "os.remove": ((0, 1),),
    "os.rmdir": ((0, 1),),
    "os.mkdir": ((0, 2),),
    "os.rename": ((0, 2), (1, 3)),
    "os.link": ((1, 3),),
    "os.symlink": ((1, 2),),
    "os.truncate": ((0, None),),
    "os.chmod": ((0, 2),),
    "os.utime": ((0, 3),),
}
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_OWN_LIBRARIES = (("libc.so.6",), (None,))  # ctypes opens them for libraries that measure memory
_COMPILED = ("__pycache__", ".pyc")  # what Python itself writes beside a module


class FaultError(BaseException):
    """A case did what it must not; no ``except Exception`` of the code under test can hide it."""


class _Watch:
    def __init__(self) -> None:
        self.allowed: tuple[str, ...] | None = None
        self.seen: list[str] = []
        self.hooked = False


_watch = _Watch()


@contextlib.contextmanager
def watched(*allowed: Path) -> Iterator[None]:
    """Refuse files that are written outside some folders, and other programs; limit time and memory.

    Raises:
        FaultError: One was written or started, whatever else was raised; or see :func:`limited`.
    """
    if not _watch.hooked:
        sys.addaudithook(_hear)
        _watch.hooked = True
    own = (*allowed, Path(os.environ["MEDSSL_CONFIG"]), Path(os.devnull))
    _watch.seen.clear()
    with limited():
        _watch.allowed = tuple(os.path.realpath(each) for each in own)
        try:
            yield
        finally:
            _watch.allowed = None
            if _watch.seen:
                raise FaultError(f"outside: {'; '.join(_watch.seen[:5])}")


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    if _watch.allowed is None:
        return
    if event in _PROGRAMS and arguments[:1] not in _OWN_LIBRARIES:
        _watch.seen.append(f"{event} {arguments[:1]!r:.200}")
    elif event == "open" and isinstance(arguments[0], str | bytes) and arguments[2] & _WRITING:
        _require_inside(event, arguments[0], -1)
    elif event in _CHANGES:
        for name, folder in _CHANGES[event]:
            if isinstance(arguments[name], str | bytes | os.PathLike):
                _require_inside(event, arguments[name], -1 if folder is None else arguments[folder])


def _require_inside(event: str, name: Any, folder: int) -> None:
    allowed, _watch.allowed = _watch.allowed, None  # the look-up itself is not watched
    start = Path.cwd() if folder < 0 else Path(f"/proc/self/fd/{folder}").readlink()
    path = start / os.fsdecode(name)
    place = str(path.parent.resolve() / path.name)  # a link itself is what is removed or renamed
    _watch.allowed = allowed
    inside = any(place == each or place.startswith(each + os.sep) for each in allowed or ())
    if not inside and not any(part in place for part in _COMPILED):
        _watch.seen.append(f"{event} {place}")


@contextlib.contextmanager
def limited() -> Iterator[None]:
    """Raise a fault after :data:`SECONDS`, or if the memory has grown by more than :data:`BYTES` at any moment.

    Seconds of work count, so that other programs on the machine make no case a fault; waiting counts one to six.
    """

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise FaultError(f"it takes more than {SECONDS} s")

    Path("/proc/self/clear_refs").write_text("5")  # the peak of the memory starts anew
    before = _memory("VmHWM")
    earlier = [(kind, signal.signal(kind, stop)) for kind in (signal.SIGALRM, signal.SIGPROF)]
    signal.setitimer(signal.ITIMER_REAL, _WAITING * SECONDS)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.setitimer(signal.ITIMER_PROF, 0)
        for kind, handler in earlier:
            signal.signal(kind, handler)
        if (grown := _memory("VmHWM") - before) > BYTES:
            raise FaultError(f"it takes {grown / 2**30:.1f} GB of memory")


def _memory(name: str) -> int:
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024


def cap_memory() -> None:
    """Let allocations beyond :data:`CEILING` fail in this process."""
    import resource

    limit = _memory("VmSize") + CEILING
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def bare_environment() -> dict[str, str]:
    """Return the environment for a process that runs cases."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
