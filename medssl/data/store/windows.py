"""Which grey levels of an image become black and white.

A detector of 12 bits writes files of 16: of 65,536 grey levels such an image takes the lowest 4,096, and against the
whole range of the type it is nearly black. So images of more than 8 bits are shown in a window of their own.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["own_window"]

_BEYOND = 0.5  # per cent of the pixels at either end that are cut off (nnU-Net: Isensee et al. 2021, supplement 4)


def own_window(pixels: NDArray[np.uint8] | NDArray[np.uint16]) -> tuple[float, float] | None:
    """Return the grey levels to show as black and as white; ``None`` for 8 bits, which are made to be looked at.

    It is the range without the darkest and the brightest 0.5 % of the pixels: one dead pixel, or the lead letter on a
    radiograph, must not decide the contrast. Where nearly all pixels are equal it is the whole range they take.

    Args:
        pixels: ``(H, W, C)``; the channels share one window.
    """
    if pixels.dtype == np.uint8:
        return None
    low, high = np.percentile(pixels, [_BEYOND, 100 - _BEYOND])
    if low == high:
        low, high = pixels.min(), pixels.max()
    return float(low), float(max(high, low + 1.0))
