"""Where in its image each view was taken, as affine maps between coordinates.

Coordinates (x, y) run from -1 at the left and upper edge to 1 at the right and lower one, of a view, a crop or an image
alike; edges, not centres of pixels. A view's place is found in three steps: it is a turned or mirrored crop
(:func:`orientation`), the crop may have been rotated (:func:`rotation`), and it is a box of the image
(:func:`placement`).

Shapes in this file: M views.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from medssl.data.views.parameters import Boxes, Parameters
from medssl.tools.images import SYMMETRIES, turn

__all__ = ["orientation", "placement", "rotation", "view_to_image"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def view_to_image(parameters: Parameters, shapes: Ints) -> Floats:
    """Return the maps ``(M, 2, 3)`` from a view's (x, y, 1) to its image's (x, y).

    Args:
        parameters: Of the views.
        shapes: ``(M, 2)`` heights and widths of their images in pixels.
    """
    place = placement(parameters.boxes, shapes)
    turned = rotation(parameters) @ orientation(parameters)
    return np.concatenate([place[:, :, :2] @ turned, place[:, :, 2:]], axis=2)


def orientation(parameters: Parameters) -> Floats:
    """Return the maps ``(M, 2, 2)`` from a view to its crop before it was turned and mirrored."""
    turned: Floats = _MAPS[parameters.mirror * 1 + parameters.upend * 2 + parameters.transpose * 4]
    return turned


def _map(mirror: bool, upend: bool, transpose: bool) -> Floats:
    """Return ``(2, 2)``: what a symmetry does to coordinates, read off a picture of 2 x 2 pixels that shows them."""
    pixels = turn(np.stack(np.meshgrid([-1.0, 1.0], [-1.0, 1.0])), mirror, upend, transpose)  # (x or y, row, column)
    step: Floats = np.stack([pixels[:, 0, 1] - pixels[:, 0, 0], pixels[:, 1, 0] - pixels[:, 0, 0]], axis=1) / 2
    return step


_MAPS = np.stack([_map(*symmetry) for symmetry in SYMMETRIES])


def rotation(parameters: Parameters) -> Floats:
    """Return the maps ``(M, 2, 2)`` from a rotated crop to the crop itself.

    The rotated crop shows the largest box of the crop's own shape that fits into it at that angle, so that no corner
    is empty. The angle is one of the image: a circle there is rotated, whatever the crop's ratio.
    """
    if parameters.angle is None:
        return np.broadcast_to(np.eye(2), (len(parameters), 2, 2))
    height, width = (side.astype(np.float64) for side in (parameters.boxes.height, parameters.boxes.width))
    cosine, sine = np.cos(parameters.angle), np.sin(parameters.angle)
    across, down = np.abs(cosine) + np.abs(sine) * np.array([height / width, width / height])
    shrink = 1.0 / np.maximum(across, down)
    rows = [[cosine, -sine * height / width], [sine * width / height, cosine]]
    matrix: Floats = shrink[:, None, None] * np.moveaxis(np.array(rows), 2, 0)
    return matrix


def placement(boxes: Boxes, shapes: Ints) -> Floats:
    """Return the maps ``(M, 2, 3)`` from a crop's (x, y, 1) to its image's (x, y)."""
    height, width = shapes.T
    scale_x, scale_y = boxes.width / width, boxes.height / height
    shift_x, shift_y = scale_x + 2 * boxes.left / width - 1, scale_y + 2 * boxes.top / height - 1
    nothing = np.zeros_like(scale_x)
    rows = [[scale_x, nothing, shift_x], [nothing, scale_y, shift_y]]
    return np.moveaxis(np.array(rows), 2, 0)
