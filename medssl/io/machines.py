"""What tells processes of one machine from those of another, where both see the same files."""

from __future__ import annotations

import functools
import hashlib
import os
from pathlib import Path

__all__ = ["is_stopped", "machine", "process_mark", "runs"]


@functools.cache
def machine() -> str:
    """Return a name for the processes whose numbers this process can ask for: those of this boot and container.

    Returns:
        12 hexadecimal characters; empty if the system does not say, and then no process counts as one of this machine.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
        return hashlib.sha256(f"{boot} {Path('/proc/self/ns/pid').readlink()}".encode()).hexdigest()[:12]
    except OSError:
        return ""


def process_mark(pid: int) -> str:
    """Return when a process of this machine began, in ticks since the boot; empty if that is not known.

    A number of a process is given to another one some time after it ended; the mark tells them apart.
    """
    fields = _fields(pid)
    return fields[19] if len(fields) > 19 else ""


def is_stopped(pid: int) -> bool:
    """Whether a process of this machine was stopped (Ctrl-Z) and may be continued."""
    return _fields(pid)[:1] in (["T"], ["t"])


def runs(pid: int, mark: str = "") -> bool:
    """Whether a process of this number, and of this mark if one is given, runs on this machine."""
    if pid == os.getpid() or os.name == "nt":  # Windows cannot ask without ending it
        return True
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # it belongs to another user
        return True
    fields = _fields(pid)
    ended = fields[:1] == ["Z"]  # it waits for its parent to hear of it
    return not ended and (not mark or process_mark(pid) in ("", mark))


def _fields(pid: int) -> list[str]:
    """Return the fields of a process after its name, from its state on; empty if they cannot be read."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return text.rpartition(")")[2].split()
