"""One way to turn several numbers into one seed."""

from __future__ import annotations

import hashlib

__all__ = ["derive_seed"]


def derive_seed(*parts: int | str) -> int:
    """Mix numbers and words into a seed that is the same on every machine and in every process.

    Sums and products of a seed and an epoch collide, and generators with neighbouring seeds are correlated; a hash has
    neither fault. All bits of the result are usable: PyTorch's CPU generator reads the lower 32 only.

    Args:
        *parts: For instance ``(seed, "order", epoch)``; the word keeps two uses of one epoch apart.

    Returns:
        An integer in ``[0, 2**63)``.
    """
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1
