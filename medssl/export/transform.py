"""One image as a trained encoder takes it, for a data loader of the user's own.

S side length of an image in pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from medssl.contracts import Preprocessing, Readers
from medssl.data.store.decoding import Decoded, reduce_pixels
from medssl.data.store.store import Store
from medssl.data.views import PlainViews
from medssl.data.views.normalisation import input_channels
from medssl.errors import DataError
from medssl.export.images import ImageLike, pixels_of

__all__ = ["Transform", "require_channels"]


@dataclass(frozen=True)
class Transform:
    """From one image to ``(3, S, S)`` float32 on the CPU, exactly as a run and :func:`medssl.embed` do it.

    Attributes:
        image_size: S.
        preprocessing: How the encoder expects images.
        window: Grey levels that are shown as black and white; ``None``: an image of 16 bits has a window of its own.
        readers: Readers of image files; ``None``: all installed ones.
        in_channels: Channels that the encoder takes; a grey image has three equal ones.
    """

    image_size: int
    preprocessing: Preprocessing
    window: tuple[float, float] | None = None
    readers: Readers | None = None
    in_channels: int = 3

    def __call__(self, image: ImageLike) -> Tensor:
        """Read, resize and normalise one image.

        Args:
            image: A file, a Pillow image, or an array ``(H, W)`` or ``(H, W, C)``.

        Raises:
            DataError: It cannot be read, or is not an image.
        """
        limit = 2 * self.image_size  # as in the store
        decoded = reduce_pixels(pixels_of(image, limit, self.readers), limit)
        require_channels(decoded.pixels.shape[2], self.in_channels)
        views = PlainViews(
            _store(decoded),
            [0],
            image_size=self.image_size,
            device="cpu",
            preprocessing=self.preprocessing,
            window=self.window,
        )
        view: Tensor = views(torch.tensor([0]))[0].contiguous()
        return view


def require_channels(channels: int, wanted: int) -> None:
    """Check that an encoder can take images.

    Args:
        channels: Of the images.
        wanted: Channels that the encoder takes.

    Raises:
        DataError: It cannot.
    """
    if input_channels(channels) != wanted:
        raise DataError(
            f"the encoder takes images of {wanted} channels, but these have {channels}. Give images of the kind "
            "that it was trained on."
        )


def _store(image: Decoded) -> Store:
    """Hold one image in memory as a store does on disk."""
    pixels = image.pixels
    return Store(
        ids=("",),
        skipped=(),
        key="",
        dtype=pixels.dtype,
        channels=pixels.shape[2],
        shapes=np.array([pixels.shape[:2]], np.int32),
        levels=None if image.window is None else np.array([image.window], np.float64),
        limit=0,
        reduced=image.reduced,
        built_seconds=0.0,
        reused=False,
        pixels=pixels.reshape(-1),
    )
