"""Converts views for display: pixels instead of normalised numbers, and the augmentation in words.

n images, S side of a picture in pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medssl.contracts import HALF, Augmentation, ViewSpec
from medssl.data.views.maker import Rows, ViewMaker
from medssl.data.views.ops import OPERATIONS

__all__ = ["Pixels", "Shown", "describe_augmentation", "list_values"]

Pixels = NDArray[np.uint8]


class Shown:
    """Pictures of the encoder's input.

    Args:
        maker: Makes the views; its device and preprocessing are not used here.
    """

    def __init__(self, maker: ViewMaker) -> None:
        self._maker = replace(maker, device="cpu", preprocessing=HALF)

    def plain(self, rows: Rows, side: int | None = None) -> Pixels:
        """Show images as at evaluation: ``(n, S, S, 3)``, short side resized, centre cut out.

        Args:
            rows: Of the store.
            side: S; ``None``: that of a full-size view.
        """
        maker = self._maker if side is None else replace(self._maker, image_size=side)
        return _to_pixels(maker.plain(rows)(torch.arange(len(rows))))

    def views(self, rows: Rows, spec: ViewSpec, epoch: int = 0) -> list[Pixels]:
        """Draw the random views of one epoch: an array ``(n, S, S, 3)`` per view, whose sides may differ."""
        views = self._maker.random(rows, spec)
        views.start_epoch(epoch)
        return [_to_pixels(view) for view in views(torch.arange(len(rows)))]


def _to_pixels(view: Tensor) -> Pixels:
    """Return a view ``(n, C, S, S)`` that was normalised from [0, 1] to [-1, 1] as ``(n, S, S, 3)`` uint8.

    If C is not 3, the mean of the channels is shown in grey.
    """
    if view.shape[1] != 3:
        view = view.mean(1, keepdim=True).expand(-1, 3, -1, -1)
    pixels: Pixels = (view * 127.5 + 127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()
    return np.ascontiguousarray(pixels)


def describe_augmentation(augmentation: Augmentation) -> str:
    """Name every operation that is on, with its values, in the order of their application."""
    described = [operation.described(augmentation) for operation in OPERATIONS]
    return list_values({name: value for fields in described for name, value in fields.items()})


def list_values(values: Mapping[str, Any]) -> str:
    """Write fields with their values; a non-breaking space keeps a field and its value together."""

    def words(value: Any) -> str:
        return " to ".join(f"{v:.3g}" for v in value) if isinstance(value, list | tuple) else f"{value:.3g}"

    return ", ".join(f"{key} {words(value)}".replace(" ", "\u00a0") for key, value in values.items())
