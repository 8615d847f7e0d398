"""Positions of views in their images, as affine maps between coordinates.

Coordinates (x, y) run from -1 at the left and upper edge to 1 at the right and lower edge of a view, a crop or an
image. They refer to the edges of pixels, not to the centres. A view's place is found in three steps: it is a turned or
mirrored crop (:func:`~medssl.data.views.ops.symmetry.symmetries`), the crop may have been rotated
(:func:`~medssl.data.views.ops.rotation.rotations`), and it is a box of the image
(:func:`~medssl.data.views.ops.crop.placement`).

Shapes in this file: M views.
"""

from __future__ import annotations

import numpy as np

from medssl.data.views.operation import Floats, Ints, Parameters
from medssl.data.views.ops.crop import placement
from medssl.data.views.ops.rotation import rotations
from medssl.data.views.ops.symmetry import symmetries

__all__ = ["view_to_image"]


def view_to_image(parameters: Parameters, shapes: Ints) -> Floats:
    """Return the maps ``(M, 2, 3)`` from a view's (x, y, 1) to its image's (x, y).

    Args:
        parameters: Of the views.
        shapes: ``(M, 2)`` heights and widths of their images in pixels.
    """
    place = placement(parameters, shapes)
    turned = rotations(parameters) @ symmetries(parameters)
    return np.concatenate([place[:, :, :2] @ turned, place[:, :, 2:]], axis=2)
