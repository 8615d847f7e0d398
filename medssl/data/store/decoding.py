"""Decoding a dataset's images on all cores, in order, each brought to the least that holds it.

A colour file whose three channels are equal becomes one channel, a much too large one is reduced. Threads suffice:
Pillow lets go of Python's lock while it decodes and resizes.
"""

from __future__ import annotations

import itertools
import os
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from medssl.contracts import Dataset, Sample
from medssl.data.store.windows import own_window
from medssl.data.views.resample import resize_into
from medssl.errors import DataError, PluginError

__all__ = ["Decoded", "Unreadable", "decode_all", "reduce_pixels", "thread_count"]

_BUNDLE = 4  # images a thread takes at a time; handing them over one by one costs a tenth of decoding small ones
_AHEAD = 2  # bundles per thread that may be decoded and wait for their turn: all the memory this takes


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


def thread_count() -> int:
    """Return how many processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def decode_all(dataset: Dataset, samples: Sequence[Sample], limit: int) -> Generator[Decoded | Unreadable]:
    """Decode every sample, several at a time, and yield them in their order.

    Args:
        dataset: Its ``read_reduced`` is called from several threads.
        samples: What to decode.
        limit: Longest short side, in pixels; larger images are reduced to it.

    Raises:
        DataError: It returned something else than an image; that is a mistake in the dataset, not a bad file.
    """
    workers = thread_count()
    bundles = (samples[start : start + _BUNDLE] for start in range(0, len(samples), _BUNDLE))
    with ThreadPoolExecutor(workers, thread_name_prefix="decode") as pool:

        def submit(count: int) -> Iterator[Future[list[Decoded | Unreadable]]]:
            for bundle in itertools.islice(bundles, count):
                yield pool.submit(lambda some: [_decode(dataset, sample, limit) for sample in some], bundle)

        waiting = deque(submit(_AHEAD * workers))
        try:
            while waiting:
                yield from waiting.popleft().result()
                waiting.extend(submit(1))
        finally:
            pool.shutdown(cancel_futures=True)


def _decode(dataset: Dataset, sample: Sample, limit: int) -> Decoded | Unreadable:
    try:
        pixels = dataset.read_reduced(sample, limit)
    except DataError as error:
        return Unreadable(sample.id, str(error))
    except (AttributeError, ImportError, NameError, TypeError) as error:  # no image file is to blame for these
        raise PluginError(
            f"{type(dataset).__name__}.read() failed on '{sample.id}'. {type(error).__name__}: {error}. "
            "That is a fault of the dataset plugin, not of the image; --traceback shows where."
        ) from error
    except Exception as error:  # readers of other formats raise what they like, and the other files are to be tried too
        return Unreadable(sample.id, f"{type(error).__name__}: {error}")
    return reduce_pixels(_checked(pixels, dataset, sample), limit)


def reduce_pixels(pixels: np.ndarray, limit: int) -> Decoded:
    """Bring one image to the least that holds it: a short side up to the limit, one channel where they are equal.

    Args:
        pixels: ``(H, W, C)``, C 1 or 3, uint8 or uint16.
        limit: Longest short side, in pixels.
    """
    height, width, channels = pixels.shape
    kept = 1 if channels == 3 and _channels_equal(pixels) else channels
    short = min(height, width)
    if short > limit:  # before channels are left out: there is a vectorised way for three, and none for one
        pixels = _resize(pixels, round(height * limit / short), round(width * limit / short))
    pixels = np.ascontiguousarray(pixels[:, :, :kept])
    return Decoded(pixels, reduced=short > limit, window=own_window(pixels))


def _checked(pixels: np.ndarray, dataset: Dataset, sample: Sample) -> np.ndarray:
    """Hold what ``read`` returned against the contract."""
    if isinstance(pixels, np.ndarray):
        native = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
        if native.dtype in (np.uint8, np.uint16) and native.ndim == 3 and native.shape[2] in (1, 3) and native.size:
            return native
        found = f"an array of shape {pixels.shape} and type {pixels.dtype}"
    else:
        found = f"a {type(pixels).__name__}"
    raise DataError(
        f"dataset {type(dataset).__name__} read sample '{sample.id}' as {found}. An image is (H, W, C) with C 1 or 3, "
        "uint8 or uint16. Correct the dataset's read()."
    )


def _channels_equal(pixels: np.ndarray) -> bool:
    """Compare the channels of ``(H, W, 3)``; a coarse grid first, which settles nearly every colour image.

    Neighbours in memory are compared, which is three times as fast as comparing every third value with every third; of
    these, blue beside the red of the next pixel does not count.
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

    It neither rings nor overshoots, as Lanczos does at the edges of a radiograph, and it is the filter that the views
    are made with. PyTorch's form of it gives the same within one grey level, in a fifth of the time for three channels.
    """
    size = (width, height)
    if pixels.dtype == np.uint8 and pixels.shape[2] == 3:
        image = torch.from_numpy(np.require(pixels, requirements=("C", "W"))).permute(2, 0, 1)
        small = torch.empty((height, width, 3), dtype=torch.uint8)
        resize_into(image[None], small.permute(2, 0, 1)[None])
        return small.numpy()
    if pixels.dtype == np.uint8:
        grey = Image.fromarray(np.ascontiguousarray(pixels.squeeze(2)))
        return np.asarray(grey.resize(size, Image.Resampling.BILINEAR))[:, :, None]
    channels = [Image.fromarray(channel.astype(np.float32)) for channel in np.moveaxis(pixels, 2, 0)]
    resized = np.stack([np.asarray(c.resize(size, Image.Resampling.BILINEAR)) for c in channels], axis=2)
    return np.asarray(np.rint(resized), np.uint16)
