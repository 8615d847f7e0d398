"""The window: the range of grey levels from black to white, per image or the same for all images.

Shapes in this file: M views, N images, C channels, S side of a view.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from torch import Tensor

from medssl.contracts import Augmentation
from medssl.data.views.operation import Floats, Ints, Operation, Parameters, Piece, Scene
from medssl.data.views.pixels import Pixels, to_device

__all__ = ["Window", "show_window", "windows_of"]


@dataclass(frozen=True)
class Window(Operation):
    """Maps grey levels to [0, 1]; the window may be moved and resized for each view.

    Draws ``window``: ``(M, 2)`` grey levels that become black and white; nothing if every image uses the whole range of
    its type.

    Attributes:
        windows: ``(N, 2)`` of the images, before any jitter; ``None``: each uses the whole range of its type.
        white: The type's largest grey level.
        jitter: Probability that the window is moved and resized.
        level: Largest move, as a fraction of the window's width.
        width: Largest change of the width, as a fraction of it.
    """

    fields = ("window", "window_jitter", "window_level", "window_width")
    switch = "window_jitter"
    columns = slice(37, 40)

    windows: Floats | None
    white: float
    jitter: float
    level: float
    width: float

    @classmethod
    def of(cls, augmentation: Augmentation, scene: Scene) -> Self:
        """Read it from a recipe; every view has one."""
        a = augmentation
        windows = windows_of(scene.pixels, a.window, jitter=a.window_jitter > 0)
        return cls(windows, scene.pixels.white, a.window_jitter, a.window_level, a.window_width)

    def last_column(self) -> int:
        """Return the required number of columns; without jitter none are needed."""
        return super().last_column() if self.jitter > 0 else 0

    def draw(self, u: Floats, places: Ints) -> Parameters:
        """Return each image's window, moved and resized for the views that drew the jitter."""
        if self.windows is None:
            return {}
        windows = self.windows[places]
        if self.jitter == 0:
            return {"window": windows}
        wanted = u[0] < self.jitter
        width = windows[:, 1] - windows[:, 0]
        middle = windows.mean(1) + np.where(wanted, (2 * u[1] - 1) * self.level, 0.0) * width
        half = width / 2 * np.where(wanted, 1 + (2 * u[2] - 1) * self.width, 1.0)
        return {"window": np.stack([middle - half, middle + half], 1)}

    def apply(self, x: Tensor, piece: Piece) -> Tensor:
        """Map grey levels to [0, 1]."""
        return show_window(x, piece.parameters.get("window"), self.white)


def windows_of(pixels: Pixels, window: tuple[float, float] | None, *, jitter: bool = False) -> Floats | None:
    """Return the grey levels ``(N, 2)`` of a part's images that become black and white before any jitter.

    Args:
        pixels: The images.
        window: The recipe's window for all images; ``None``: each image has its own.
        jitter: Whether a window is needed even if it is the whole range.

    Returns:
        ``None`` if every image uses the whole range of its type.
    """
    if window is not None:
        return np.tile(np.array(window, dtype=np.float64), (len(pixels), 1))
    if pixels.levels is None and jitter:
        return np.tile([0.0, pixels.white], (len(pixels), 1))
    return pixels.levels


def show_window(x: Tensor, windows: Floats | None, white: float) -> Tensor:
    """Map grey levels to [0, 1] and clip values outside the window.

    Args:
        x: ``(M, C, S, S)`` float32; changed in place.
        windows: ``(M, 2)``; ``None``: from 0 to ``white``.
        white: The type's largest grey level.
    """
    if windows is None:
        return x.mul_(1 / white)
    low, width = windows[:, 0], windows[:, 1] - windows[:, 0]
    steps = to_device(np.stack([low, 1 / width]).astype(np.float32)[..., None, None, None], x.device)
    return x.sub_(steps[0]).mul_(steps[1]).clamp_(0, 1)
