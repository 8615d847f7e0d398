"""Says what is being waited for, when something that should be quick is not."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator

from medssl.io import limits

__all__ = ["waiting_for"]


@contextlib.contextmanager
def waiting_for(what: str | Callable[[], str]) -> Iterator[None]:
    """Print what is being waited for to standard error, after 30 seconds and then at growing intervals.

    Nothing is interrupted: a slow disk is no error, and Ctrl-C stops a wait that never ends.

    Args:
        what: What happens inside the context, or a function that returns it when it is needed.
    """
    done = threading.Event()

    def watch() -> None:
        seconds, pause = 0.0, limits.WAIT_SECONDS
        while not done.wait(pause):
            seconds += pause
            pause *= 2
            said = what if isinstance(what, str) else what()
            with contextlib.suppress(OSError, ValueError):
                sys.stderr.write(f"still waiting after {seconds:.0f} s: {said}. Ctrl-C stops it.\n")
                sys.stderr.flush()

    thread = threading.Thread(target=watch, name="medssl-waiting", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
