"""The untrained encoder: a baseline that every trained encoder must beat.

A randomly initialised convolutional network is already a usable feature extractor. Without this baseline, a table of
self-supervised results cannot show the benefit of the pre-training.
"""

from __future__ import annotations

from medssl_methods._untrained import Untrained

__all__ = ["Random"]


class Random(Untrained):
    """Keeps the encoder at its random initial weights."""
