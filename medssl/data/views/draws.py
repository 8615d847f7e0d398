"""Counter-based random numbers: a table of uniform numbers from which all views are drawn.

The table has one row of uniforms per (seed, epoch, view, sample) and is never stored. Philox maps a counter and a key
to random bits without any state, so any row can be computed alone. A view does not depend on batch, order, device,
worker or resume, and a dataset of a million images needs no more memory than a small one.

Source: Salmon et al. 2011, Parallel random numbers: as easy as 1, 2, 3 (Philox4x32-10).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["philox", "uniforms"]

_ROUNDS = 10
_MULTIPLIERS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_KEY_STEPS = 0x9E3779B9, 0xBB67AE85  # golden ratio and square root of three, as in the paper
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)


def philox(counter: tuple[NDArray[np.uint64], ...], key: tuple[int, int]) -> tuple[NDArray[np.uint64], ...]:
    """Return four random 32-bit words for each counter.

    Args:
        counter: Four arrays that broadcast together, of 32-bit words stored in uint64.
        key: Two 32-bit words.

    Returns:
        Four arrays of 32-bit words stored in uint64.
    """
    a, b, c, d = counter
    first, second = key
    for _ in range(_ROUNDS):
        x, y = a * _MULTIPLIERS[0], c * _MULTIPLIERS[1]
        a, b, c, d = (y >> _HALF) ^ b ^ np.uint64(first), y & _LOW, (x >> _HALF) ^ d ^ np.uint64(second), x & _LOW
        first, second = (first + _KEY_STEPS[0]) & 0xFFFFFFFF, (second + _KEY_STEPS[1]) & 0xFFFFFFFF
    return a, b, c, d


def uniforms(
    seed: int,
    epoch: int | NDArray[np.integer],
    views: NDArray[np.integer],
    samples: NDArray[np.integer],
    columns: int,
) -> NDArray[np.float64]:
    """Look up rows of the table of uniform random numbers.

    Args:
        seed: Any integer; taken modulo 2**64.
        epoch: From 0, below 2**32; or ``(n,)``, one for each sample.
        views: ``(V,)`` numbers of the views.
        samples: ``(n,)`` numbers of the samples, below 2**32.
        columns: P, the number of uniform numbers per view.

    Returns:
        ``(V, n, P)`` in ``[0, 1)``, multiples of 2**-24 (a float32 holds them exactly).
    """
    blocks = -(-columns // 4)
    counter = (
        np.arange(blocks, dtype=np.uint64),
        views.astype(np.uint64)[:, None, None],
        samples.astype(np.uint64)[:, None],
        np.asarray(epoch, dtype=np.uint64).reshape(-1, 1),
    )
    words = philox(counter, (seed & 0xFFFFFFFF, (seed >> 32) & 0xFFFFFFFF))
    table = np.stack(np.broadcast_arrays(*words), axis=-1).reshape(len(views), len(samples), 4 * blocks)
    return (table[..., :columns] >> np.uint64(8)).astype(np.float64) * 2.0**-24
