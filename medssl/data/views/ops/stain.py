"""Stain augmentation for histology: converts a colour image to amounts of dyes and changes these amounts.

A dye absorbs each colour in proportion to its amount, so in optical density (minus the natural logarithm of the
transmitted light) amounts add up, and a matrix of the dyes' colours takes amounts to densities and back. The change of
the amounts and both conversions are one affine map of densities.

Sources: Ruifrok & Johnston 2001, Quantification of histochemical staining by color deconvolution; Tellez et al. 2018,
10.1109/TMI.2018.2820199, who change the amounts.

Shapes in this file: M views, H x W pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from medssl.data.views.operation import Floats, Ints, Operation, Parameters, Piece, change_some, send

__all__ = ["HED", "Stain", "mixing", "restain"]

#: Optical density of red, green and blue for a unit of haematoxylin, eosin and DAB (Ruifrok & Johnston, table 1).
HED = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]])

_DARKEST = 1 / 255  # the darkest level above black in 8 bits; the density of black would be infinite
_NEUTRAL = np.array([[1.0], [0.0]])


@dataclass(frozen=True)
class Stain(Operation):
    """Draws ``stain``: ``(M, 2, 3)`` factors on the three stains (1: unchanged) and added amounts (0: nothing).

    Attributes:
        probability: Of a change.
        scale: Largest difference of a factor from 1.
        shift: Largest added amount, as optical density.
    """

    fields = ("stain", "stain_scale", "stain_shift")
    switch = "stain"
    columns = slice(42, 49)
    coloured = True

    probability: float
    scale: float
    shift: float

    def draw(self, u: Floats, places: Ints) -> Parameters:
        """Draw three factors and three shifts."""
        drawn = (2 * u[1:].T.reshape(-1, 2, 3) - 1) * np.array([self.scale, self.shift])[:, None]
        wanted = (u[0] < self.probability)[:, None, None]
        return {"stain": np.where(wanted, drawn, 0.0) + _NEUTRAL}

    def apply(self, x: Tensor, piece: Piece) -> Tensor:
        """Change the stains of the views that drew it."""
        stain = piece.parameters["stain"]
        changed = (stain != _NEUTRAL).any((1, 2))
        return change_some(x, changed, lambda some, rows: restain(some, send(mixing(stain[rows]), some)))


def mixing(changes: Floats) -> Floats:
    """Turn changes of amounts into maps of densities.

    Args:
        changes: ``(M, 2, 3)`` factors on haematoxylin, eosin and DAB, and the amounts added to them.

    Returns:
        ``(M, 4, 3)``: three rows for the original densities of red, green and blue, and one row that is added.
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
