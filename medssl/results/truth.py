"""The true values of the samples in a run's arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["truth"]


def truth(arrays: Mapping[str, np.ndarray], part: str = "") -> np.ndarray:
    """Return the true values as encoded by the target; earlier runs, without targets, call them ``label``.

    Args:
        arrays: Arrays of ``predictions.npz``, ``diagnostics.npz`` or ``features.npz``.
        part: Part of ``features.npz``: ``train``, ``val`` or ``test``.

    Raises:
        KeyError: They are missing.
    """
    prefix = f"{part}_" if part else ""
    found: np.ndarray[Any, Any] = arrays[f"{prefix}y" if f"{prefix}y" in arrays else f"{prefix}label"]
    return found
