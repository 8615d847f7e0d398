"""Compare pre-training, end to end, with the bare limit and with alternatives that a user might choose.

* bare: the encoder's joint forward pass, SimCLR's loss, backward pass and update on views in memory, in the fastest
  precision and layout and with freed memory kept. No program can train this encoder faster.
* medssl: the trainer with its views, from a store of 150 px tiles, with freed memory kept as in a run.
* lightly: its SimCLR as in its documentation, with Lightning's Trainer, ``SimCLRTransform`` and worker processes.
* plain loop: like the code of the ICIP 2023 study: one PIL image after the other, no workers, one forward pass per
  view, float32.

All variants run in turn in one process with the same files, encoder, batch and image size.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from lightly.loss import NTXentLoss
from lightly.models.modules import SimCLRProjectionHead
from PIL import Image
from torch import Tensor, nn
from torchvision import transforms

from benchmarks.measuring import Line, ratio_line, take_turns
from medssl.contracts import IMAGENET, Augmentation, Classes, Dataset, Listing, Sample, Task, ViewSpec
from medssl.data.store.store import Store, open_store
from medssl.data.views import Views
from medssl.data.views.pixels import ImageStore
from medssl.recipe.settings import TrainSettings
from medssl.tools import read_image
from medssl.train.encoder.building import build_encoder
from medssl.train.loop.optim import build_optimizer
from medssl.train.loop.records import StepRecord
from medssl.train.loop.trainer import Trainer
from medssl.train.machine.device import Precision, choose_layout, choose_precision
from medssl.train.machine.memory import kept_memory
from medssl.world.world import ALONE, World
from medssl_encoders.timm import Timm
from medssl_methods.simclr import SimCLR

TILE, TILES = 150, 512  # pixels and images: a tenth of the colorectal set
CPU = torch.device("cpu")
FULL = Precision(None, "", "cpu")

Turn = Callable[[], float]


class Tiles(Dataset):
    """Noise of several scales in colour, as PNG files."""

    def index(self) -> Listing:
        samples = [Sample(id=path.name) for path in sorted(self.root.glob("*.png"))]
        return Listing(samples=samples, target=Classes(("only",)))

    def read(self, sample: Sample) -> np.ndarray:
        return read_image(self.root / sample.id)

    def read_reduced(self, sample: Sample, short_side: int) -> np.ndarray:
        return read_image(self.root / sample.id, short_side)

    def path(self, sample: Sample) -> Path:
        return self.root / sample.id


def write_tiles(folder: Path, count: int, side: int = TILE, suffix: str = "png") -> None:
    """Write images of blurred noise, which compress about as well as tissue."""
    generator = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        coarse = Image.fromarray(generator.integers(0, 256, (side // 6, side // 6, 3), dtype=np.uint8))
        fine = generator.normal(0, 12, (side, side, 3))
        image = np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC)) + fine
        Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(folder / f"{i:05d}.{suffix}")


class Rig:
    """One comparison: backbone, image size and batch size.

    Args:
        backbone: timm's name.
        side: Side of the views in pixels.
        batch: Samples per step.
        device: The device to train on.
        steps: Steps of a turn; the first is not counted.
    """

    def __init__(self, backbone: str, side: int, batch: int, device: torch.device = CPU, steps: int = 3) -> None:
        self.backbone, self.side, self.batch, self.device, self.steps = backbone, side, batch, device, steps
        self.precision = choose_precision("auto", device)

    def make(self) -> tuple[nn.Module, SimCLR]:
        encoder = build_encoder(Timm.of(backbone=self.backbone, stem="standard"), self.side, 0)
        task = Task(
            feature_dim=encoder.feature_dim,
            num_samples=TILES,
            target=Classes(("only",)),
            image_size=self.side,
            batch_size=self.batch,
            total_steps=1000,
        )
        return encoder, SimCLR(SimCLR.Config(), encoder, task)

    def trainer(self, store: ImageStore, scratch: Path, *, world: World = ALONE, **settings: Any) -> Trainer:
        """Return medssl's trainer, with two views of every image; it writes into a folder below ``scratch``."""
        encoder, method = self.make()
        views = views_of(store, self.side, self.device)
        return Trainer(
            encoder,
            method,
            views,
            settings=TrainSettings(batch_size=self.batch, learning_rate=1e-3, **settings),
            seed=0,
            device=self.device,
            precision=self.precision,
            groups=torch.arange(len(views)),
            directory=Path(tempfile.mkdtemp(dir=scratch)),
            fingerprint="",
            world=world,
        )

    def turn(self, step: Callable[[], object]) -> Turn:
        """Return the seconds per step, without the first step of a turn."""

        def turn() -> float:
            step()
            start = self.now()
            for _ in range(self.steps - 1):
                step()
            return (self.now() - start) / (self.steps - 1)

        return turn

    def now(self) -> float:
        """Return the time after the device has finished its work."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()


def store_of(folder: Path, side: int, cache: Path) -> Store:
    dataset = Tiles(Tiles.Config(), folder)
    return open_store(dataset, dataset.index().samples, view_size=side, cache=cache)


def bare(rig: Rig, precision: Precision, layout: torch.memory_format, *, mode: str = "eager") -> Turn:
    """Return the step of the encoder on views in memory.

    Args:
        rig: What to train.
        precision: Precision of the encoder.
        layout: Memory layout of images and weights.
        mode: ``eager``; ``compiled``: the encoder by ``torch.compile``; ``graph``: the step as one CUDA graph.
    """
    return keeping_memory(rig.turn(bare_step(rig, precision, layout, mode)))


def bare_step(rig: Rig, precision: Precision, layout: torch.memory_format, mode: str) -> Callable[[], object]:
    encoder, method = rig.make()
    encoder.to(rig.device).to(memory_format=layout)
    method.to(rig.device)
    forward = torch.compile(encoder, dynamic=False) if mode == "compiled" else encoder
    optimizer = build_optimizer([encoder, method], TrainSettings(batch_size=rig.batch))
    x = torch.randn(2 * rig.batch, 3, rig.side, rig.side, device=rig.device).contiguous(memory_format=layout)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with precision.autocast():
            features = forward(x).float()
        z0, z1 = (method.head(part) for part in features.chunk(2))
        method.criterion(z0, z1).backward()
        optimizer.step()

    return captured(step) if mode == "graph" else step


def captured(step: Callable[[], None]) -> Callable[[], object]:
    """Record a step as a CUDA graph, after three steps that initialise cuDNN and the allocator."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def keeping_memory(turn: Turn) -> Turn:
    """Keep freed memory, as a run does; the first step of a turn allocates it and is not counted."""

    def kept() -> float:
        with kept_memory():
            return turn()

    return kept


class _EnoughError(Exception):
    """Ends an epoch before its state is written."""


def step_times(trainer: Trainer, steps: int) -> list[tuple[float, int]]:
    """Train for so many steps after the first that is reported; return the time and number of each reported one."""
    seen: list[tuple[float, int]] = []

    def progress(record: StepRecord) -> None:
        seen.append((time.perf_counter(), record.step))
        if record.step - seen[0][1] >= steps:
            raise _EnoughError

    with contextlib.suppress(_EnoughError):
        trainer.fit(progress=progress)
    return seen


def views_of(store: ImageStore, side: int, device: torch.device) -> Views:
    """Return two views of every image, by the default recipe."""
    every = range(len(store.shapes))
    return Views(
        store, every, ViewSpec(), Augmentation(), image_size=side, seed=0, device=device, preprocessing=IMAGENET
    )


def ours(rig: Rig, store: ImageStore, scratch: Path, *, compiled: bool = False) -> Turn:
    """Return medssl's trainer with its views; on a GPU a turn is as long as the interval at which it reads the loss."""
    trainer = rig.trainer(store, scratch, compile=compiled)

    def turn() -> float:
        seen = step_times(trainer, rig.steps)
        (start, first), (end, last) = seen[1 if len(seen) > 2 else 0], seen[-1]
        return (end - start) / (last - first)

    return keeping_memory(turn)


def plain_loop(rig: Rig, folder: Path) -> Turn:
    """Return a plain loop: one image after the other, one forward pass per view, float32, PyTorch's default layout."""
    network = timm.create_model(rig.backbone, num_classes=0)
    features: Any = network.num_features
    head = SimCLRProjectionHead(features, features, 128)
    criterion = NTXentLoss(0.5)
    optimizer = torch.optim.SGD([*network.parameters(), *head.parameters()], lr=1e-3)
    pipeline = pil_pipeline(rig.side)
    batches = endless_batches(sorted(folder.glob("*.png")), rig.batch)

    def step() -> None:
        pictures = [Image.open(path).convert("RGB") for path in next(batches)]
        first, second = (torch.stack([pipeline(picture) for picture in pictures]) for _ in range(2))
        optimizer.zero_grad()
        criterion(head(network(first)), head(network(second))).backward()
        optimizer.step()

    return rig.turn(step)


def pil_pipeline(side: int) -> Callable[[Image.Image], Tensor]:
    kernel = max(3, side // 10 // 2 * 2 + 1)
    return transforms.Compose(
        [
            transforms.RandomResizedCrop(side, scale=(0.2, 1.0)),
            transforms.RandomHorizontalFlip(),
            transforms.RandomApply([transforms.ColorJitter(0.4, 0.4, 0.2, 0.1)], p=0.8),
            transforms.RandomGrayscale(p=0.2),
            transforms.RandomApply([transforms.GaussianBlur(kernel, (0.1, 2.0))], p=0.5),
            transforms.ToTensor(),
            transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )


def endless_batches(paths: list[Path], size: int) -> Iterator[list[Path]]:
    generator = np.random.default_rng(0)
    while True:
        order = generator.permutation(len(paths))
        for start in range(0, len(paths) - size + 1, size):
            yield [paths[i] for i in order[start : start + size]]


def with_lightly(rig: Rig, folder: Path) -> Turn:
    """lightly's SimCLR in Lightning's Trainer, one worker per core; the first two steps of a turn are not counted."""
    import pytorch_lightning as pl
    from lightly.data import LightlyDataset
    from lightly.transforms import SimCLRTransform

    class Module(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.backbone = timm.create_model(rig.backbone, num_classes=0)
            features: Any = self.backbone.num_features
            self.projection_head = SimCLRProjectionHead(features, features, 128)
            self.criterion = NTXentLoss()
            self.ends: list[float] = []

        def training_step(self, batch: Any, _: int) -> Tensor:
            (x0, x1), _, _ = batch
            loss: Tensor = self.criterion(
                self.projection_head(self.backbone(x0)), self.projection_head(self.backbone(x1))
            )
            return loss

        def on_train_batch_end(self, *_: Any) -> None:
            self.ends.append(time.perf_counter())

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=1e-3)

    transform: Any = SimCLRTransform(input_size=rig.side)
    dataset: Any = LightlyDataset(str(folder), transform=transform)
    loader: Any = torch.utils.data.DataLoader(
        dataset, batch_size=rig.batch, shuffle=True, drop_last=True, num_workers=len(os.sched_getaffinity(0))
    )
    for name in ("pytorch_lightning", "lightning.pytorch"):
        logging.getLogger(name).setLevel(logging.ERROR)

    def turn() -> float:
        module = Module()
        trainer = pl.Trainer(
            accelerator="cpu",
            max_steps=rig.steps + 3,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            trainer.fit(module, loader)
        steps = [b - a for a, b in itertools.pairwise(module.ends)]
        return sum(steps[2:]) / len(steps[2:])

    return turn


def limits(rig: Rig) -> dict[str, Turn]:
    """Return the candidates for the bare limit on a processor."""
    found = {
        "float32, contiguous": bare(rig, FULL, torch.contiguous_format),
        "float32, channels_last": bare(rig, FULL, torch.channels_last),
    }
    if rig.precision.dtype is not None:
        found[f"{rig.precision.name}, channels_last"] = bare(rig, rig.precision, torch.channels_last)
    return found


def measure(rounds: int = 5) -> list[Line]:
    """Compare all variants at every size."""
    cases = [
        (Rig("resnet18", 64, 64), 0.90, 2.0, None),
        (Rig("resnet18", 64, 16), 0.90, 2.0, None),
        (Rig("resnet50", 224, 16), 0.95, None, 3.0),
    ]
    lines: list[Line] = []
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        folder = scratch / "tiles"
        write_tiles(folder, TILES)
        for rig, of_limit, over_lightly, over_plain in cases:
            bares = limits(rig)
            mine = ours(rig, store_of(folder, rig.side, scratch / "cache"), scratch)
            variants = {**bares, "medssl": mine, "plain loop": plain_loop(rig, folder)}
            if over_lightly:
                variants["lightly"] = with_lightly(rig, folder)
            seconds = take_turns(variants, rounds if rig.side < 100 else max(2, rounds // 2))
            best = fastest(bares, seconds)
            title = f"{rig.backbone}, {rig.side} px, batch {rig.batch}"
            detail: dict[str, Any] = {
                "views_per_second": rates(seconds, rig),
                "limit": best,
                "layout": choose_layout(CPU).name,
            }
            ours_took = seconds["medssl"]
            lines.append(
                ratio_line(f"pre-training / bare limit: {title}", seconds[best], ours_took, mark=of_limit, **detail)
            )
            if over_lightly:
                over = seconds["lightly"]
                lines.append(ratio_line(f"pre-training / lightly: {title}", over, ours_took, mark=over_lightly))
            plain = seconds["plain loop"]
            lines.append(ratio_line(f"pre-training / plain loop: {title}", plain, ours_took, mark=over_plain))
    return lines


def fastest(names: Iterable[str], seconds: Mapping[str, Sequence[float]]) -> str:
    return min(names, key=lambda name: float(np.median(seconds[name])))


def rates(seconds: Mapping[str, Sequence[float]], rig: Rig) -> dict[str, float]:
    """Return the views per second of each variant."""
    return {name: round(2 * rig.batch / float(np.median(values)), 1) for name, values in seconds.items()}
