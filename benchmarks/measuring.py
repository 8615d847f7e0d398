"""Shared parts of every comparison: variants that run in turn, ratios with their range, a table and a JSON file."""

from __future__ import annotations

import json
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

__all__ = ["Line", "describe_machine", "print_table", "ratio_line", "take_turns", "timed", "write_json"]

PACKAGES = ("medssl", "torch", "torchvision", "lightly", "pytorch-lightning", "kornia", "timm", "scikit-learn", "numpy")


@dataclass(frozen=True, kw_only=True)
class Line:
    """One figure and its target value.

    Attributes:
        what: What is compared.
        value: Median over the rounds.
        low: Smallest over the rounds.
        high: Largest.
        mark: The target value; ``None`` if there is none.
        at_least: Whether more is better; otherwise the target is an upper limit.
        detail: Rates, times and settings that the figure was computed from.
    """

    what: str
    value: float
    low: float
    high: float
    mark: float | None = None
    at_least: bool = True
    detail: Mapping[str, Any] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """Return ``reached``, ``missed`` or an empty text."""
        if self.mark is None:
            return ""
        return "reached" if (self.value >= self.mark) == self.at_least or self.value == self.mark else "missed"


def timed(work: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> Callable[[], float]:
    """Return a function that does the work and returns its seconds by the clock."""

    def turn() -> float:
        start = clock()
        work()
        return clock() - start

    return turn


def take_turns(variants: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Call every variant once per round, after one warm-up round; each returns its seconds.

    So a disturbance affects all variants, and a ratio within one round compares calls that are close in time.
    """
    for run in variants.values():
        run()
    found: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(rounds):
        for name, run in variants.items():
            found[name].append(run())
    return found


def ratio_line(
    what: str,
    over: Sequence[float],
    under: Sequence[float],
    *,
    mark: float | None = None,
    at_least: bool = True,
    **detail: Any,
) -> Line:
    """Compare two series round by round: the median of ``over / under`` and its range."""
    ratios = [a / b for a, b in zip(over, under, strict=True)]
    return Line(
        what=what,
        value=round(statistics.median(ratios), 3),
        low=round(min(ratios), 3),
        high=round(max(ratios), 3),
        mark=mark,
        at_least=at_least,
        detail=detail,
    )


def describe_machine() -> dict[str, Any]:
    """Name processor, cores, versions and commit."""
    return {
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "bfloat16": _has_bfloat16(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "versions": {name: version for name in PACKAGES if (version := _version(name))},
        "commit": _commit(),
    }


def print_table(lines: Sequence[Line]) -> None:
    """Print every line with its range, its target value and whether it is reached."""
    width = max(len(line.what) for line in lines)
    print(f"{'':{width}}  {'median':>8}  {'range':>17}  {'target':>8}")
    for line in lines:
        mark = "" if line.mark is None else f"{'>=' if line.at_least else '<='} {line.mark:g}"
        print(f"{line.what:{width}}  {line.value:8.3g}  {line.low:8.3g}-{line.high:<8.3g}  {mark:>8}  {line.verdict}")


def write_json(path: Path, lines: Sequence[Line], load: Sequence[float]) -> None:
    """Write the figures with machine, versions and commit; ``load``: the machine's load average at the start.

    Figures in the file that were made with the same machine and versions are kept, unless they were measured again.
    Each figure has its commit.
    """
    machine = describe_machine()
    commit = machine.pop("commit")
    made = {"commit": commit, "load_at_start": round(load[0], 2)}
    rows = {line.what: {**asdict(line), "verdict": line.verdict, **made} for line in lines}
    if path.exists() and (known := json.loads(path.read_text(encoding="utf-8")))["machine"] == machine:
        rows = {row["what"]: row for row in known["lines"]} | rows
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"machine": machine, "lines": list(rows.values())}
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def _has_bfloat16() -> bool:
    from medssl.train.machine.device import choose_precision

    return choose_precision("auto", torch.device("cpu")).dtype is torch.bfloat16


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _commit() -> str | None:
    root = Path(__file__).resolve().parent
    called = subprocess.run(
        ["git", "describe", "--always", "--dirty"], check=False, cwd=root, capture_output=True, text=True
    )
    return called.stdout.strip() or None
