"""Decodes a dataset's images on all cores, in order, each in the smallest form that holds it.

A colour image with three equal channels becomes one channel, and an image that is much too large is reduced. Threads
are sufficient, because Pillow releases Python's lock while it decodes and resizes.
"""

from __future__ import annotations

import contextlib
import itertools
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from medssl.contracts import Dataset, Sample
from medssl.contracts.crossing.datasets import image_problems
from medssl.data.store.windows import own_window
from medssl.data.views.resample import resize_into
from medssl.errors import BreachError, DataError, PluginError
from medssl.io import limits
from medssl.io.waiting import waiting_for
from medssl.world.membership import cores

__all__ = ["Decoded", "Unreadable", "decode_all", "reduce_pixels"]

_BUNDLE = 4  # images per thread at a time; for small images, one by one would add a tenth of the decoding time
_AHEAD = 2  # decoded bundles per thread that may wait; they are all the memory needed


class Unreadable(NamedTuple):
    """A sample whose image cannot be read."""

    id: str
    reason: str

    def __str__(self) -> str:
        return self.reason if self.id in self.reason else f"{self.id}: {self.reason}"


@dataclass(frozen=True)
class Decoded:
    """One image: ``(H, W, C)`` uint8 or uint16, contiguous, with C 1 where the channels are equal, and its window."""

    pixels: np.ndarray
    reduced: bool
    window: tuple[float, float] | None


def decode_all(dataset: Dataset, samples: Sequence[Sample], limit: int) -> Generator[Decoded | Unreadable]:
    """Decode all samples, several at a time, and yield the images in order.

    Args:
        dataset: Its ``read_reduced`` is called from several threads.
        samples: The samples to decode.
        limit: Largest short side, in pixels; larger images are reduced to it.

    Raises:
        BreachError: The dataset returned something other than an image, which is a fault of the dataset.
    """
    workers = cores()
    bundles = (samples[start : start + _BUNDLE] for start in range(0, len(samples), _BUNDLE))
    with ThreadPoolExecutor(workers, thread_name_prefix="decode") as pool:

        def submit(count: int) -> Iterator[Future[list[Decoded | Unreadable]]]:
            for bundle in itertools.islice(bundles, count):
                yield pool.submit(lambda some: [_decode(dataset, sample, limit) for sample in some], bundle)

        done = 0

        def reading() -> str:
            return f"{type(dataset).__name__}.read() of '{samples[done].id:.200}' or one of the images after it"

        waiting = deque(submit(_AHEAD * workers))
        try:
            while waiting:
                first = waiting.popleft()
                wait((first,), min(1, limits.WAIT_SECONDS / 2))  # a watching thread for each bundle costs a tenth
                with contextlib.nullcontext() if first.done() else waiting_for(reading):
                    found = first.result()
                done += len(found)
                yield from found
                waiting.extend(submit(1))
        finally:
            pool.shutdown(cancel_futures=True)


def _decode(dataset: Dataset, sample: Sample, limit: int) -> Decoded | Unreadable:
    try:
        pixels = dataset.read_reduced(sample, limit)
    except DataError as error:
        return Unreadable(sample.id, str(error))
    except PluginError:  # a reader breaks its contract, or cannot be used
        raise
    except (AttributeError, ImportError, NameError, TypeError) as error:  # these are not caused by an image file
        raise BreachError(
            type(dataset), f"read() of '{sample.id:.200}'", [f"it raised {type(error).__name__}: {error}"]
        ) from error
    except Exception as error:  # readers of other formats may raise anything, and the other files must still be tried
        return Unreadable(sample.id, f"{type(error).__name__}: {error}")
    if problems := image_problems(pixels):
        raise BreachError(type(dataset), f"read() of '{sample.id:.200}'", problems)
    found = reduce_pixels(pixels.astype(pixels.dtype.newbyteorder("="), copy=False), limit)
    shared = np.may_share_memory(found.pixels, pixels)  # the dataset may use one buffer for all images
    return replace(found, pixels=found.pixels.copy()) if shared else found


def reduce_pixels(pixels: np.ndarray, limit: int) -> Decoded:
    """Bring one image to the least that holds it: a short side up to the limit, one channel where they are equal.

    Args:
        pixels: ``(H, W, C)``, uint8 or uint16.
        limit: Longest short side, in pixels.
    """
    height, width, channels = pixels.shape
    kept = 1 if channels == 3 and _channels_equal(pixels) else channels
    short = min(height, width)
    if short > limit:  # before channels are removed, because resizing is vectorised for three channels only
        pixels = _resize(pixels, round(height * limit / short), round(width * limit / short))
    pixels = np.ascontiguousarray(pixels[:, :, :kept])
    return Decoded(pixels, reduced=short > limit, window=own_window(pixels))


def _channels_equal(pixels: np.ndarray) -> bool:
    """Whether the channels of ``(H, W, 3)`` are equal; a coarse grid comes first and is mostly enough.

    Neighbours in memory are compared, which is three times as fast as a comparison with a stride of three. The pairs of
    blue and the red of the next pixel are ignored.
    """
    for part in (pixels[::16, ::16], pixels):
        flat = part.reshape(-1)
        differ = flat[1:] != flat[:-1]
        differ[2::3] = False
        if differ.any():
            return False
    return True


def _resize(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Shrink with Pillow's antialiased bilinear filter.

    Unlike Lanczos at the edges of a radiograph, it neither rings nor overshoots, and the views use the same filter.
    PyTorch's version gives the same result within one grey level, in a fifth of the time for three channels.
    """
    size = (width, height)
    if pixels.dtype == np.uint8 and pixels.shape[2] == 3:
        image = torch.from_numpy(np.require(pixels, requirements=("C", "W"))).permute(2, 0, 1)
        small = torch.empty((height, width, 3), dtype=torch.uint8)
        resize_into(image[None], small.permute(2, 0, 1)[None])
        return small.numpy()
    channels = [Image.fromarray(np.ascontiguousarray(channel)) for channel in np.moveaxis(pixels, 2, 0)]
    if pixels.dtype != np.uint8:
        channels = [channel.convert("F") for channel in channels]
    resized = np.stack([np.asarray(c.resize(size, Image.Resampling.BILINEAR)) for c in channels], axis=2)
    return resized if pixels.dtype == np.uint8 else np.asarray(np.rint(resized), np.uint16)
