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

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medssl.data.store.store import Store
from medssl.tools.images import SYMMETRIES, turn

__all__ = ["PLAIN", "THUMBNAIL", "NearPair", "details", "near_frame", "near_pairs", "thumbnails"]

THUMBNAIL = 64  # of a thumbnail, in pixels
_FEW_BITS = 10  # see above
_ALIKE = 0.85  # see above
_SURROUNDINGS = 9  # side of the square whose mean is subtracted, in pixels of a thumbnail; odd, so it has a centre
PLAIN = 1.0  #: standard deviation of the details, in grey levels of 255; below it the details are only noise
_FRAME_LEVELS = 6.0  # around the grey level of the corners, out of 255; ours: the noise of JPEG in a black frame
_FRAME_SHARE = 0.02  # of the pixels; ours: a smaller frame has little weight
_BLOCK = 256  # images compared with all others at a time
_PAIRS = 1024  # pairs correlated at a time: 32 MiB
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


def near_pairs(thumbs: Floats) -> list[NearPair]:
    """Find every pair of near-duplicates among thumbnails.

    Images without details (an empty slide) have no near-duplicates.

    Args:
        thumbs: ``(N, THUMBNAIL, THUMBNAIL)``.

    Returns:
        Pairs, each once, in the order of their positions. The time grows with the square of N: 2 s of one core for
        5,000 images.
    """
    fine = details(thumbs)
    fine[near_frame(thumbs)] = 0
    frequencies = _low_frequencies(thumbs)
    kept = np.flatnonzero(fine.std(axis=(1, 2)) >= PLAIN)
    best: dict[tuple[int, int], NearPair] = {}
    for way in SYMMETRIES:
        for i, j in _candidates(frequencies[kept], _turn_frequencies(frequencies[kept], *way)):
            first, second = kept[i], kept[j]
            likeness = _correlation(fine[first], turn(fine[second], *way))
            for k in np.flatnonzero(likeness >= _ALIKE).tolist():
                pair = NearPair(int(first[k]), int(second[k]), round(float(likeness[k]), 4), any(way))
                known = best.get(pair[:2])
                if known is None or known.similarity < pair.similarity:
                    best[pair[:2]] = pair
    return sorted(best.values())


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
        frame[frame.mean(axis=(1, 2)) < _FRAME_SHARE] = False
        found[start : start + _PAIRS] = _around(frame.astype(np.float32)) > 1e-3  # sums are rounded
    return found


def _low_frequencies(thumbs: Floats) -> Floats:
    """Return the eight lowest frequencies above zero along either axis: ``(N, 8, 8)``, of thumbnails at half size."""
    half = thumbs.reshape(len(thumbs), THUMBNAIL // 2, 2, THUMBNAIL // 2, 2).mean(axis=(2, 4))
    place, frequency = np.arange(THUMBNAIL // 2) + 0.5, np.arange(1, 9)
    waves = np.cos(np.pi / (THUMBNAIL // 2) * frequency[:, None] * place).astype(np.float32)  # (8, THUMBNAIL / 2)
    found: Floats = waves @ half @ waves.T
    return found


def _turn_frequencies(x: Floats, mirror: bool, upend: bool, transpose: bool) -> Floats:
    """Return the frequencies of images after :func:`turn`: reversing an axis changes the sign of every odd one."""
    signs = np.array([-1, 1] * 4, np.float32)
    if mirror:
        x = x * signs
    if upend:
        x = x * signs[:, None]
    return turn(x, mirror=False, upend=False, transpose=transpose)


def _candidates(x: Floats, y: Floats) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield positions ``i < j`` of pairs whose hashes differ in few bits, some pairs at a time."""
    rows, columns = _signs(x), _signs(y)
    for start in range(0, len(rows), _BLOCK):
        agreement = rows[start : start + _BLOCK] @ columns[start:].T  # 64 minus twice the number of bits that differ
        i, j = np.divmod(np.flatnonzero(agreement >= 64 - 2 * _FEW_BITS), max(1, agreement.shape[1]))
        once = i < j
        i, j = i[once] + start, j[once] + start
        for few in range(0, len(i), _PAIRS):
            yield i[few : few + _PAIRS], j[few : few + _PAIRS]


def _signs(frequencies: Floats) -> Floats:
    """Return the hash as 64 numbers, 1 above the median and -1 below: their products count equal bits fast."""
    flat = frequencies.reshape(len(frequencies), 64)
    return np.where(flat > np.median(flat, axis=1, keepdims=True), np.float32(1), np.float32(-1))


def _correlation(x: Floats, y: Floats) -> Floats:
    """Correlate the images of P pairs: ``(P,)``."""
    x, y = (each.reshape(len(each), -1) - each.mean(axis=(1, 2))[:, None] for each in (x, y))
    found: Floats = np.einsum("pf,pf->p", x, y) / (np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1))
    return found
