"""Speed of random views, beside kornia's batched augmentations and torchvision's transforms of one PIL image at a time.

The three make the same operations with the same probabilities on the same images: random resized crop, horizontal
flip, colour jitter, greyscale, Gaussian blur, normalisation. torchvision runs in one process for each core, as with a
DataLoader, but does not have to send its views anywhere. Run ``python benchmarks/views.py``; kornia is left out where
it is not installed. On a machine that others use too, ``OMP_NUM_THREADS=1 python benchmarks/views.py --clock
processor`` counts seconds of processor time instead, and one process of torchvision.
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from PIL import Image
from torch import nn
from torchvision import transforms

from medssl.contracts import Augmentation, ViewSpec
from medssl.data.blur import radius
from medssl.data.parameters import blur_range
from medssl.data.views import Views

#: Sides of the source images for each side of a view: a store keeps up to twice the view's.
SOURCES = {28: 28, 64: 128, 224: 448}
IMAGES = 128
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
RECIPE = Augmentation()

CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}

Step = Callable[[], Sequence[torch.Tensor]]


class Memory:
    """A store of images of one size, as the views need it."""

    def __init__(self, images: np.ndarray) -> None:
        self.dtype, self.channels = images.dtype, images.shape[3]
        self.shapes = np.tile(np.array(images.shape[1:3], dtype=np.int32), (len(images), 1))
        self.pixels = images.reshape(-1)


def make_images(side: int, count: int = IMAGES) -> np.ndarray:
    """Smooth random images with some noise, (count, side, side, 3) uint8."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(count, 3, 8, 8, generator=generator)
    smooth = nn.functional.interpolate(coarse, (side, side), mode="bicubic")
    noisy = (smooth + 0.05 * torch.randn(smooth.shape, generator=generator)).clamp(0, 1)
    return np.ascontiguousarray((noisy * 255).byte().permute(0, 2, 3, 1).numpy())


def blur_settings(side: int) -> tuple[int, tuple[float, float]]:
    """Kernel size and sigma range at this size."""
    low, high = blur_range(RECIPE, side)
    return 2 * radius(high, side) + 1, (low, high)


def medssl_views(images: np.ndarray, side: int, batch: int) -> Step:
    views = Views(
        Memory(images),
        np.arange(len(images)),
        ViewSpec(),
        RECIPE,
        image_size=side,
        seed=0,
        device="cpu",
        normalisation="imagenet",
    )
    epochs = itertools.count()

    def step() -> tuple[torch.Tensor, ...]:
        views.start_epoch(next(epochs))
        return views(torch.randperm(len(images), generator=torch.Generator().manual_seed(0))[:batch])

    return step


def kornia_views(images: np.ndarray, side: int, batch: int, cropping: str) -> Step:
    kornia = importlib.import_module("kornia.augmentation")
    kernel, sigma = blur_settings(side)
    a = RECIPE
    pipeline = nn.Sequential(
        kornia.RandomResizedCrop((side, side), scale=a.crop_scale, ratio=a.crop_ratio, cropping_mode=cropping),
        kornia.RandomHorizontalFlip(a.horizontal_flip),
        kornia.ColorJitter(a.brightness, a.contrast, a.saturation, a.hue, p=a.jitter),
        kornia.RandomGrayscale(p=a.greyscale),
        kornia.RandomGaussianBlur((kernel, kernel), sigma, p=a.blur),
        kornia.Normalize(torch.tensor(MEAN), torch.tensor(DEVIATION)),
    )

    def step() -> list[torch.Tensor]:
        chosen = torch.from_numpy(images[np.random.default_rng(0).permutation(len(images))[:batch]])
        x = chosen.permute(0, 3, 1, 2).float().div(255)
        return [pipeline(x).contiguous(memory_format=torch.channels_last) for _ in range(2)]

    return step


def torchvision_views(images: np.ndarray, side: int, batch: int) -> Step:
    kernel, sigma = blur_settings(side)
    a = RECIPE
    pipeline = transforms.Compose(
        [
            transforms.RandomResizedCrop(side, scale=a.crop_scale, ratio=a.crop_ratio),
            transforms.RandomHorizontalFlip(a.horizontal_flip),
            transforms.RandomApply([transforms.ColorJitter(a.brightness, a.contrast, a.saturation, a.hue)], p=a.jitter),
            transforms.RandomGrayscale(a.greyscale),
            transforms.RandomApply([transforms.GaussianBlur(kernel, sigma)], p=a.blur),
            transforms.ToTensor(),
            transforms.Normalize(MEAN, DEVIATION),
        ]
    )

    def step() -> list[torch.Tensor]:
        return [torch.stack([pipeline(Image.fromarray(image)) for image in images[:batch]]) for _ in range(2)]

    return step


def rate(step: Step, views: int, clock: str = "wall") -> float:
    """Views per second of one step."""
    start = CLOCKS[clock]()
    step()
    return views / (CLOCKS[clock]() - start)


def torchvision_rate(side: int, batch: int, clock: str, seconds: float = 4.0) -> float:
    """Views per second of torchvision in this process and one thread, the best step of some seconds."""
    torch.set_num_threads(1)
    step = torchvision_views(make_images(SOURCES.get(side, 2 * side)), side, batch)
    end, best = time.perf_counter() + seconds, 0.0
    while time.perf_counter() < end:
        best = max(best, rate(step, 2 * batch, clock))
    return best


def torchvision_processes(side: int, batch: int, clock: str) -> float:
    """Views per second of as many processes as there are cores; of one by the clock of a processor."""
    command = [sys.executable, __file__, "--torchvision", str(side), "--batch", str(batch), "--clock", clock]
    count = len(os.sched_getaffinity(0)) if clock == "wall" else 1
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(count)]
    return sum(float(process.communicate()[0]) for process in processes)


def measure(
    sizes: Sequence[int] = (28, 64, 224), *, batch: int = 64, rounds: int = 8, clock: str = "wall"
) -> dict[int, dict[str, float]]:
    """Time two views of a batch at each size; medssl and kornia take turns and the best round of each counts.

    Returns:
        For each size: views per second of ``medssl``, ``kornia`` and ``torchvision``, and ``over_kornia`` and
        ``over_torchvision``, how many times as fast medssl is.
    """
    results = {}
    for side in sizes:
        images = make_images(SOURCES.get(side, 2 * side))
        count = min(batch, 16) if side > 128 else batch
        contenders = {"medssl": medssl_views(images, side, count)}
        try:
            for cropping in ("slice", "resample"):
                contenders[f"kornia {cropping}"] = kornia_views(images, side, count, cropping)
        except ImportError:
            print("kornia is not installed: left out", file=sys.stderr)
        best = dict.fromkeys(contenders, 0.0)
        for _ in range(rounds):
            for name, step in contenders.items():
                best[name] = max(best[name], rate(step, 2 * count, clock))
        kornia = max((value for name, value in best.items() if name.startswith("kornia")), default=math.nan)
        torchvision = torchvision_processes(side, count, clock)
        results[side] = {
            "medssl": best["medssl"],
            "kornia": kornia,
            "torchvision": torchvision,
            "over_kornia": best["medssl"] / kornia,
            "over_torchvision": best["medssl"] / torchvision,
        }
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sizes", nargs="*", type=int, default=[28, 64, 224], help="sides of the views in pixels")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--torchvision", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.torchvision:
        print(torchvision_rate(arguments.torchvision, arguments.batch, arguments.clock))
        return
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    results = measure(arguments.sizes, batch=arguments.batch, rounds=arguments.rounds, clock=arguments.clock)
    if arguments.json:
        print(json.dumps(results, indent=2))
        return
    print(f"views per second ({arguments.clock} clock), {torch.get_num_threads()} threads")
    print(f"{'px':>4} {'medssl':>9} {'kornia':>9} {'torchvision':>12} {'x kornia':>9} {'x torchvision':>14}")
    for side, r in results.items():
        print(
            f"{side:>4} {r['medssl']:>9.0f} {r['kornia']:>9.0f} {r['torchvision']:>12.0f} "
            f"{r['over_kornia']:>9.1f} {r['over_torchvision']:>14.1f}"
        )


if __name__ == "__main__":
    main()
