"""Speed of one training step: the trainer's, beside the least code that does the same work.

ResNet-18, 64 px, two views, SimCLR's loss, SGD; views are made beforehand, so only the step is timed. "bare" is a plain
loop body: forward, loss, backward, update. All variants take turns, and the fastest of a variant's steps counts, since
whatever else runs on the machine only ever makes one slower. Run ``python benchmarks/step.py``; on a machine that
others use too, ``OMP_NUM_THREADS=1 python benchmarks/step.py --clock processor`` counts processor time instead.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from medssl.contracts import Task
from medssl.settings import EncoderSettings, TrainSettings
from medssl.train.backbones import build_encoder
from medssl.train.device import Precision, choose_device, choose_precision, describe_environment
from medssl.train.optim import build_optimizer
from medssl.train.trainer import StepRecord, Trainer
from medssl_methods.simclr import SimCLR

SIDE, VIEWS, STEPS = 64, 2, 2  # the first of the trainer's steps warms up
BATCHES = (16, 64)
CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}
CLOCK = time.perf_counter


class FixedViews:
    """The same views at each step, whatever is asked for."""

    def __init__(self, batch: int, device: torch.device, memory_format: torch.memory_format) -> None:
        generator = torch.Generator().manual_seed(0)
        views = torch.randn(VIEWS, batch, 3, SIDE, SIDE, generator=generator).to(device)
        self.views = tuple(view.contiguous(memory_format=memory_format) for view in views)
        self.count = batch * STEPS

    def __len__(self) -> int:
        return self.count

    def start_epoch(self, epoch: int) -> None:
        pass

    def __call__(self, _: Tensor) -> tuple[Tensor, ...]:
        return self.views


def make(batch: int, device: torch.device) -> tuple[torch.nn.Module, SimCLR]:
    encoder = build_encoder(EncoderSettings(), SIDE, seed=0)
    task = Task(
        feature_dim=encoder.feature_dim,
        num_samples=batch * STEPS,
        num_classes=2,
        image_size=SIDE,
        batch_size=batch,
        total_steps=STEPS,
    )
    return encoder.to(device), SimCLR(SimCLR.Config(), encoder, task).to(device)


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def bare(
    batch: int,
    device: torch.device,
    precision: Precision,
    *,
    memory_format: torch.memory_format = torch.channels_last,
    separate: bool = False,
    fused: bool = True,
) -> Callable[[], float]:
    """Return a function that makes one step and returns its seconds."""
    encoder, method = make(batch, device)
    encoder.to(memory_format=memory_format)
    views = FixedViews(batch, device, memory_format).views
    settings = TrainSettings(batch_size=batch)
    optimizer = build_optimizer([encoder, method], settings)
    if not fused:
        optimizer = torch.optim.SGD(optimizer.param_groups, lr=0.01, momentum=settings.momentum, fused=False)

    class Context:
        pass

    def encode(images: tuple[Tensor, ...], _: object = None) -> tuple[Tensor, ...]:
        with precision.autocast():
            if separate:
                return tuple(encoder(view).float() for view in images)
            return encoder(torch.cat(images)).float().chunk(len(images))

    batch_ = Context()
    batch_.views = views  # type: ignore[attr-defined]  # all that the loss reads

    def step() -> float:
        start = CLOCK()
        optimizer.zero_grad(set_to_none=True)
        method.loss(batch_, encode).backward()  # type: ignore[arg-type]
        optimizer.step()
        synchronise(device)
        return CLOCK() - start

    return step


class EnoughError(Exception):
    """Ends an epoch before its state is written."""


def trained(
    batch: int, device: torch.device, precision: Precision, *, batch_norm: str = "per-view"
) -> Callable[[], float]:
    """Return a function that makes some of the trainer's steps and returns the seconds of the last."""
    encoder, method = make(batch, device)
    trainer = Trainer(
        encoder,
        method,
        FixedViews(batch, device, torch.channels_last),
        settings=TrainSettings(batch_size=batch, epochs=1, batch_norm=batch_norm, learning_rate=1e-3),  # type: ignore[arg-type]
        seed=0,
        device=device,
        precision=precision,
        groups=torch.arange(batch * STEPS),
        directory=Path(tempfile.mkdtemp()),
        fingerprint="",
    )

    def step() -> float:
        times: list[float] = []

        def progress(_: StepRecord) -> None:
            synchronise(device)
            times.append(CLOCK())
            if len(times) == STEPS:
                raise EnoughError

        with contextlib.suppress(EnoughError):
            trainer.fit(progress=progress)
        return times[-1] - times[-2]

    trainer._check_every = 1  # so that a GPU's steps can be told apart
    return step


def variants(batch: int, device: torch.device) -> dict[str, Callable[[], float]]:
    full = Precision(None, "", device.type)
    best = choose_precision("auto", device)
    found = {
        "bare": bare(batch, device, full),
        "bare, contiguous layout": bare(batch, device, full, memory_format=torch.contiguous_format),
        "bare, one forward per view": bare(batch, device, full, separate=True),
        "bare, PyTorch's default SGD": bare(batch, device, full, fused=False),
        "trainer, joint statistics": trained(batch, device, full, batch_norm="joint"),
        "trainer": trained(batch, device, full),
    }
    if best.dtype is not None:
        found[f"bare, {best.name}"] = bare(batch, device, best)
        found[f"trainer, {best.name}"] = trained(batch, device, best)
    return found


def measure(device: str = "auto", seconds: float = 15.0, clock: str = "wall") -> dict[str, object]:
    """Time every variant at both batch sizes; about ``seconds`` for each size, and at least two rounds.

    Returns:
        ``steps[batch][variant]``: milliseconds per step, images per second (an image counts once per view), and the
        time as a multiple of the bare step's; ``environment``; ``device``.
    """
    global CLOCK  # noqa: PLW0603  (read in the innermost loop)
    CLOCK = CLOCKS[clock]
    where = choose_device(device)
    steps: dict[str, dict[str, dict[str, float]]] = {}
    for batch in BATCHES:
        functions = variants(batch, where)
        best = dict.fromkeys(functions, float("inf"))
        end, rounds = time.perf_counter() + seconds, 0
        while rounds < 2 or time.perf_counter() < end:  # the first round warms up
            for name, step in functions.items():
                best[name] = min(best[name], step())
            rounds += 1
        steps[str(batch)] = {
            name: {
                "milliseconds": round(1000 * value, 1),
                "images_per_second": round(VIEWS * batch / value, 1),
                "of_bare": round(value / best["bare"], 3),
            }
            for name, value in best.items()
        }
    return {"device": str(where), "clock": clock, "environment": describe_environment(), "steps": steps}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seconds", type=float, default=15.0, help="for each batch size")
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = measure(options.device, options.seconds, options.clock)
    if options.json:
        print(json.dumps(found, indent=2))
        return
    for batch, rows in found["steps"].items():  # type: ignore[attr-defined]
        print(f"batch {batch}")
        for name, row in rows.items():
            print(
                f"  {name:32}{row['milliseconds']:9.1f} ms{row['images_per_second']:9.1f} images/s{row['of_bare']:8.3f}"
            )


if __name__ == "__main__":
    main()
