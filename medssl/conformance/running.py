"""What a check is, how one is run, and what came of it."""

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

from medssl.errors import PluginError

__all__ = [
    "Check",
    "CheckResult",
    "ContractError",
    "NotBuiltError",
    "NotSeen",
    "Subject",
    "name_of",
    "require",
    "results_of",
    "without_global_draws",
]


class ContractError(PluginError):
    """A plugin breaks its contract; the message says what the contract is and what was seen."""


class NotBuiltError(ContractError):
    """A plugin cannot be built at all, so no further check can say anything else."""


class NotSeen(Exception):  # noqa: N818  (no error: there was nothing to look at)
    """A check has nothing to look at here, and why: a dataset's files are not on this machine."""


@dataclass(frozen=True, eq=False)
class Subject:
    """What is checked: a plugin's class with options and, for a dataset, its files.

    Attributes:
        plugin: The class.
        config: Its options.
        root: Folder with a dataset's files; ``None``: none are here.
        facts: What the catalogue says about a dataset.
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
        problem: What the contract is and what was seen instead; ``None``: nothing is wrong.
        not_seen: Why the check had nothing to look at; ``None``: it had.
        last: Whether no further check can say anything else.
    """

    name: str
    problem: str | None = None
    not_seen: str | None = None
    last: bool = False


def require(holds: bool, text: str) -> None:
    """Stop the check with what the contract is and what was seen.

    Raises:
        ContractError: It does not hold.
    """
    if not holds:
        raise ContractError(text)


def name_of(check: Check) -> str:
    """Return a check's name in words."""
    return check.__name__.removeprefix("check_").replace("_", " ")


def results_of(checks: Sequence[Check], subject: Subject) -> Iterator[CheckResult]:
    """Run checks one by one; whatever one of them raises is its finding. A plugin that cannot be built ends them."""
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
    """Say where in the plugin's file an error came up; nothing where it did not."""
    file = getattr(sys.modules.get(plugin.__module__), "__file__", None)
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    return f" (in {own[-1].name}, {Path(own[-1].filename).name}:{own[-1].lineno})" if own else ""


@contextmanager
def without_global_draws(where: str, instead: str) -> Iterator[None]:
    """Watch the global random generators of torch, numpy and Python.

    Raises:
        ContractError: One of them was used; it belongs to whoever calls medssl, and a resumed run cannot repeat it.
    """
    before = _global_states()
    yield
    for library, then, now in zip(("torch", "numpy", "Python"), before, _global_states(), strict=True):
        require(then == now, f"{where} must draw from {instead} only, but drew from {library}'s global generator")


def _global_states() -> tuple[str, str, str]:
    legacy = np.random.get_state()  # noqa: NPY002  (watched, not used)
    return str(torch.get_rng_state().tolist()), str(legacy), str(random.getstate())
