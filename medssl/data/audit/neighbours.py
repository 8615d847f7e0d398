"""Candidates for similar images among many, without comparing all pairs.

Locality-sensitive hashing with hyperplanes (Charikar 2002, see :mod:`medssl.data.audit.looks`): the signs of some
projections of an image name a bucket in each of several tables, and similar images often have the same signs. An image
is also looked up in the buckets whose signs differ in the projections nearest to zero, which are the signs most likely
to differ (query-directed multi-probe: Lv et al. 2007, "Multi-probe LSH", section 4.3).

N images, M queries, T tables, B signs of a bucket.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["FLIPPED", "Buckets", "Positions", "count_ones"]

FLIPPED = 4  #: projections nearest to zero whose signs may differ: 16 buckets are looked up
_AT_ONCE = 1 << 20  # candidates; one bucket may hold more
_PROBES = (np.arange(1 << FLIPPED)[:, None] >> np.arange(FLIPPED) & 1).T  # (4, 16)
_ONES = np.array([number.bit_count() for number in range(1 << 16)], np.uint8)

Positions = NDArray[np.int64]


class Buckets:
    """N images in the buckets of T tables."""

    def __init__(self, keys: NDArray[np.uint32], bits: int) -> None:
        """Sort the images.

        Args:
            keys: ``(T, N)``, see :meth:`keys`.
            bits: B.
        """
        self._order = [np.argsort(table).astype(np.int32) for table in keys]
        self._starts = [np.append(0, np.bincount(table, minlength=1 << bits).cumsum()) for table in keys]

    @staticmethod
    def keys(sums: NDArray[np.float32]) -> NDArray[np.uint32]:
        """Return the buckets ``(T, N)`` of images with these projections ``(N, T, B)``."""
        found: NDArray[np.uint32] = ((sums > 0) @ (1 << np.arange(sums.shape[2]))).T.astype(np.uint32)
        return found

    def near(self, sums: NDArray[np.float32]) -> Iterator[tuple[Positions, NDArray[np.int32]]]:
        """Yield candidates, about a million at a time: positions of queries, and positions of images.

        Args:
            sums: Projections of the queries, ``(M, T, B)``.
        """
        flips = 1 << np.argpartition(np.abs(sums), FLIPPED, axis=2)[..., :FLIPPED]
        for table, keys in enumerate(self.keys(sums)):
            looked_up = (keys[:, None] ^ (flips[:, table] @ _PROBES)).reshape(-1)
            first = self._starts[table][looked_up]
            sizes = self._starts[table][looked_up + 1] - first
            held = np.flatnonzero(sizes)
            parts = sizes[held].cumsum() // _AT_ONCE
            for some in np.split(held, np.flatnonzero(np.diff(parts)) + 1):
                size = sizes[some]
                before = np.repeat(first[some] - (size.cumsum() - size), size)
                yield np.repeat(some // _PROBES.shape[1], size), self._order[table][before + np.arange(len(before))]


def count_ones(x: NDArray[Any]) -> NDArray[np.uint8]:
    """Count the bits of 64-bit numbers that are set."""
    if hasattr(np, "bitwise_count"):  # numpy 2
        return np.asarray(np.bitwise_count(x))
    return np.asarray(_ONES[x[..., None].view(np.uint16)].sum(axis=-1, dtype=np.uint8))
