"""Measure waiting times: of the command line, the first training step, the store and a validation."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

from benchmarks.measuring import Line, ratio_line, take_turns
from benchmarks.pretraining import Tiles, write_tiles
from medssl.data.store.store import open_store
from medssl.tools import read_image

JPEGS, JPEG_SIDE, VIEW = 5856, 512, 64  # the pneumonia set's number of files, at a third of their side
DISTINCT = 61  # files with different images; the others are duplicates

_FIRST_STEP = """
import json, sys, time
from pathlib import Path
import torch, medssl.runs.pipeline, medssl.catalog, medssl.recipe
import medssl_methods.simclr, medssl_datasets.folder, medssl_evaluators.knn
from medssl.runs.listener import Listener

class FirstStep(Listener):
    def step(self, record):
        print(json.dumps(time.perf_counter() - start))
        sys.stdout.flush()
        raise SystemExit

start = time.perf_counter()
catalog = medssl.catalog.load_catalog()
settings = {"method": "simclr", "dataset": "folder", "evaluators": ["knn"],
            "train": {"batch_size": 16}, "views": {"image_size": 64}, "encoder": {"backbone": "resnet18"}}
recipe = medssl.recipe.resolve(catalog, [settings])
place = medssl.runs.pipeline.Place(data_dir=Path(sys.argv[1]), output=Path(sys.argv[2]), force=True)
medssl.runs.pipeline.execute(recipe, catalog=catalog, place=place, listener=FirstStep())
"""


def command(words: list[str], environment: Mapping[str, str] | None = None) -> Callable[[], float]:
    """Return a function that runs a process and returns its seconds."""

    def run() -> float:
        start = time.perf_counter()
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL, env={**os.environ, **(environment or {})})
        return time.perf_counter() - start

    return run


def command_line(rounds: int) -> list[Line]:
    """Compare ``medssl --help`` and ``medssl list`` with the import of click."""
    medssl = str(Path(sys.executable).with_name("medssl"))
    seconds = take_turns(
        {
            "click": command([sys.executable, "-c", "import click"]),
            "--help": command([medssl, "--help"]),
            "list": command([medssl, "list"]),
        },
        rounds,
    )
    return [
        ratio_line(f"medssl {word} / import click, time", seconds[word], seconds["click"], mark=3, at_least=False)
        for word in ("--help", "list")
    ]


def first_step(rounds: int) -> Line:
    """Measure a second start on a known dataset: from the command to the first step, without imports."""
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        for name in ("a", "b"):
            write_tiles(root / "data" / name, 500)
        environment = {**os.environ, "MEDSSL_CACHE": str(root / "cache")}

        def start(i: int) -> float:
            words = [sys.executable, "-c", _FIRST_STEP, str(root / "data"), str(root / f"runs{i}")]
            called = subprocess.run(words, check=True, capture_output=True, text=True, env=environment)
            return float(json.loads(called.stdout.splitlines()[-1]))

        first = start(0)
        seconds = [start(i + 1) for i in range(rounds)]
        step = statistics.median(seconds)
    return Line(
        what="second start on 1,000 tiles, seconds to the end of the first step",
        value=round(step, 3),
        low=round(min(seconds), 3),
        high=round(max(seconds), 3),
        mark=1.0,
        at_least=False,
        detail={"first_start_seconds": round(first, 3), "step": "ResNet-18, 64 px, batch 16, itself included"},
    )


def imports(rounds: int) -> list[Line]:
    """Compare a whole second start, imports included, with the import of torch; and what the libraries alone take.

    torch imports its compiler when the first optimizer is made, and torchvision, which timm imports, does so at once.
    """
    alone = {
        "torch": "import torch",
        "an optimizer": "import torch; torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)",
        "timm": "import torch, timm",
    }
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        for name in ("a", "b"):
            write_tiles(root / "data" / name, 500)
        words = [sys.executable, "-c", _FIRST_STEP, str(root / "data"), str(root / "runs")]
        variants = {name: command([sys.executable, "-c", code]) for name, code in alone.items()}
        variants["first step"] = command(words, {"MEDSSL_CACHE": str(root / "cache")})
        variants["first step"]()  # builds the store
        seconds = take_turns(variants, rounds)
    return [
        ratio_line(
            f"from nothing to {what} / import torch, time",
            seconds[name],
            seconds["torch"],
            mark=1.5 if name == "first step" else None,
            at_least=False,
        )
        for name, what in (
            ("an optimizer", "an optimizer of torch"),
            ("timm", "timm imported"),
            ("first step", "the first step of a second start"),
        )
    ]


def building(rounds: int) -> Line:
    """Compare building the store with only decoding the files on all cores."""
    cores = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "jpegs"
        write_tiles(folder, DISTINCT, JPEG_SIDE, "jpeg")
        originals = sorted(folder.glob("*.jpeg"))
        for i in range(JPEGS):
            shutil.copy(originals[i % DISTINCT], folder / f"copy{i:05d}.png")  # readers ignore the suffix
        for path in originals:
            path.unlink()
        dataset = Tiles(Tiles.Config(), folder)
        samples = dataset.index().samples

        def build() -> float:
            with tempfile.TemporaryDirectory(dir=scratch) as cache:
                start = time.perf_counter()
                open_store(dataset, samples, view_size=VIEW, cache=Path(cache))
                return time.perf_counter() - start

        def decode() -> float:
            start = time.perf_counter()
            with ThreadPoolExecutor(cores) as pool:
                for _ in pool.map(lambda sample: read_image(folder / sample.id).shape, samples, chunksize=8):
                    pass
            return time.perf_counter() - start

        seconds = take_turns({"build": build, "decode": decode}, rounds)
    what = f"building the store of {JPEGS} JPEGs / decoding them on {cores} cores, time"
    return ratio_line(what, seconds["build"], seconds["decode"], mark=1.3, at_least=False, side=JPEG_SIDE)


def validation() -> Line:
    """Measure the share of pre-training that the validation by k nearest neighbours takes, at its default interval."""
    from medssl.catalog import load_catalog
    from medssl.recipe import resolve
    from medssl.runs.listener import Listener
    from medssl.runs.pipeline import Place, execute
    from medssl.train.loop.records import EpochRecord

    class Watch(Listener):
        def __init__(self) -> None:
            self.last = 0.0
            self.shares: list[float] = []

        def step(self, _: object) -> None:
            self.last = time.perf_counter()

        def epoch(self, record: EpochRecord) -> None:
            self.shares.append((time.perf_counter() - self.last) / record.seconds)

    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        for name in ("a", "b"):
            write_tiles(root / "images" / name, 1000)
        os.environ["MEDSSL_CACHE"] = str(root / "cache")
        watches = []
        for every in (1, 0):
            settings = {
                "method": "simclr",
                "dataset": "folder",
                "evaluators": ["knn"],
                "train": {"epochs": 2, "validate_every": every},
                "views": {"image_size": 64},
            }
            watch = Watch()
            recipe = resolve(load_catalog(), [settings])
            place = Place(data_dir=root / "images", output=root / f"runs{every}")
            execute(recipe, catalog=load_catalog(), place=place, listener=watch)
            watches.append(watch)
        del os.environ["MEDSSL_CACHE"]
    shares = [100 * (a - b) / 5 for a, b in zip(watches[0].shares, watches[1].shares, strict=True)]
    return Line(
        what="validation kNN every 5 epochs, per cent of an epoch",
        value=round(statistics.median(shares), 2),
        low=round(min(shares), 2),
        high=round(max(shares), 2),
        mark=3.0,
        at_least=False,
        detail={"images": 2000, "backbone": "resnet18", "image_size": 64, "threads": torch.get_num_threads()},
    )


def measure(rounds: int = 5) -> list[Line]:
    """Measure every waiting time."""
    lines = [*command_line(2 * rounds), *imports(rounds), first_step(rounds)]
    return [*lines, building(max(2, rounds // 2)), validation()]
