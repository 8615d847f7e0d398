"""What datasets hand over: images, paths and texts."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from medssl.contracts.crossing.values import word

__all__ = ["image_problems", "path_problems", "text_problems"]


def image_problems(pixels: object) -> list[str]:
    """Check the result of ``read``: ``(H, W, C)``, uint8 or uint16."""
    wanted = "an image is (H, W, C), uint8 or uint16"
    if not isinstance(pixels, np.ndarray):
        return [f"the result must be an array, but is {word(pixels)}; {wanted}"]
    right = pixels.dtype.newbyteorder("=") in (np.dtype(np.uint8), np.dtype(np.uint16))
    if not right or pixels.ndim != 3 or not pixels.size:
        return [f"the result is an array of shape {pixels.shape} and type {pixels.dtype}; {wanted}"]
    return []


def path_problems(path: object) -> list[str]:
    """Check the result of ``path``: a Path, or ``None``."""
    right = path is None or isinstance(path, Path)
    return [] if right else [f"the result must be a Path or None, but is {word(path)}"]


def text_problems(text: object) -> list[str]:
    """Check the result of ``fingerprint``: a text, or ``None``."""
    right = text is None or isinstance(text, str)
    return [] if right else [f"the result must be a text or None, but is {word(text)}"]
