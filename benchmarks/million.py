"""From the listing to training with many images: seconds and memory of each stage.

``python -m benchmarks.million --images 200000`` draws the images when they are read, so they need no files. Each is a
mixture of 48 smooth patterns with noise. Every 500th image is a changed copy of another one (turned, mirrored, darker,
with noise), and every 500th is equal to one. The output says how many copies were found. ``--files`` writes the images
as PNG files first, in folders of a thousand, so that listing and checksums are measured too.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image

from benchmarks.memory import anonymous_megabytes, steps
from medssl.contracts import Classes, Dataset, Listing, Sample
from medssl.data.audit.findings import audit
from medssl.data.listing import read_listing
from medssl.data.split.splits import make_split
from medssl.data.store.contents import content_key
from medssl.data.store.store import open_store
from medssl.recipe.settings import SplitSettings
from medssl.tools.images import SYMMETRIES, turn
from medssl_datasets.folder import Folder

PATTERNS, PERIOD = 48, 500
T = TypeVar("T")


class Generated(Dataset):
    """Images that are drawn when they are read; the numbers of an image depend only on its number."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Number and side of the images."""

        images: int = 1000
        side: int = 28

    def __init__(self, config: Config) -> None:
        super().__init__(config, Path("generated"))
        self.count, self.side = config.images, config.side
        waves = np.cos(np.pi / self.side * np.arange(1, 10)[:, None] * (np.arange(self.side) + 0.5))
        pairs = [(i, j) for i in range(9) for j in range(9)][:: 81 // PATTERNS][:PATTERNS]
        self.patterns = np.stack([np.outer(waves[i], waves[j]).ravel() for i, j in pairs]).astype(np.float32)

    def fingerprint(self) -> str:
        return f"{self.count} {self.side}"

    def index(self) -> Listing:
        samples = [Sample(id=f"{n:08d}", y=n % 2, group=f"P{n // 4}") for n in range(self.count)]
        return Listing(samples=samples, target=Classes(("one", "other")), group_kind="patient", default_split="grouped")

    def read(self, sample: Sample) -> np.ndarray:
        return self.draw(int(sample.id))[..., None]

    def draw(self, number: int) -> np.ndarray:
        rng = np.random.default_rng(number)
        if number % PERIOD == PERIOD - 1:
            copied = turn(self.draw(number - PERIOD // 2), *SYMMETRIES[number // PERIOD % 8])
            found = 10 + 0.9 * copied + rng.normal(0, 2, copied.shape)
        elif number % PERIOD == PERIOD - 2:
            return self.draw(number - PERIOD // 2)
        else:
            grey = rng.standard_normal(len(self.patterns), np.float32) @ self.patterns
            found = 128 + 12 * (grey + 0.5 * rng.standard_normal(grey.shape, np.float32)).reshape(self.side, self.side)
        return np.clip(found, 0, 255).astype(np.uint8)

    def write_files(self, root: Path) -> None:
        for number in range(self.count):
            file = root / ("one", "other")[number % 2] / f"{number // 1000:05d}" / f"{number:08d}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(self.draw(number)).save(file)


class Stages:
    """Runs stages and prints a line for each: seconds, seconds of a processor, most memory that is not of a file."""

    def run(self, name: str, work: Callable[[], T], **facts: Callable[[T], Any]) -> T:
        most, over = [anonymous_megabytes()], threading.Event()

        def watch() -> None:
            while not over.wait(0.1):
                most.append(anonymous_megabytes())

        watcher = threading.Thread(target=watch)
        watcher.start()
        start, busy = time.perf_counter(), time.process_time()
        found = work()
        seconds, busy = time.perf_counter() - start, time.process_time() - busy
        over.set()
        watcher.join()
        line = {"stage": name, "seconds": round(seconds, 1), "processor": round(busy, 1), "megabytes": round(max(most))}
        print(json.dumps(line | {fact: measure(found) for fact, measure in facts.items()}), flush=True)
        return found


def measure(images: int, side: int, *, files: bool, training: bool, place: Path) -> None:
    drawn, stages = Generated(Generated.Config(images=images, side=side)), Stages()
    dataset: Dataset = drawn
    cache = place / "cache"
    if files:
        drawn.write_files(place / "files")
        dataset = Folder(Folder.Config(), place / "files")
    listing = stages.run("listing", lambda: read_listing(dataset, "generated"))
    protocol = "random" if files else "grouped"
    split = stages.run("split", lambda: make_split(listing, SplitSettings(), protocol))
    if files:
        stages.run("checksums", lambda: content_key(dataset, listing.samples, cache))
        stages.run("checksums again", lambda: content_key(dataset, listing.samples, cache))
    store = stages.run("store", lambda: open_store(dataset, listing.samples, view_size=side, cache=cache))
    stages.run("store again", lambda: open_store(dataset, listing.samples, view_size=side, cache=cache))
    judged = stages.run(
        "duplicates",
        lambda: audit(listing, store, split, cache=cache),
        equal=lambda found: len(found.duplicates.equal),
        near=lambda found: f"{len(found.duplicates.near)} of {images // PERIOD}",
    )
    stages.run("warnings", lambda: judged.warnings)
    stages.run("audit's output", lambda: len(json.dumps(judged.to_dict())))
    if training:
        stages.run("training", lambda: steps(store), step=lambda found: found["seconds"])


def main() -> None:
    """Measure one number of images."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--side", type=int, default=28)
    parser.add_argument("--files", action="store_true", help="write PNG files first")
    parser.add_argument("--training", action="store_true", help="train twelve steps too")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        measure(given.images, given.side, files=given.files, training=given.training, place=Path(place))


if __name__ == "__main__":
    main()
