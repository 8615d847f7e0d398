"""Says what is being waited for, when something that should be quick is not, and how far a long command is."""

from __future__ import annotations

import contextlib
import itertools
import sys
import threading
from collections.abc import Callable, Iterable, Iterator

from medssl.io import limits
from medssl.io.durations import duration

__all__ = ["said_each_minute", "waiting_for"]

MINUTE = 60.0


def waiting_for(what: str | Callable[[], str]) -> contextlib.AbstractContextManager[None]:
    """Print what is being waited for to standard error, after 30 seconds and then at growing intervals.

    Nothing is interrupted: a slow disk is no error, and Ctrl-C stops a wait that never ends.

    Args:
        what: What happens inside the context, or a function that returns it when it is needed.
    """

    def words(seconds: float) -> str:
        return f"still waiting after {seconds:.0f} s: {what if isinstance(what, str) else what()}. Ctrl-C stops it.\n"

    return _repeated(words, (limits.WAIT_SECONDS * 2**number for number in itertools.count()))


def said_each_minute(what: Callable[[], str]) -> contextlib.AbstractContextManager[None]:
    """Print to standard error once a minute what a command is doing, so that a long one is not silent.

    Args:
        what: Returns what is being done and how far it is.
    """
    return _repeated(lambda seconds: f"  after {duration(seconds)}: {what()}\n", itertools.repeat(MINUTE))


@contextlib.contextmanager
def _repeated(words: Callable[[float], str], pauses: Iterable[float]) -> Iterator[None]:
    """Print words, given the seconds so far, after each pause until the context ends."""
    done = threading.Event()

    def watch() -> None:
        seconds = 0.0
        for pause in pauses:
            if done.wait(pause):
                return
            seconds += pause
            with contextlib.suppress(OSError, ValueError):
                sys.stderr.write(words(seconds))
                sys.stderr.flush()

    thread = threading.Thread(target=watch, name="medssl-waiting", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
