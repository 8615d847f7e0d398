"""Stains of histology: a colour image as amounts of dyes, and these amounts changed.

A dye absorbs each colour in proportion to its amount, so in optical density (minus the natural logarithm of the
transmitted light) amounts add up, and a matrix of the dyes' colours takes amounts to densities and back. The change of
the amounts and both conversions are one affine map of densities.

Sources: Ruifrok & Johnston 2001, Quantification of histochemical staining by color deconvolution; Tellez et al. 2018,
10.1109/TMI.2018.2820199, who change the amounts.

Shapes in this file: M views, H x W pixels.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["HED", "mixing", "restain"]

#: Optical density of red, green and blue for a unit of haematoxylin, eosin and DAB (Ruifrok & Johnston, table 1).
HED = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]])

_DARKEST = 1 / 255  # an 8-bit image knows nothing between this and black, whose density would be infinite


def mixing(changes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn changes of amounts into maps of densities.

    Args:
        changes: ``(M, 2, 3)`` factors on haematoxylin, eosin and DAB, and what is added to them.

    Returns:
        ``(M, 4, 3)``: three rows for the densities of red, green and blue before, and one that is added.
    """
    factor, shift = changes[:, :1], changes[:, 1:]
    return np.concatenate([np.linalg.inv(HED) * factor @ HED, shift @ HED], axis=1)


def restain(x: Tensor, maps: Tensor) -> Tensor:
    """Change the stains of each image.

    Args:
        x: ``(M, 3, H, W)`` in [0, 1].
        maps: ``(M, 4, 3)`` of :func:`mixing`.

    Returns:
        A new tensor of the same shape, in [0, 1].
    """
    light = x.clamp_min(_DARKEST).log_()  # minus the density
    weights = maps[..., None, None].unbind(1)  # four of (M, 3, 1, 1)
    result = light[:, :1] * weights[0] - weights[3]
    result.addcmul_(light[:, 1:2], weights[1]).addcmul_(light[:, 2:], weights[2])
    return torch.exp(result, out=result).clamp_(0, 1)
