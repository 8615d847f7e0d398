"""Derives one seed from several numbers and words."""

from __future__ import annotations

import hashlib

__all__ = ["derive_seed"]


def derive_seed(*parts: int | str) -> int:
    """Combine numbers and words into a seed that is the same on every machine and in every process.

    Sums and products of a seed and an epoch collide, and generators with adjacent seeds are correlated; a hash avoids
    both. All bits of the result are usable, although PyTorch's CPU generator reads only the lower 32.

    Args:
        *parts: For instance ``(seed, "order", epoch)``; the word separates different uses of the same epoch.

    Returns:
        An integer in ``[0, 2**63)``.
    """
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1
