"""Near-duplicates: images that were re-encoded, resized, rescaled in grey level, turned by a right angle or mirrored.

Two measures are used, because medical images look alike and one measure is not enough. The first is a perceptual hash:
the signs of 64 low frequencies of the discrete cosine transform, against their median (Zauner 2010, "Implementation and
benchmarking of perceptual image hash functions", section 3.2.1). Pairs that differ in at most 10 of the 64 bits are
candidates (Krawetz 2011, "Looks like it": more than 10 means a different image). On 5,856 chest radiographs these are
17,000 pairs of different children: chests have the same low frequencies. The second measure decides: the correlation of
the details that remain after subtracting the mean of the surroundings.

Its threshold was set on real images. Among candidates, the highest correlation of two different images was 0.72 on the
radiographs, 0.82 on the same at 28 x 28 px and 0.83 on 3,998 blood cells of 200 patients; frames of one ultrasound
recording and re-encoded duplicates reach 0.85 to 1. A near-duplicate that was rotated by another angle, or cropped, is
not found.

N images, P pairs.
"""

from __future__ import annotations

import contextlib
import math
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medssl.data.audit.neighbours import FLIPPED, Buckets, Positions, count_ones
from medssl.data.store.store import Store
from medssl.tools.images import SYMMETRIES, turn
from medssl.world.membership import cores

__all__ = ["PLAIN", "THUMBNAIL", "NearPair", "details", "near_frame", "near_pairs", "thumbnails"]

THUMBNAIL = 64  # of a thumbnail, in pixels
_FEW_BITS = 10  # see above
_ALIKE = 0.85  # see above
_SURROUNDINGS = 9  # side of the square whose mean is subtracted, in pixels of a thumbnail; odd, so it has a centre
PLAIN = 1.0  #: standard deviation of the details, in grey levels of 255; below it the details are only noise
_FRAME_LEVELS = 6.0  # around the grey level of the corners, out of 255; ours: the noise of JPEG in a black frame
_FRAME_SHARE = 0.02  # of the pixels; ours: a smaller frame has little weight
_BLOCK = 512  # images at a time
_PAIRS = 1024  # pairs correlated at a time: 32 MiB
_FEW_IMAGES = 2000  # are all compared with each other, in two seconds
_COARSE = 16  # frequencies kept along either axis, a third of the square sum of the details of real images
_ROUNDING = 0.01  # of half precision
_DIRECTIONS, _TABLES = 32, 8  # main directions of the coarse details, tables; see docs/adr/0021 for their recall
_SAMPLE = 20_000  # images that determine the directions
_GREY = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601

Floats = NDArray[np.float32]


class NearPair(NamedTuple):
    """Two images that are nearly the same.

    Attributes:
        first: The smaller position.
        second: The larger position.
        similarity: Correlation of their details, 0.85 to 1.
        turned: Whether one had to be turned by a right angle or mirrored.
    """

    first: int
    second: int
    similarity: float
    turned: bool


def thumbnails(store: Store, rows: Sequence[int] | None = None) -> Floats:
    """Shrink every image to ``THUMBNAIL x THUMBNAIL`` grey pixels, black at 0 and white at 255.

    Args:
        store: The images.
        rows: The N images to shrink; ``None``: all.

    Returns:
        ``(N, THUMBNAIL, THUMBNAIL)``.
    """
    rows = range(len(store)) if rows is None else rows
    found = np.empty((len(rows), THUMBNAIL, THUMBNAIL), np.float32)
    for place, i in enumerate(rows):
        image = store.image(i).astype(np.float32)
        grey = image @ _GREY if store.channels == 3 else image.mean(axis=2) if store.channels > 1 else image[..., 0]
        shrunk = Image.fromarray(np.ascontiguousarray(grey)).resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX)
        low, high = (0.0, 255.0) if store.levels is None else store.levels[i]
        found[place] = (np.asarray(shrunk) - low) * (255 / (high - low))
    return found


def near_pairs(count: int, thumbs_of: Callable[[Positions], Floats], folder: Path | None = None) -> list[NearPair]:
    """Find every pair of near-duplicates among N images.

    Images without details (an empty slide) have no near-duplicates. Up to 2,000 images are all compared with each
    other. Among more, candidates come from tables of similar images (:mod:`medssl.data.audit.neighbours`), so the time
    grows in proportion to N, and so does the memory, by 0.2 kB for each image.

    Args:
        count: N.
        thumbs_of: Returns the thumbnails ``(M, THUMBNAIL, THUMBNAIL)`` of images by their positions; called from
            several threads.
        folder: For a temporary file of 0.5 kB for each image; ``None``: the system's folder for them.

    Returns:
        Pairs, each once, in the order of their positions.
    """
    with ThreadPoolExecutor(cores()) as pool:
        search = _Search(count, thumbs_of, folder, pool)
        return sorted(pair for pairs in pool.map(search.near, _blocks(search.kept)) for pair in pairs)


def _blocks(positions: Positions) -> list[Positions]:
    return np.split(positions, range(_BLOCK, len(positions), _BLOCK))


class _Search:
    """What is known of N images: ``hashes`` after each symmetry, ``coarse`` details, and which are ``kept``."""

    def __init__(
        self, count: int, thumbs_of: Callable[[Positions], Floats], folder: Path | None, pool: ThreadPoolExecutor
    ) -> None:
        self._thumbs_of = thumbs_of
        self.hashes = np.empty((count, len(SYMMETRIES)), np.uint64)
        self.coarse = _room(folder, (count, _COARSE, _COARSE))
        shown = list(pool.map(self._describe, _blocks(np.arange(count))))
        self.kept = np.flatnonzero(np.concatenate(shown))
        some = self._unit(self.kept[:: 1 + len(self.kept) // _SAMPLE])
        self._mean = some.sum(axis=0) / max(1, len(some))
        main = np.linalg.eigh(some.T @ some)[1][:, -_DIRECTIONS:]
        bits = max(2 * FLIPPED, len(self.kept).bit_length())  # a bucket has one image on average
        mixed = np.linalg.qr(np.random.default_rng(0).standard_normal((_TABLES, _DIRECTIONS, bits)))[0]
        self._planes = (main @ mixed).astype(np.float32)
        if len(self.kept) <= _FEW_IMAGES:
            self._planes = np.zeros_like(self._planes[:1])  # all in one bucket
        keys = pool.map(lambda rows: Buckets.keys(self._sums(rows)), _blocks(self.kept))
        self._buckets = Buckets(np.concatenate(list(keys), axis=1), bits)

    def _describe(self, rows: Positions) -> NDArray[np.bool_]:
        """Store the hashes and coarse details of images, and return which have details."""
        thumbs = self._thumbs_of(rows)
        fine = _fine(thumbs)
        x = fine - fine.mean(axis=(1, 2), keepdims=True)
        x /= np.maximum(np.linalg.norm(x, axis=(1, 2), keepdims=True), 1e-6)
        self.hashes[rows], self.coarse[rows] = _hashes(thumbs), _frequencies(x, _COARSE)
        return np.asarray(fine.std(axis=(1, 2)) >= PLAIN)

    def turned(self, rows: Positions, way: int) -> Floats:
        """Return the coarse details after a symmetry: ``(M, 16, 16)``."""
        return _turn_frequencies(self.coarse[rows].astype(np.float32), *SYMMETRIES[way])

    def _unit(self, rows: Positions, way: int = 0) -> Floats:
        flat = self.turned(rows, way).reshape(len(rows), _COARSE**2)
        found: Floats = flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6)
        return found

    def _sums(self, rows: Positions, way: int = 0) -> Floats:
        """Project images: ``(M, T, B)``."""
        found: Floats = np.moveaxis((self._unit(rows, way) - self._mean) @ self._planes, 0, 1)
        return found

    def near(self, rows: Positions) -> list[NearPair]:
        """Return the near-duplicates ``i < j`` with j among these images, each with the symmetry that fits best."""
        pairs = np.unique(np.concatenate(list(self._candidates(rows))), axis=0)
        return [pair for some in np.split(pairs, range(_PAIRS, len(pairs), _PAIRS)) for pair in self._confirm(*some.T)]

    def _candidates(self, rows: Positions) -> Iterator[Positions]:
        for way in range(len(SYMMETRIES)):
            for query, held in self._buckets.near(self._sums(rows, way)):
                i, j = self.kept[held], rows[query]
                alike = (count_ones(self.hashes[i, 0] ^ self.hashes[j, way]) <= _FEW_BITS) & (i < j)
                yield np.stack([i[alike], j[alike]], axis=1)

    def _confirm(self, i: Positions, j: Positions) -> Iterator[NearPair]:
        likely = (count_ones(self.hashes[i, :1] ^ self.hashes[j]) <= _FEW_BITS).T.copy()
        for way, some in enumerate(map(np.flatnonzero, likely)):
            likely[way, some] = self.upper(i[some], j[some], way) >= _ALIKE
        rows = np.unique(np.concatenate([i[likely.any(axis=0)], j[likely.any(axis=0)]]))
        fine, best = _fine(self._thumbs_of(rows)), np.full(likely.shape, -1, np.float32)
        for way, some in enumerate(map(np.flatnonzero, likely)):
            x, y = (fine[np.searchsorted(rows, each[some])] for each in (i, j))
            best[way, some] = _correlation(x, turn(y, *SYMMETRIES[way]))
        ways, likeness = best.argmax(axis=0), best.max(axis=0)
        for k in np.flatnonzero(likeness >= _ALIKE).tolist():
            yield NearPair(int(i[k]), int(j[k]), round(float(likeness[k]), 4), bool(ways[k]))

    def upper(self, i: Positions, j: Positions, way: int) -> Floats:
        """Return what the correlations are at most, given the coarse details (Cauchy and Schwarz)."""
        x, y = self.turned(i, 0), self.turned(j, way)
        rest = [1 - np.einsum("pfg,pfg->p", each, each) for each in (x, y)]
        found: Floats = np.einsum("pfg,pfg->p", x, y) + np.sqrt(np.maximum(0, rest[0] * rest[1])) + _ROUNDING
        return found


def _room(folder: Path | None, shape: tuple[int, ...]) -> NDArray[np.float16]:
    """Return an array in an unnamed file; in memory if there is no space in the folder, or no such call."""
    with contextlib.suppress(OSError, AttributeError, ValueError), tempfile.TemporaryFile(dir=folder) as file:
        os.posix_fallocate(file.fileno(), 0, 2 * math.prod(shape))  # a full disk would kill the process later
        return np.memmap(file, np.float16, "r+", shape=shape).view(np.ndarray)
    return np.empty(shape, np.float16)


def _fine(thumbs: Floats) -> Floats:
    """Return the details, zero near a frame."""
    fine = details(thumbs)
    fine[near_frame(thumbs)] = 0
    return fine


def details(thumbs: Floats) -> Floats:
    """Subtract the mean of the square around each pixel, edges repeated: ``(N, THUMBNAIL, THUMBNAIL)``."""
    found = np.empty_like(thumbs)
    for start in range(0, len(thumbs), _PAIRS):
        some = thumbs[start : start + _PAIRS]
        found[start : start + _PAIRS] = some - _around(some)
    return found


def _around(thumbs: Floats) -> Floats:
    """Return the mean of the square around each pixel, edges repeated."""
    mean, reach = thumbs, _SURROUNDINGS // 2
    for _ in range(2):  # along rows, then along columns
        total = np.pad(mean, ((0, 0), (0, 0), (reach + 1, reach)), mode="edge").cumsum(axis=2)
        mean = (total[..., _SURROUNDINGS:] - total[..., :-_SURROUNDINGS]).transpose(0, 2, 1) / _SURROUNDINGS
    return mean


def near_frame(thumbs: Floats) -> NDArray[np.bool_]:
    """Return which pixels belong to a constant frame or have it in their surroundings.

    The rim of a frame, such as the black one around every fundus photograph of a camera, has stronger details than
    anything inside, so two different photographs would be nearly identical. A frame consists of pixels of the corners'
    grey level from which a straight line of such pixels leads to an edge.

    Args:
        thumbs: ``(N, THUMBNAIL, THUMBNAIL)``.

    Returns:
        The same shape; nothing of an image whose frame has less than 2 % of its pixels.
    """
    found = np.zeros(thumbs.shape, np.bool_)
    for start in range(0, len(thumbs), _PAIRS):
        some = thumbs[start : start + _PAIRS]
        level = np.median(some[:, [0, 0, -1, -1], [0, -1, 0, -1]], axis=1)
        same = np.abs(some - level[:, None, None]) <= _FRAME_LEVELS
        frame = np.zeros_like(same)
        for axis in (1, 2):
            frame |= np.logical_and.accumulate(same, axis=axis)
            frame |= np.flip(np.logical_and.accumulate(np.flip(same, axis), axis=axis), axis)
        framed = np.flatnonzero(frame.mean(axis=(1, 2)) >= _FRAME_SHARE)
        found[start + framed] = _around(frame[framed].astype(np.float32)) > 1e-3  # sums are rounded
    return found


def _hashes(thumbs: Floats) -> NDArray[np.uint64]:
    """Return the hash after each of the symmetries: ``(N, 8)``, a bit for each frequency above the median."""
    half = thumbs.reshape(len(thumbs), THUMBNAIL // 2, 2, THUMBNAIL // 2, 2).mean(axis=(2, 4))
    low, found = _frequencies(half, 9), []
    for way in SYMMETRIES:
        flat = _turn_frequencies(low, *way)[:, 1:, 1:].reshape(len(low), 64)
        found.append(np.packbits(flat > np.median(flat, axis=1, keepdims=True), axis=1).view(np.uint64))
    return np.concatenate(found, axis=1)


def _frequencies(pictures: Floats, count: int) -> Floats:
    """Return the lowest frequencies of the orthonormal cosine transform, from zero on: ``(N, count, count)``."""
    side = pictures.shape[1]
    waves = np.sqrt(2 / side) * np.cos(np.pi / side * np.arange(count)[:, None] * (np.arange(side) + 0.5))
    waves[0] *= np.sqrt(0.5)
    found: Floats = waves.astype(np.float32) @ pictures @ waves.T.astype(np.float32)
    return found


def _turn_frequencies(x: Floats, mirror: bool, upend: bool, transpose: bool) -> Floats:
    """Return the frequencies of images after :func:`turn`: reversing an axis changes the sign of every odd one."""
    signs = np.where(np.arange(x.shape[-1]) % 2, np.float32(-1), np.float32(1))
    if mirror:
        x = x * signs
    if upend:
        x = x * signs[:, None]
    return turn(x, mirror=False, upend=False, transpose=transpose)


def _correlation(x: Floats, y: Floats) -> Floats:
    """Correlate the images of P pairs: ``(P,)``."""
    x, y = (each.reshape(len(each), THUMBNAIL**2) - each.mean(axis=(1, 2))[:, None] for each in (x, y))
    found: Floats = np.einsum("pf,pf->p", x, y) / (np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1))
    return found
