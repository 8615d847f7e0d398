"""The truth of the samples in a run's arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["truth"]


def truth(arrays: Mapping[str, np.ndarray], part: str = "") -> np.ndarray:
    """Return the truth of the samples, as the target encodes it; runs before there were targets call it ``label``.

    Args:
        arrays: Of ``predictions.npz``, ``diagnostics.npz`` or ``features.npz``.
        part: Of ``features.npz``: ``train``, ``val`` or ``test``.

    Raises:
        KeyError: It is not there.
    """
    prefix = f"{part}_" if part else ""
    found: np.ndarray[Any, Any] = arrays[f"{prefix}y" if f"{prefix}y" in arrays else f"{prefix}label"]
    return found
