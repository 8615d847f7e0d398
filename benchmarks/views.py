"""Compare the speed of random views with kornia's batched augmentations and torchvision's transforms of PIL images.

All three do the same operations with the same probabilities on the same images: random resized crop, horizontal flip,
colour jitter, greyscale, Gaussian blur, normalisation. kornia uses the faster of its two ways to crop. torchvision runs
in one process for each core, as with a DataLoader, but does not have to send its views anywhere.
"""

from __future__ import annotations

import importlib
import itertools
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence

import numpy as np
import torch
from PIL import Image
from torch import nn
from torchvision import transforms

from benchmarks.measuring import Line, ratio_line, take_turns, timed
from medssl.contracts import IMAGENET, Augmentation, ViewSpec
from medssl.data.views import Views
from medssl.data.views.ops.blur import blur_range, radius

#: Sides of the source images for each side of a view: a store keeps up to twice the side of the view.
SOURCES = {28: 28, 64: 128, 224: 448}
IMAGES = 128
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
RECIPE = Augmentation()

Step = Callable[[], Sequence[torch.Tensor]]


class Memory:
    """A store of images of one size, with the interface that views need."""

    levels = None

    def __init__(self, images: np.ndarray) -> None:
        self.dtype, self.channels = images.dtype, images.shape[3]
        self.shapes = np.tile(np.array(images.shape[1:3], dtype=np.int32), (len(images), 1))
        self.pixels = images.reshape(-1)


def make_images(side: int, count: int = IMAGES) -> np.ndarray:
    """Draw smooth random images with some noise, (count, side, side, 3) uint8."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(count, 3, 8, 8, generator=generator)
    smooth = nn.functional.interpolate(coarse, (side, side), mode="bicubic")
    noisy = (smooth + 0.05 * torch.randn(smooth.shape, generator=generator)).clamp(0, 1)
    return np.ascontiguousarray((noisy * 255).byte().permute(0, 2, 3, 1).numpy())


def blur_settings(side: int) -> tuple[int, tuple[float, float]]:
    """Return kernel size and sigma range for this size."""
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
        preprocessing=IMAGENET,
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


def torchvision_processes(side: int, batch: int, rounds: int) -> list[float]:
    """Measure the seconds per batch of two views with one process per core, each with batches of its own."""
    count = len(os.sched_getaffinity(0))
    command = [sys.executable, "-m", "benchmarks.views", str(side), str(batch), str(rounds)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(count)]
    found = [json.loads(process.communicate()[0]) for process in processes]
    return [statistics.mean(seconds) / count for seconds in zip(*found, strict=True)]


def lines(rounds: int = 5) -> list[Line]:
    """Compare two views of a batch at each size; medssl uses as many threads as torch."""
    found = []
    for side, source in SOURCES.items():
        batch = 16 if side > 128 else 64
        images = make_images(source)
        variants = {"medssl": timed(medssl_views(images, side, batch))}
        for cropping in ("slice", "resample"):
            variants[f"kornia {cropping}"] = timed(kornia_views(images, side, batch, cropping))
        seconds = take_turns(variants, 4 * rounds)
        seconds["torchvision"] = torchvision_processes(side, batch, 4 * rounds)
        mine = seconds.pop("medssl")
        rates = {name: round(2 * batch / statistics.median(values)) for name, values in seconds.items()}
        rates["medssl"] = round(2 * batch / statistics.median(mine))
        kornia = min(("kornia slice", "kornia resample"), key=lambda name: statistics.median(seconds[name]))
        for title, name in (("kornia", kornia), ("torchvision on all cores", "torchvision")):
            found.append(ratio_line(f"views / {title}, {side} px", seconds[name], mine, mark=3, views_per_second=rates))
    return found


def main() -> None:
    """Time torchvision in this process with one thread; :func:`torchvision_processes` starts several such processes."""
    side, batch, rounds = (int(word) for word in sys.argv[1:])
    torch.set_num_threads(1)
    turn = timed(torchvision_views(make_images(SOURCES[side]), side, batch))
    turn()
    print(json.dumps([turn() for _ in range(rounds)]))


if __name__ == "__main__":
    main()
