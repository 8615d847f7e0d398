"""Features of a frozen encoder, against the bare forward pass of its network.

Run it with ``python -m benchmarks.frozen``. It writes PNG files of 256 x 320 px, makes their store, and computes the
features of all images as a run does: read from the store, resize, normalise, encode. The bare forward pass encodes as
many images that are already in memory as tensors, in the same precision, layout and batch size. The loops take turns in
one process, on one thread, and the time is that of the processor, so other programs disturb less. Making the store is
measured by itself, in seconds of the clock: it is done once for a dataset.

``--precision-on FOLDER`` measures another thing: how far features in bfloat16 are from those in float32, on images of
that folder (class folders). A processor without bfloat16 computes the same numbers slowly.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
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
COSINE, SPREAD = 0.01, 0.25  # the largest differences between bfloat16 and float32 that docs/performance.md allows
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


def differences(encoder: Encoder, views: Callable[[Tensor], Tensor], count: int) -> dict[str, float]:
    """Compare features in bfloat16 with those in float32, over all images.

    Returns:
        ``cosine``: largest cosine distance of an image's two vectors; ``cosine_mean``: its mean. ``spread``: largest
        distance of an image's two vectors, as a share of the distance of the vector in float32 from the mean of all
        images; ``spread_mean``: its mean. ``spread`` tells whether images can still be told apart: the features of an
        untrained network are nearly parallel, so their cosine distances are small.
    """
    machine = Machine.choose("cpu", "bfloat16")
    full = extract(encoder, views, count, batch_size=16).double()
    half = extract(encoder, views, count, precision=machine.precision, batch_size=16).double()
    cosine = 1 - torch.nn.functional.cosine_similarity(full, half)
    spread = (full - half).norm(dim=1) / (full - full.mean(dim=0)).norm(dim=1)
    found = {"cosine": cosine.max(), "cosine_mean": cosine.mean(), "spread": spread.max(), "spread_mean": spread.mean()}
    return {name: float(value) for name, value in found.items()}


def compare_precisions(folder: Path, count: int, sources: Mapping[str, Timm]) -> dict[str, dict[str, float]]:
    """Return :func:`differences` of each encoder, with images spread over the class folders of a folder."""
    found = {}
    dataset = Folder(Folder.Config(), folder)
    samples = dataset.index().samples
    samples = [samples[i] for i in np.linspace(0, len(samples) - 1, count).round().astype(int)]
    with tempfile.TemporaryDirectory() as place:
        store = open_store(dataset, samples, view_size=SIDE, cache=Path(place))
        for name, source in sources.items():
            encoder = build_encoder(source, SIDE, seed=0)
            choose_layout(torch.device("cpu")).apply(encoder, torch.device("cpu"))
            preprocessing = source.card.preprocessing
            views = PlainViews(store, np.arange(count), image_size=SIDE, device="cpu", preprocessing=preprocessing)
            found[name] = differences(encoder, views, count)
    return found


def main() -> None:
    """Print the figures, and what they were computed from."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=IMAGES)
    parser.add_argument("--backbone", action="append", help="may be repeated")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--precision-on", type=Path, metavar="FOLDER", help="compare bfloat16 with float32 instead")
    parser.add_argument("--weights", action="append", default=[], metavar="BACKBONE=FILE", help="else random weights")
    words = parser.parse_args()
    torch.set_num_threads(words.threads)
    if words.precision_on is not None:
        files = dict(each.split("=", 1) for each in words.weights)
        sources = {
            name: Timm.of(backbone=name, weights=Path(files[name]) if name in files else None)
            for name in words.backbone or BACKBONES
        }
        for name, each in compare_precisions(words.precision_on, words.images, sources).items():
            print(f"bfloat16 against float32, {words.images} images, {name}:", {k: f"{v:.2g}" for k, v in each.items()})
        return
    found = lines(words.rounds, words.images, tuple(words.backbone or BACKBONES))
    print_table(found)
    for line in found:
        print(line.what, dict(line.detail))


if __name__ == "__main__":
    main()
