"""Gives back what a plugin changes in the whole process, and says so."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

__all__ = ["settings_kept"]

_log = logging.getLogger("medssl")


@contextlib.contextmanager
def settings_kept(who: str, *, at_import: bool = False) -> Iterator[None]:
    """Give back the process's settings if they change inside the context, and warn.

    Without this, one plugin would change the results of the others: a default type of float64, for instance, changes
    every network that is built later.

    Args:
        who: The plugin, for the warning.
        at_import: Whether it is being imported; then its changes of standard output and of signals are given back too.
    """
    before = {name: value for name, value, _ in _settings(at_import)}
    try:
        yield
    finally:
        changed = []
        for name, value, restore in _settings(at_import):
            then = before[name] if name in before else _as_new(name, value)
            if value != then:
                changed.append(name)
                restore(then)
        if changed:
            _log.warning("%s changed the %s of the whole process, which was given back", who, " and the ".join(changed))


def _as_new(name: str, value: Any) -> Any:
    """Return the value of a setting of torch directly after its import, for a plugin that imported it first."""
    torch: Any = sys.modules.get("torch")
    new = {} if torch is None else {"default type of numbers": torch.float32, "recording of gradients": True}
    return new.get(name, value)


def _settings(at_import: bool) -> Iterator[tuple[str, Any, Callable[[Any], object]]]:
    """Yield each setting: its name, its value, and a function that sets it."""
    with contextlib.suppress(OSError):  # the folder may be gone
        yield "current folder", str(Path.cwd()), os.chdir
    yield "recursion limit", sys.getrecursionlimit(), sys.setrecursionlimit
    if at_import:
        yield "standard output", sys.stdout, lambda stream: setattr(sys, "stdout", stream)
        yield "standard error", sys.stderr, lambda stream: setattr(sys, "stderr", stream)
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                yield f"handler of {number.name}", signal.getsignal(number), partial(signal.signal, number)
    torch: Any = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "get_default_dtype"):
        yield "default type of numbers", torch.get_default_dtype(), torch.set_default_dtype
        yield "recording of gradients", torch.is_grad_enabled(), torch.set_grad_enabled
