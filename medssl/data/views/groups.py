"""The groups of views that a method asks for, resolved for one set of images: sizes, augmentations, what can occur.

N images, V views of a group, S side of a view.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from medssl.contracts import Augmentation, ViewSpec
from medssl.data.views.domain import list_of_noise, window_of_images
from medssl.data.views.pixels import Pixels
from medssl.data.views.render import Look
from medssl.errors import PluginError, did_you_mean

__all__ = ["Group", "resolve_groups"]


@dataclass(frozen=True)
class Group:
    """Views of one size and one augmentation.

    Attributes:
        numbers: ``(V,)`` of these views among all of a sample.
        size: S.
        augmentation: The recipe, the group's own fields laid over it.
        look: What of it can occur.
        windows: ``(N, 2)`` grey levels of the part's images that are black and white; ``None``: the whole range.
        noise: The numbers that noise is made of; ``None``: there is none.
    """

    numbers: NDArray[np.int64]
    size: int
    augmentation: Augmentation
    look: Look
    windows: NDArray[np.float64] | None
    noise: Tensor | None


def resolve_groups(
    spec: ViewSpec, augmentation: Augmentation, image_size: int, pixels: Pixels, seed: int
) -> Iterator[Group]:
    """Resolve the groups of a specification.

    Raises:
        PluginError: A group replaces what is no field of an augmentation, or has views of no pixel.
    """
    first, noise = 0, None
    known = [field.name for field in dataclasses.fields(Augmentation)]
    for group in spec.groups:
        for name in group.augment:
            if name not in known:
                raise PluginError(
                    f"a group of views replaces {name!r}, which no augmentation has.{did_you_mean(name, known)} "
                    f"The method's views say so. An augmentation has: {', '.join(known)}."
                )
        size = round(image_size * group.scale)
        if size < 2 or group.count < 1:
            raise PluginError(
                f"a group of views has {group.count} views of {size} pixels. The method asks for {group.scale} of the "
                f"image size {image_size}. Take a larger image size or another method."
            )
        try:
            own = dataclasses.replace(augmentation, **group.augment)
        except ValueError as error:
            raise PluginError(f"a group of views cannot be drawn. {error} The method's views say so.") from error
        if own.noise > 0 and noise is None:
            noise = list_of_noise(seed, max(round(image_size * each.scale) for each in spec.groups), pixels.device)
        yield Group(
            numbers=np.arange(first, first + group.count),
            size=size,
            augmentation=own,
            look=Look.of(own, size, pixels.channels),
            windows=window_of_images(pixels, own.window, jitter=own.window_jitter > 0),
            noise=noise if own.noise > 0 else None,
        )
        first += group.count
