"""A key of 32 bytes for the appearance of an image: re-encoded duplicates have almost the same key.

The key consists of the signs of 256 sums over the details of the thumbnail (:mod:`medssl.data.audit.perceptual`). Each
sum uses random signs. The share of bits in which two keys differ grows with the angle between the details (random
hyperplanes: Charikar 2002, "Similarity estimation techniques from rounding algorithms", section 3). Unlike a thumbnail,
a key has too little information to reconstruct a picture, so it may be in a file that leaves the hospital.

Two images count as near-duplicates if their keys differ in at most 30 of 256 bits, for one of the eight combinations of
mirroring and right-angle rotation. Measured on real images (32 px views): re-encoded JPEGs of quality 75 differ in at
most 2 bits (radiographs, lung histology), 7 (breast ultrasound) and 27 (blood cells, the smallest images). The closest
two images of different patients differ in 46 of 17 million pairs of chest radiographs and in 36 of 8 million pairs of
blood cells: none of these pairs counts as a near-duplicate. An image that was stored in fewer than 64 x 64 pixels may
be missed.

N images.
"""

from __future__ import annotations

import hashlib
from functools import cache

import numpy as np
from numpy.typing import NDArray

from medssl.data.audit.perceptual import PLAIN, THUMBNAIL, details
from medssl.tools.images import SYMMETRIES, turn

__all__ = ["LENGTH", "MOST_PAIRS", "Keys", "look_keys", "seen_looks"]

LENGTH = 32  #: bytes of a key
MOST_PAIRS = 200_000_000  #: about one minute on one core
_FEW_BITS = 30  # see above
_BLOCK = 512  # images compared with all others at a time

Keys = NDArray[np.uint8]


def look_keys(thumbs: NDArray[np.float32], way: int = 0) -> Keys:
    """Compute the keys of thumbnails.

    Args:
        thumbs: ``(N, 64, 64)``, see :func:`medssl.data.audit.perceptual.thumbnails`.
        way: Which of the eight symmetries (:data:`medssl.tools.images.SYMMETRIES`) to apply first; 0 applies none.

    Returns:
        ``(N, 32)``; zero for an image without details (an empty slide), because all such images look alike.
    """
    fine = details(thumbs)
    shown = fine.std(axis=(1, 2)) >= PLAIN
    sums = turn(fine, *SYMMETRIES[way]).reshape(len(thumbs), -1) @ _signs().T
    keys: Keys = np.packbits(sums > 0, axis=1)
    keys[~shown] = 0
    return keys


def seen_looks(thumbs: NDArray[np.float32], known: Keys) -> NDArray[np.bool_]:
    """Return which images look like an image with a known key: ``(N,)``.

    Args:
        thumbs: ``(N, 64, 64)``.
        known: ``(M, 32)``, none of them zero. N times M should be at most :data:`MOST_PAIRS`.
    """
    found = np.zeros(len(thumbs), np.bool_)
    if not len(known):
        return found
    columns = _as_signs(known).T
    for way in range(8):
        keys = look_keys(thumbs, way)
        left = np.flatnonzero(~found & keys.any(axis=1))
        for start in range(0, len(left), _BLOCK):
            rows = left[start : start + _BLOCK]
            agreement = _as_signs(keys[rows]) @ columns  # 256 minus twice the number of bits that differ
            found[rows] = agreement.max(axis=1) >= 8 * LENGTH - 2 * _FEW_BITS
    return found


@cache
def _signs() -> NDArray[np.float32]:
    """Return the random signs ``(256, 64 * 64)``, from a hash function, so they do not depend on library versions."""
    stream = hashlib.shake_256(b"medssl looks 1").digest(LENGTH * THUMBNAIL * THUMBNAIL)
    return _as_signs(np.frombuffer(stream, np.uint8)).reshape(8 * LENGTH, THUMBNAIL * THUMBNAIL)


def _as_signs(keys: Keys) -> NDArray[np.float32]:
    return np.unpackbits(keys, axis=-1).astype(np.float32) * 2 - 1
