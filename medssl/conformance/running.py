"""Defines a check, runs it and returns its outcome."""

from __future__ import annotations

import random
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from medssl.errors import OptionError, PluginError

__all__ = [
    "Check",
    "CheckResult",
    "ContractError",
    "NotBuiltError",
    "NotSeen",
    "Subject",
    "built",
    "name_of",
    "require",
    "results_of",
    "without_global_draws",
]


class ContractError(PluginError):
    """A plugin violates its contract; the message states the requirement and what was observed."""


class NotBuiltError(ContractError):
    """A plugin cannot be built, so all further checks would fail for the same reason."""


class NotSeen(Exception):  # noqa: N818  (not an error: there was nothing to check)
    """A check has nothing to test, with the reason: for instance, a dataset's files are not on this machine."""


@dataclass(frozen=True, eq=False)
class Subject:
    """The object of the checks: a plugin's class with options and, for a dataset, its files.

    Attributes:
        plugin: The class.
        config: Its options.
        root: Folder with a dataset's files; ``None``: none are available.
        facts: Entries of the catalogue about a dataset.
    """

    plugin: type[Any]
    config: Any
    root: Path | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


Check = Callable[[Subject], None]


@dataclass(frozen=True)
class CheckResult:
    """Outcome of one check.

    Attributes:
        name: The property in words.
        problem: The requirement and what was observed instead; ``None`` if the check passed.
        not_seen: Why the check had nothing to test; ``None`` if it ran.
        last: Whether all further checks would fail for the same reason.
    """

    name: str
    problem: str | None = None
    not_seen: str | None = None
    last: bool = False


def built(subject: Subject) -> Any:
    """Build a plugin that takes its options alone.

    Raises:
        NotSeen: Something that it needs is not installed.
    """
    try:
        return subject.plugin(subject.config)
    except OptionError as error:
        raise NotSeen(str(error)) from error


def require(holds: bool, text: str) -> None:
    """Stop the check with an error if the requirement is not met.

    Raises:
        ContractError: ``holds`` is false; the message is ``text``.
    """
    if not holds:
        raise ContractError(text)


def name_of(check: Check) -> str:
    """Return a check's name in words."""
    return check.__name__.removeprefix("check_").replace("_", " ")


def results_of(checks: Sequence[Check], subject: Subject) -> Iterator[CheckResult]:
    """Run checks one by one; any error that a check raises is its finding. A plugin that cannot be built ends them."""
    for check in checks:
        result = _run(check, subject)
        yield result
        if result.last:
            return


def _run(check: Check, subject: Subject) -> CheckResult:
    with torch.random.fork_rng(devices=[]):
        try:
            check(subject)
        except ContractError as violation:
            return CheckResult(name_of(check), problem=str(violation), last=isinstance(violation, NotBuiltError))
        except NotSeen as reason:
            return CheckResult(name_of(check), not_seen=str(reason))
        except Exception as error:  # a third party's code may raise anything
            text = f"it raised {type(error).__name__}: {error}{_place(error, subject.plugin)}"
            return CheckResult(name_of(check), problem=text)
    return CheckResult(name_of(check))


def _place(error: Exception, plugin: type) -> str:
    """Return the place of an error in the plugin's file; empty if it is elsewhere."""
    file = getattr(sys.modules.get(plugin.__module__), "__file__", None)
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    return f" (in {own[-1].name}, {Path(own[-1].filename).name}:{own[-1].lineno})" if own else ""


@contextmanager
def without_global_draws(where: str, instead: str) -> Iterator[None]:
    """Check that the global random generators of torch, numpy and Python are not used.

    Raises:
        ContractError: One of them was used. They belong to the caller of medssl, and a continued run cannot repeat it.
    """
    before = _global_states()
    yield
    for library, then, now in zip(("torch", "numpy", "Python"), before, _global_states(), strict=True):
        require(then == now, f"{where} must draw from {instead} only, but drew from {library}'s global generator")


def _global_states() -> tuple[str, str, str]:
    legacy = np.random.get_state()  # noqa: NPY002  (watched, not used)
    return str(torch.get_rng_state().tolist()), str(legacy), str(random.getstate())
