"""Keeps freed memory in the process, so that a training step need not request it from the system again.

glibc returns each block above 32 MB to the system as soon as it is freed, and requests fresh zeroed pages for the next
block. A training step allocates and frees the same activations every time. With ResNet-50 at 224 px and batch 16, a
step spent more than a third of its time in a million page faults; with the memory kept it is 1.7 times as fast.
ResNet-18 at 64 px is 1.05 to 1.25 times as fast (two cores, float32). Results are bit-identical.
"""

from __future__ import annotations

import contextlib
import ctypes
import threading
from collections.abc import Iterator

__all__ = ["kept_memory"]

# parameters of mallopt(3), from <malloc.h>
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
_NEVER_TRIM, _LARGEST_INT = -1, 2**31 - 1
_GLIBC_MMAP_LIMIT = 32 * 2**20  # maximum of glibc's growing threshold on 64-bit systems; it trims at twice that
_STEP = 64 * 2**20  # bytes by which the heap grows


class _Holders:
    """Counts the open contexts in this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.count = 0

    def enter(self, libc: ctypes.CDLL) -> None:
        with self._lock:
            self.count += 1
            if self.count == 1:
                _keep(libc)

    def leave(self, libc: ctypes.CDLL) -> None:
        with self._lock:
            self.count -= 1
            if self.count == 0:
                _give_back(libc)


_holders = _Holders()


@contextlib.contextmanager
def kept_memory() -> Iterator[None]:
    """Within this context the process keeps the memory that it frees; afterwards it returns all of it to the system.

    Contexts can be nested and used in several threads: the last one to end returns the memory. Without glibc (macOS,
    Windows, Alpine) nothing is changed.
    """
    libc = _glibc()
    if libc is None:
        yield
        return
    _holders.enter(libc)
    try:
        yield
    finally:
        _holders.leave(libc)


def _glibc() -> ctypes.CDLL | None:
    """Return the process's C library if it has both functions that are used here."""
    try:
        libc = ctypes.CDLL(None)
    except (OSError, TypeError):  # TypeError: Windows
        return None
    return libc if hasattr(libc, "mallopt") and hasattr(libc, "malloc_trim") else None


def _keep(libc: ctypes.CDLL) -> None:
    libc.mallopt(_MMAP_THRESHOLD, _LARGEST_INT)
    libc.mallopt(_TRIM_THRESHOLD, _NEVER_TRIM)
    libc.mallopt(_TOP_PAD, _STEP)


def _give_back(libc: ctypes.CDLL) -> None:
    """Set the thresholds that glibc itself reaches after large blocks were freed, and return free memory."""
    libc.mallopt(_MMAP_THRESHOLD, _GLIBC_MMAP_LIMIT)
    libc.mallopt(_TRIM_THRESHOLD, 2 * _GLIBC_MMAP_LIMIT)
    libc.mallopt(_TOP_PAD, 0)
    libc.malloc_trim(0)
