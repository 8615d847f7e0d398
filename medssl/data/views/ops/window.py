"""The window: the range of grey levels that becomes black to white, for each image its own or one for all.

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
    """Grey levels are brought to [0, 1]; the window may be moved and resized from view to view.

    Draws ``window``: ``(M, 2)`` grey levels that become black and white; nothing where every image takes the whole
    range of its type.

    Attributes:
        windows: ``(N, 2)`` of the images, before any jitter; ``None``: each takes the whole range of its type.
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
        """A window that is not jittered draws nothing."""
        return super().last_column() if self.jitter > 0 else 0

    def draw(self, u: Floats, places: Ints) -> Parameters:
        """Take each image's window, moved and resized where that is drawn."""
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
        """Bring grey levels to [0, 1]."""
        return show_window(x, piece.parameters.get("window"), self.white)


def windows_of(pixels: Pixels, window: tuple[float, float] | None, *, jitter: bool = False) -> Floats | None:
    """Return the grey levels ``(N, 2)`` of a part's images that become black and white before any jitter.

    Args:
        pixels: The images.
        window: The recipe's, for all of them alike; ``None``: each image's own.
        jitter: Whether a window is needed even where it is the whole range.

    Returns:
        ``None`` where every image takes the whole range of its type.
    """
    if window is not None:
        return np.tile(np.array(window, dtype=np.float64), (len(pixels), 1))
    if pixels.levels is None and jitter:
        return np.tile([0.0, pixels.white], (len(pixels), 1))
    return pixels.levels


def show_window(x: Tensor, windows: Floats | None, white: float) -> Tensor:
    """Bring grey levels to [0, 1], cutting off what is beyond the window.

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
