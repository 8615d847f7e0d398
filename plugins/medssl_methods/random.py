"""The untrained encoder: the baseline that every trained one must beat.

A randomly initialised convolutional network is already a usable feature extractor; a table of self-supervised results
without it cannot say what the pre-training was worth.
"""

from __future__ import annotations

from medssl_methods._untrained import Untrained

__all__ = ["Random"]


class Random(Untrained):
    """Leaves the encoder at its random initial weights."""
