"""Rotation of the crop by any angle.

Shapes in this file: M views, C channels, S side of a view.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from medssl.data.views.operation import Floats, Ints, Operation, Parameters, Piece, send
from medssl.data.views.ops.symmetry import symmetries

__all__ = ["Rotation", "rotate", "rotations"]


@dataclass(frozen=True)
class Rotation(Operation):
    """Every crop is rotated. Draws ``angle``: ``(M,)`` in radians.

    Attributes:
        most: The largest angle in degrees.
    """

    fields = ("rotation",)
    switch = "rotation"
    columns = slice(36, 37)

    most: float

    def draw(self, u: Floats, places: Ints) -> Parameters:
        """Draw angles uniformly on both sides of zero."""
        return {"angle": np.deg2rad((2 * u[0] - 1) * self.most)}

    def apply(self, x: Tensor, piece: Piece) -> Tensor:
        """Rotate the crops, whether or not they were turned and mirrored before."""
        maps = rotations(piece.parameters)
        if piece.oriented:
            turn = symmetries(piece.parameters)
            maps = turn.transpose(0, 2, 1) @ maps @ turn
        return rotate(x, send(maps, x)).transpose(0, 1).contiguous().transpose(0, 1)


def rotations(parameters: Parameters) -> Floats:
    """Return the maps ``(M, 2, 2)`` from a rotated crop to the crop itself.

    The rotated crop shows the largest box with the crop's shape that fits into it at that angle, so no corner is empty.
    The angle is measured in the image, so a circle stays a circle for every aspect ratio of the crop.
    """
    height, width = (parameters[side].astype(np.float64) for side in ("height", "width"))
    if "angle" not in parameters:
        return np.broadcast_to(np.eye(2), (len(height), 2, 2))
    cosine, sine = np.cos(parameters["angle"]), np.sin(parameters["angle"])
    across, down = np.abs(cosine) + np.abs(sine) * np.array([height / width, width / height])
    shrink = 1.0 / np.maximum(across, down)
    rows = [[cosine, -sine * height / width], [sine * width / height, cosine]]
    return np.asarray(shrink[:, None, None] * np.moveaxis(np.array(rows), 2, 0))


def rotate(x: Tensor, maps: Tensor) -> Tensor:
    """Resample each image through a linear map of its coordinates, bilinearly.

    Args:
        x: ``(M, C, S, S)`` floating point.
        maps: ``(M, 2, 2)`` from coordinates (x, y) in the result to those in the image, both from -1 to 1 between
            edges. They must stay inside the image.

    Returns:
        A new tensor ``(M, C, S, S)``.
    """
    size = x.shape[3]
    step = (torch.arange(size, device=x.device) + 0.5).mul_(2 / size).sub_(1)
    across, down = (maps[:, None, None, :, axis] for axis in (0, 1))  # (M, 1, 1, 2)
    places = torch.addcmul(step[None, :, None, None] * down, step[None, None, :, None], across)  # (M, S, S, 2)
    return F.grid_sample(x, places, mode="bilinear", padding_mode="border", align_corners=False)
