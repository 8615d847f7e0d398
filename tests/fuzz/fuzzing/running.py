"""Runs cases and counts what became of them."""

from __future__ import annotations

import collections
import contextlib
import importlib
import io
import json
import os
import random
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fuzzing.example import example_run
from fuzzing.watching import FaultError

KINDS: dict[str, int] = {"images": 10_000, "archives": 2_500, "downloads": 2_500, "texts": 5_000, "arrays": 2_000}
"""The parts, each with the number of cases of a full run."""

_LONGEST = 20_000  # characters of a message


@dataclass
class Outcomes:
    """What became of cases.

    Attributes:
        accepted: Number of inputs that were read.
        refused: Number of inputs by the class of medssl's error.
        faults: Cases with another outcome, each with its number and the cause.
        slowest: Seconds of the slowest case, and its number.
    """

    accepted: int = 0
    refused: collections.Counter[str] = field(default_factory=collections.Counter)
    faults: list[str] = field(default_factory=list)
    slowest: tuple[float, int] = (0.0, 0)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {**vars(self), "refused": dict(self.refused)}

    def add(self, values: dict[str, Any]) -> None:
        """Add what :meth:`to_dict` returned."""
        self.accepted += values["accepted"]
        self.refused.update(values["refused"])
        self.faults += values["faults"]
        self.slowest = max(self.slowest, tuple(values["slowest"]))

    def __str__(self) -> str:
        refused = ", ".join(f"{count} {name}" for name, count in sorted(self.refused.items()))
        slowest = f"{self.slowest[0]:.2f} s (case {self.slowest[1]})"
        return f"{self.accepted} accepted; refused: {refused or 'none'}; slowest {slowest}; faults: {len(self.faults)}"


def warm(kind: str) -> None:
    """Import what the cases of a kind use, so that no case pays for it, and none is stopped in the middle of it."""
    for name in importlib.import_module(f"fuzzing.{kind}").USES:
        with contextlib.suppress(ModuleNotFoundError):  # an extra
            importlib.import_module(name)


def run_cases(kind: str, seed: int, numbers: Sequence[int], *, aloud: bool = False) -> Outcomes:
    """Run cases of a kind in this process.

    Args:
        kind: One of :data:`KINDS`.
        seed: Seed of all cases.
        numbers: Their numbers. A case depends on the kind, the seed and its number only.
        aloud: Write the number of each case before it starts, so that another process sees where this one ends.
    """
    from medssl.errors import MedsslError

    check = importlib.import_module(f"fuzzing.{kind}").check
    warm(kind)
    found = Outcomes()
    with _place() as place:
        if kind in ("texts", "arrays"):
            with _quiet():
                example_run()
        for number in numbers:
            if aloud:
                sys.stdout.write(f"case {number}\n")
                sys.stdout.flush()
            folder = place / str(number)
            folder.mkdir()
            start = time.perf_counter()
            try:
                with _quiet():
                    check(random.Random(f"{kind} {seed} {number}"), folder)
                found.accepted += 1
            except MedsslError as error:
                found.refused[type(error).__name__] += 1
                if not str(error).strip() or len(str(error)) > _LONGEST:
                    found.faults.append(f"{kind} {number}: a message of {len(str(error))} characters")
            except (Exception, FaultError) as error:
                found.faults.append(f"{kind} {number}: {_where(error)}")
            except BaseException as error:  # for instance of pyo3, when Rust code panics
                if isinstance(error, KeyboardInterrupt):
                    raise
                found.faults.append(f"{kind} {number}: {_where(error)}")
            found.slowest = max(found.slowest, (time.perf_counter() - start, number))
            if aloud:
                sys.stdout.write(f"done {json.dumps(found.to_dict())}\n")
            shutil.rmtree(folder, ignore_errors=True)
    return found


@contextlib.contextmanager
def _place() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
        place = Path(name).resolve()
        own = {"MEDSSL_CONFIG": str(place / "config"), "MEDSSL_CACHE": str(place / "cache")}
        own |= {"MEDSSL_FUZZ_RUN": os.environ.get("MEDSSL_FUZZ_RUN", str(place / "run"))}
        earlier = {key: os.environ.get(key) for key in own}
        os.environ |= own
        (place / "config").mkdir()
        try:
            yield place
        finally:
            for key, value in earlier.items():
                if value is None:
                    os.environ.pop(key, None)
                else:
                    os.environ[key] = value


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stderr(io.StringIO()),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        yield


def _where(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "medssl" in frame.filename and "fuzz" not in frame.filename] or frames[-1:]
    place = f"{Path(own[-1].filename).name}:{own[-1].lineno} in {own[-1].name}" if own else "nowhere"
    last = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]} ({place}; {last})"
