"""Signs of life between ranks: a rank that fails, or gives no sign, ends all others with its cause.

A thread of each rank writes a number into the store of torch.distributed, which rank 0 or torchrun serves, and reads
those of the others. It works while the main thread computes, decodes images or waits.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
from typing import Any

__all__ = ["Watch"]

_FAILURE = "failure"
_OFTEN = 5.0  # seconds between two signs; a tenth of the time-out, if that is shorter
_GRACE = 10.0  # seconds in which the main thread may end by itself, to say what is saved


class Watch:
    """Gives signs of life and looks for those of the others.

    Args:
        store: The store; the thread uses it beside the main thread.
        rank: Number of this rank.
        size: Number of ranks.
        limit: Seconds after which a silent rank is lost.
        parent: Number of the process without which the ranks end; ``None``: there is none.
    """

    def __init__(self, store: Any, rank: int, size: int, limit: float, parent: int | None = None) -> None:
        self._store, self._rank, self._size, self._limit, self._parent = store, rank, size, limit, parent
        self._cause: str | None = None
        self._found, self._end = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="ranks", daemon=True)

    def start(self) -> None:
        """Begin; every rank must have been reached before."""
        self._sign(0)
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._end.set()
        self._thread.join(self._limit)

    def report(self, text: str) -> None:
        """Tell the others why this rank ends; the first report counts."""
        with contextlib.suppress(Exception):  # the store may be gone, and this rank has its own message
            self._store.compare_set(_FAILURE, "", json.dumps({"rank": self._rank, "text": text}))

    def cause(self, patience: float) -> str | None:
        """Wait up to ``patience`` seconds for the cause that another rank reports or that the thread finds."""
        self._found.wait(patience)
        return self._cause

    def _run(self) -> None:
        pause = min(_OFTEN, self._limit / 10)
        seen = {rank: ("", time.monotonic()) for rank in range(self._size) if rank != self._rank}
        count = 0
        while not self._end.wait(pause) and self._cause is None:
            count += 1
            try:
                self._sign(count)
                self._cause = self._reported() or self._silent(seen) or self._orphaned()
            except Exception:  # whatever the store raises: it is served by a process that has ended
                self._cause = "the process that connects the ranks has ended"
        if self._cause is not None:
            self._found.set()
            if not self._end.wait(_GRACE):  # the main thread waits in a call that does not return
                self._leave()

    def _sign(self, count: int) -> None:
        self._store.set(f"sign/{self._rank}", str(count))

    def _reported(self) -> str | None:
        if not self._store.check([_FAILURE]):
            return None
        said = json.loads(self._store.get(_FAILURE))
        return None if said["rank"] == self._rank else f"rank {said['rank']} of {self._size} has ended: {said['text']}"

    def _silent(self, seen: dict[int, tuple[str, float]]) -> str | None:
        now = time.monotonic()
        for rank, (last, when) in seen.items():
            sign = self._store.get(f"sign/{rank}").decode() if self._store.check([f"sign/{rank}"]) else ""
            if sign != last:
                seen[rank] = sign, now
            elif now - when > self._limit:
                return f"rank {rank} of {self._size} has given no sign for {self._limit:g} s"
        return None

    def _orphaned(self) -> str | None:
        gone = self._parent is not None and os.getppid() != self._parent
        return "the command that started the ranks has ended" if gone else None

    def _leave(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(f"Error: {self._cause}. Rank {self._rank} ends too.\n")
            sys.stderr.flush()
        os._exit(1)
