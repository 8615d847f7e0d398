"""Measure everything on a GPU: ``python -m benchmarks.gpu``, under 10 minutes on one H200.

* Pre-training of ResNet-50 at 224 px, compared with the bare limit: eager in both layouts, and as one CUDA graph;
  compiled too if time is left. Batch 64, 16, 128, 32: the most important first.
* Views: whether the host ever waits for the device while it makes them.
* Several small runs at the same time on one GPU, compared with a single one.
* Features of 5,000 images, and the probes on them.
* The time that the whole grid of the ICIP 2023 study would take: 56 million views.

Without a GPU, ``--tiny`` runs everything in a minute to test the script. Its figures mean nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.evaluation import features as make_features
from benchmarks.measuring import Line, print_table, ratio_line, take_turns, write_json
from benchmarks.pretraining import TILE, Rig, Turn, bare, fastest, ours, rates, views_of
from benchmarks.views import Memory, make_images
from medssl.contracts import IMAGENET
from medssl.data.views import PlainViews
from medssl.evaluation.features import extract
from medssl_evaluators._logistic import fit_logistic
from medssl_evaluators._stacked import train_heads

RESULTS = Path(__file__).parent / "results"
GRID_VIEWS = 56_000_000  # four methods, three datasets, three batch sizes, 250 epochs of two views
VIEWS_PER_SECOND = 4500  # on an H200 at batch 64


@dataclass(frozen=True)
class Plan:
    """What to measure.

    Attributes:
        backbone: timm's name.
        side: Side of the views in pixels.
        batches: Batch sizes, the most important first.
        images: Number of images in the store; an epoch must be longer than a turn.
        steps: Number of steps of a turn.
        crowd: Numbers of small runs at the same time.
        seconds: Duration of each small run in seconds.
        probed: Number of images whose features are computed.
        compiled: Batch sizes at which ``torch.compile`` is tried.
    """

    backbone: str = "resnet50"
    side: int = 224
    batches: tuple[int, ...] = (64, 16, 128, 32)
    images: int = 15_360
    steps: int = 60
    crowd: tuple[int, ...] = (2, 4, 8)
    seconds: float = 8
    probed: int = 5000
    compiled: tuple[int, ...] = (64, 16)


TINY = Plan("resnet18", 32, (4,), 64, 3, (2,), 1, 64, (4,))
MARKS = {64: 0.95, 16: 0.90}


class Clock:
    """Tells whether there is time for a further measurement."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def has(self, seconds: float) -> bool:
        return self._end - time.monotonic() > seconds


def store_of(count: int) -> Memory:
    """Store images of the size of the colorectal tiles; 512 different images are enough."""
    images = make_images(TILE, min(count, 512))
    return Memory(np.tile(images, (-(-count // len(images)), 1, 1, 1))[:count])


def pretraining_lines(plan: Plan, device: torch.device, clock: Clock) -> Iterator[Line]:
    store = store_of(plan.images)
    with tempfile.TemporaryDirectory() as scratch:
        for batch in plan.batches:
            rig = Rig(plan.backbone, plan.side, batch, device, plan.steps)
            mine = {"medssl": ours(rig, store, Path(scratch))}
            yield from compared(rig, {**limits(rig), **mine}, 2, "")
        for batch in plan.compiled:
            if not clock.has(180):  # compiling takes about a minute for each variant
                return
            rig = Rig(plan.backbone, plan.side, batch, device, plan.steps)
            made = {"compiled": bare(rig, rig.precision, torch.channels_last, mode="compiled")}
            mine = {"medssl": ours(rig, store, Path(scratch), compiled=True)}
            yield from compared(rig, {**made, **mine}, 2, "compiled ")


def limits(rig: Rig) -> dict[str, Turn]:
    """Return the candidates for the bare limit."""
    name = rig.precision.name
    found = {
        f"{name}, contiguous": bare(rig, rig.precision, torch.contiguous_format),
        f"{name}, channels_last": bare(rig, rig.precision, torch.channels_last),
    }
    if rig.device.type == "cuda":
        found[f"{name}, channels_last, CUDA graph"] = bare(rig, rig.precision, torch.channels_last, mode="graph")
    return found


def compared(rig: Rig, variants: dict[str, Turn], rounds: int, of: str) -> Iterator[Line]:
    """Compare ``medssl``, the last variant, with the fastest of the others."""
    seconds = take_turns(variants, rounds)
    best = fastest([name for name in variants if name != "medssl"], seconds)
    found = rates(seconds, rig)
    title = f"{rig.backbone}, {rig.side} px, batch {rig.batch}"
    mark = None if of else MARKS.get(rig.batch)
    yield ratio_line(
        f"pre-training / {of}bare limit: {title}",
        seconds[best],
        seconds["medssl"],
        mark=mark,
        limit=best,
        views_per_second=found,
    )
    if not of:
        value = found["medssl"]
        mark = VIEWS_PER_SECOND if rig.batch == 64 else None
        yield Line(what=f"views/s in pre-training: {title}", value=value, low=value, high=value, mark=mark)


def views_line(plan: Plan, device: torch.device) -> Line:
    """Make views in a mode in which every wait for the device is an error."""
    views = views_of(store_of(256), plan.side, device)
    positions = torch.arange(min(64, len(views)))
    views(positions)  # the first call fills caches
    waited, message = 0.0, ""
    try:
        if device.type == "cuda":
            torch.cuda.set_sync_debug_mode("error")
        for epoch in range(5):
            views.start_epoch(epoch)
            views(positions)
    except RuntimeError as error:
        waited, message = 1.0, str(error)
    finally:
        if device.type == "cuda":
            torch.cuda.set_sync_debug_mode("default")
    what = "views: 1 where the host waits for the device, else 0"
    return Line(what=what, value=waited, low=waited, high=waited, mark=0, at_least=False, detail={"error": message})


def small_run(seconds: float, device: torch.device) -> float:
    """Train ResNet-18 at 64 px, batch 16, for some seconds; return views per second."""
    rig = Rig("resnet18", 64, 16, device, steps=40 if device.type == "cuda" else 2)
    with tempfile.TemporaryDirectory() as scratch:
        turn = ours(rig, store_of(4096), Path(scratch))
        turn()
        end = time.monotonic() + seconds
        found: list[float] = []
        while not found or time.monotonic() < end:
            found.append(turn())
    return 2 * rig.batch / float(np.median(found))


def crowd_lines(plan: Plan, device: torch.device) -> Iterator[Line]:
    """Measure several small runs at the same time, each in a process of its own."""

    def together(count: int) -> float:
        words = [sys.executable, "-m", "benchmarks.gpu", "--small-run", str(plan.seconds), "--device", str(device)]
        alone = dict(os.environ, OMP_NUM_THREADS="1")
        running = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=alone) for _ in range(count)]
        return sum(float(json.loads(process.communicate()[0])) for process in running)

    one = together(1)
    for count in plan.crowd:
        value = round(together(count) / one, 2)
        yield Line(
            what=f"{count} small runs side by side / one, views per second",
            value=value,
            low=value,
            high=value,
            mark=2.0 if count == max(plan.crowd) else None,
            detail={"one": round(one, 1)},
        )


def evaluation_lines(plan: Plan, device: torch.device) -> Iterator[Line]:
    """Measure the seconds for the features, and then for 48 linear probes and an MLP probe."""
    rig = Rig(plan.backbone, plan.side, 64, device)
    encoder = rig.make()[0].to(device).to(memory_format=torch.channels_last)
    views = PlainViews(
        store_of(plan.probed), range(plan.probed), image_size=plan.side, device=device, preprocessing=IMAGENET
    )
    part = make_features(1000, 1)
    strengths = torch.logspace(-3, 3, 48) / len(part.x)
    heads = {"hidden": 512, "seeds": [0], "learning_rates": [0.01], "batch_size": 64, "epochs": 100}

    def features() -> object:
        return extract(encoder, views, plan.probed, precision=rig.precision)

    features()
    yield seconds_line(f"features of {plan.probed:,} images, {plan.backbone}, {plan.side} px, seconds", features)
    yield seconds_line(
        "48 linear probes, 1,000 x 512, on the processor, seconds",
        lambda: fit_logistic(part.x, part.y, part.target.outputs, strengths),
    )
    yield seconds_line(
        "an MLP probe of 100 epochs, 1,000 x 512, on the processor, seconds",
        lambda: train_heads(part.x, part.y, part.target.outputs, **heads),  # type: ignore[arg-type]
    )


def seconds_line(what: str, run: Callable[[], object]) -> Line:
    start = time.perf_counter()
    run()
    seconds = round(time.perf_counter() - start, 3)
    return Line(what=what, value=seconds, low=seconds, high=seconds)


def grid_line(lines: Sequence[Line]) -> Line:
    """Estimate the time of the study's whole grid from the measured rates, with equal shares of batch 16, 32 and 64."""
    known = {line.what.rpartition(" ")[2]: line.value for line in lines if line.what.startswith("views/s")}
    chosen = [known[batch] for batch in ("16", "32", "64") if batch in known] or list(known.values())
    hours = round(sum(GRID_VIEWS / len(chosen) / rate for rate in chosen) / 3600, 2)
    return Line(what="the ICIP 2023 study's 56 million views, hours (projected)", value=hours, low=hours, high=hours)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", type=torch.device, default=torch.device("cuda"))
    parser.add_argument("--minutes", type=float, default=9, help="time limit; measurements that do not fit are skipped")
    parser.add_argument("--tiny", action="store_true", help="test that everything runs, also on a processor")
    parser.add_argument("--output", type=Path, default=RESULTS / "gpu.json")
    parser.add_argument("--small-run", type=float, metavar="SECONDS", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    device: torch.device = arguments.device
    warnings.filterwarnings("ignore", module="torch._inductor")
    if arguments.small_run is not None:
        print(json.dumps(small_run(arguments.small_run, device)))
        return
    if device.type == "cuda" and not torch.cuda.is_available():
        parser.error("PyTorch finds no GPU on this machine. To test that everything runs, give --device cpu --tiny.")
    plan, clock, load = TINY if arguments.tiny else Plan(), Clock(60 * arguments.minutes), os.getloadavg()
    lines: list[Line] = [views_line(plan, device)]
    for part in (crowd_lines(plan, device), evaluation_lines(plan, device), pretraining_lines(plan, device, clock)):
        for line in part:
            lines.append(line)
            print_table([line])
            write_json(arguments.output, lines, load)  # the figures so far are kept if the run is interrupted
    lines.append(grid_line(lines))
    write_json(arguments.output, lines, load)
    print_table(lines)
    print(arguments.output)


if __name__ == "__main__":
    main()
