"""Masks of patches: rectangles, as BEiT draws them (Bao et al. 2022, arXiv 2106.08254, algorithm 1).

N images, h x w patches of each.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["draw_masks"]

_SMALLEST, _FLATTEST = 4, 0.3  # patches in a rectangle, and its smallest ratio of sides (algorithm 1)


def draw_masks(shares: Tensor, draws: Tensor, grid: tuple[int, int]) -> Tensor:
    """Hide rectangles of patches until a share of them is hidden (BEiT, algorithm 1).

    Args:
        shares: ``(N,)`` share of the patches of each image to hide; never exceeded, but at least one patch if above 0.
        draws: ``(N, tries, 4)`` numbers in [0, 1): area, ratio of sides, and place of each rectangle.
        grid: h and w.

    Returns:
        ``(N, h, w)`` bool.
    """
    height, width = grid
    found = torch.zeros(len(shares), height, width, dtype=torch.bool)
    for mask, share, tries in zip(found, shares.tolist(), draws.tolist(), strict=True):
        wanted = max(1, int(share * height * width)) if share > 0 else 0
        for area, ratio, down, across in tries:
            left = wanted - int(mask.sum())
            if left <= 0:
                break
            size = min(left, _SMALLEST + area * max(0, left - _SMALLEST))
            sides = math.exp((2 * ratio - 1) * -math.log(_FLATTEST))
            h = min(height, max(1, round(math.sqrt(size * sides))))
            w = min(width, max(1, int(size / h)))
            top, start = int(down * (height - h + 1)), int(across * (width - w + 1))
            block = mask[top : top + h, start : start + w]
            if int((~block).sum()) <= left:
                block.fill_(True)
    return found
