"""Compare a million stored samples with a thousand: seconds per step, and memory that must not grow with the pixels."""

from __future__ import annotations

import itertools
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.measuring import Line, ratio_line
from medssl.data.views.pixels import ImageStore

SIDE, BATCH, STEPS = 28, 64, 12
SIZES = (1_000, 1_000_000)


class Mapped:
    """A generated store: grey images in a memory-mapped file."""

    def __init__(self, path: Path, count: int) -> None:
        self.dtype, self.channels = np.dtype(np.uint8), 1
        self.shapes = np.broadcast_to(np.array([SIDE, SIDE], np.int32), (count, 2))
        self.levels = None
        self.pixels = np.memmap(path, np.uint8, "r", shape=(count * SIDE * SIDE,)).view(np.ndarray)


def generate(path: Path, count: int) -> None:
    generator = np.random.default_rng(0)
    with path.open("wb") as file:
        for _ in range(0, count, 10_000):
            file.write(generator.integers(0, 256, 10_000 * SIDE * SIDE, dtype=np.uint8).tobytes())


def anonymous_megabytes() -> float:
    """Return the memory of this process that is not mapped from a file."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("RssAnon"))) / 1024


def steps(store: ImageStore) -> dict[str, float]:
    """Train some steps on the images of a store."""
    from benchmarks.pretraining import Rig, step_times

    with tempfile.TemporaryDirectory() as scratch:
        trainer = Rig("resnet18", SIDE, BATCH).trainer(store, Path(scratch))  # kept until its memory is measured
        times = step_times(trainer, STEPS)
    seconds = [b - a for (a, _), (b, _) in itertools.pairwise(times)][2:]
    return {"seconds": statistics.median(seconds), "megabytes": anonymous_megabytes()}


def measure(rounds: int = 3) -> list[Line]:
    """Measure both sizes in turn, each in a process of its own."""
    found: dict[int, list[dict[str, float]]] = {size: [] for size in SIZES}
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "pixels"
        generate(path, max(SIZES))
        for _, size in itertools.product(range(rounds), SIZES):
            words = [sys.executable, "-m", "benchmarks.memory", str(path), str(size)]
            called = subprocess.run(words, check=True, capture_output=True, text=True)
            found[size].append(json.loads(called.stdout))
    few, many = ([run["seconds"] for run in found[size]] for size in SIZES)
    memory = {size: statistics.median(run["megabytes"] for run in found[size]) for size in SIZES}
    grown = memory[SIZES[1]] - memory[SIZES[0]]
    pixels = SIZES[1] * SIDE * SIDE / 2**20
    return [
        ratio_line("step with 1,000,000 stored 28 px samples / with 1,000, time", many, few, mark=1.1, at_least=False),
        Line(
            what="memory grown from 1,000 to 1,000,000 samples / their pixels",
            value=round(grown / pixels, 3),
            low=round(grown / pixels, 3),
            high=round(grown / pixels, 3),
            mark=0.1,
            at_least=False,
            detail={"megabytes": {str(size): round(value) for size, value in memory.items()}, "pixels": round(pixels)},
        ),
    ]


if __name__ == "__main__":
    print(json.dumps(steps(Mapped(Path(sys.argv[1]), int(sys.argv[2])))))
