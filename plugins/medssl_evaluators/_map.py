"""Projects unit-length features on their principal axes: the start of two-dimensional maps."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["principal_axes"]


def principal_axes(x: Tensor, components: int) -> NDArray[Any]:
    """Scale features to unit length, centre them, and rotate them to their first principal axes.

    The entry with the largest absolute value of each axis is positive, so equal features always give equal signs.

    Args:
        x: ``(N, F)``.
        components: Number of axes; if the features have fewer than two, the missing ones are zero.

    Returns:
        ``(N, max(2, min(N, F, components)))`` float32.
    """
    unit = F.normalize(x.detach().cpu().double(), dim=1)
    u, s, vt = torch.linalg.svd(unit - unit.mean(dim=0), full_matrices=False)
    largest = vt.gather(1, vt.abs().argmax(dim=1, keepdim=True))[:, 0]
    placed = (u * s * largest.sign())[:, :components]
    missing = max(0, 2 - placed.shape[1])
    return np.ascontiguousarray(F.pad(placed, (0, missing)).float().numpy())
