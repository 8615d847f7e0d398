"""Features of a frozen encoder, against the bare forward pass of its network.

Run it with ``python -m benchmarks.frozen``. It writes PNG files of 256 x 320 px, makes their store, and computes the
features of all images as a run does: read from the store, resize, normalise, encode. The bare forward pass encodes as
many images that are already in memory as tensors, in the same precision, layout and batch size. The loops take turns in
one process, on one thread, and the time is that of the processor, so other programs disturb less. Making the store is
measured by itself, in seconds of the clock: it is done once for a dataset.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmarks.measuring import Line, print_table, ratio_line, take_turns, timed
from medssl.contracts import IMAGENET
from medssl.data.store.store import open_store
from medssl.data.views.engine import PlainViews
from medssl.evaluation.features import extract
from medssl.tools.training import evaluation_mode
from medssl.train.encoder.building import Encoder, build_encoder
from medssl.train.machine.device import choose_layout
from medssl.train.machine.machine import Machine
from medssl.train.machine.memory import kept_memory
from medssl_datasets.folder import Folder
from medssl_encoders.timm import Timm

IMAGES, SIDE, MARK = 300, 224, 0.95
BACKBONES = ("resnet18", "tf_efficientnet_lite0", "vit_small_patch16_224")


def write_pictures(folder: Path, count: int) -> None:
    """Write smooth pictures with noise, half of them in each of two classes."""
    rng = np.random.default_rng(0)
    for number in range(count):
        small = rng.integers(0, 256, (8, 10, 3)).astype(np.uint8)
        picture = np.array(Image.fromarray(small).resize((320, 256), Image.Resampling.BICUBIC)).astype(np.int16)
        noisy = np.clip(picture + rng.integers(-12, 13, picture.shape), 0, 255).astype(np.uint8)
        file = folder / f"class{number % 2}" / f"{number:05}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noisy).save(file)


def bare(encoder: Encoder, images: Tensor, batch: int, machine: Machine) -> Tensor:
    """Encode tensors in memory: only the forward passes."""
    with evaluation_mode(encoder), machine.precision.autocast(), torch.inference_mode():
        return torch.cat([encoder.network(part) for part in images.split(batch)])


def lines(rounds: int = 3, count: int = IMAGES, backbones: tuple[str, ...] = BACKBONES) -> list[Line]:
    machine, processor = Machine.choose("cpu", "auto"), partial(timed, clock=time.process_time)
    found, precision = [], machine.precision
    with tempfile.TemporaryDirectory() as place, kept_memory():
        write_pictures(Path(place) / "d", count)
        dataset = Folder(Folder.Config(), Path(place) / "d")
        start = time.perf_counter()
        store = open_store(dataset, dataset.index().samples, view_size=SIDE, cache=Path(place))
        reading = time.perf_counter() - start
        for backbone in backbones:
            encoder = build_encoder(Timm.of(backbone=backbone), SIDE, seed=0)
            choose_layout(machine.device).apply(encoder, machine.device)
            views = PlainViews(store, np.arange(count), image_size=SIDE, device="cpu", preprocessing=IMAGENET)
            images = views(torch.arange(count))
            seconds = take_turns(
                {
                    "bare": processor(lambda e=encoder, x=images: bare(e, x, 64, machine)),  # type: ignore[misc]
                    "views": processor(lambda v=views: [v(part) for part in torch.arange(count).split(64)]),  # type: ignore[misc]
                    "medssl": processor(lambda e=encoder, v=views: extract(e, v, count, precision=precision)),  # type: ignore[misc]
                },
                rounds,
            )
            medians = {name: round(statistics.median(each), 3) for name, each in seconds.items()}
            found.append(
                ratio_line(
                    f"frozen features of {count} images / bare forward pass, {backbone}, speed",
                    seconds["bare"],
                    seconds["medssl"],
                    mark=MARK,
                    precision=precision.name,
                    threads=torch.get_num_threads(),
                    store_seconds=round(reading, 2),
                    seconds=medians,
                )
            )
    return found


def main() -> None:
    """Print the figures, and what they were computed from."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=IMAGES)
    parser.add_argument("--backbone", action="append", help="may be repeated")
    parser.add_argument("--threads", type=int, default=1)
    words = parser.parse_args()
    torch.set_num_threads(words.threads)
    found = lines(words.rounds, words.images, tuple(words.backbone or BACKBONES))
    print_table(found)
    for line in found:
        print(line.what, dict(line.detail))


if __name__ == "__main__":
    main()
