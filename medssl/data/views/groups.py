"""Resolves the groups of views of a method for one set of images: sizes, operations, tables of weights.

N images, V views of a group, M views of a batch, C channels, S side of a view, P uniform numbers for each view, R rows
of the table of weights.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from medssl.contracts import Augmentation, ViewSpec
from medssl.data.views.operation import Bools, Floats, Ints, Operation, Parameters, Piece, Scene
from medssl.data.views.ops import operations_of
from medssl.data.views.pixels import Pixels
from medssl.errors import PluginError, did_you_mean

__all__ = ["Group", "resolve_groups"]


@dataclass(frozen=True)
class Group:
    """Views of one size and one augmentation.

    Attributes:
        numbers: ``(V,)`` numbers of these views among all views of a sample.
        size: S.
        operations: The operations that can change their pixels, in the order of application.
    """

    numbers: Ints
    size: int
    operations: tuple[Operation, ...]

    @cached_property
    def columns(self) -> int:
        """P: number of uniform numbers per view; only rare operations use the last columns."""
        return max(operation.last_column() for operation in self.operations)

    def draw(self, uniforms: Floats, places: Ints) -> Parameters:
        """Turn uniform numbers into the parameters of views.

        This runs in numpy on the host, for a whole batch at once. It takes microseconds, and later stages never read
        from a device.

        Args:
            uniforms: ``(M, P)`` in [0, 1).
            places: ``(M,)`` which image each view shows.
        """
        u = uniforms.T
        found: dict[str, NDArray[Any]] = {}
        for operation in self.operations:
            found.update(operation.draw(u[operation.columns], places))
        return found

    @cached_property
    def neutral(self) -> NDArray[np.float32]:
        """The weights ``(R, 1)`` of a view that does not change."""
        return np.concatenate([operation.neutral() for operation in self.operations], dtype=np.float32)[:, None]

    @cached_property
    def possible(self) -> Bools:
        """``(R,)``: which weights can differ from neutral."""
        return np.concatenate([operation.possible() for operation in self.operations])

    @cached_property
    def _rows(self) -> list[int]:
        """How many rows of the table belong to each operation."""
        return [len(operation.neutral()) for operation in self.operations]

    def table(self, parameters: Parameters) -> NDArray[np.float32]:
        """Return the weights ``(R, M)`` of these views."""
        return np.concatenate([operation.table(parameters) for operation in self.operations], dtype=np.float32)

    def render(self, x: Tensor, parameters: Parameters, table: Tensor, busy: Bools, *, oriented: bool) -> Tensor:
        """Turn crops into views: apply all operations between resampling and normalisation.

        Args:
            x: ``(M, C, S, S)`` float32 in grey levels, see :func:`medssl.data.views.crops.planes`; changed in place.
            parameters: Of these M views.
            table: ``(R, M)`` the weights of the views, on the device.
            busy: ``(R,)`` which rows differ from neutral.
            oriented: Whether the crops have been turned and mirrored already.

        Returns:
            ``(M, C, S, S)`` in [0, 1].
        """
        start = 0
        for operation, weights in zip(self.operations, table.split(self._rows), strict=True):
            stop = start + len(weights)
            x = operation.apply(x, Piece(parameters, weights, busy[start:stop], oriented))
            start = stop
        return x


def resolve_groups(
    spec: ViewSpec, augmentation: Augmentation, image_size: int, pixels: Pixels, seed: int
) -> Iterator[Group]:
    """Resolve the groups of a specification.

    Raises:
        PluginError: A group sets an unknown augmentation field, or its views have less than one pixel.
    """
    first, shared = 0, dict[str, Tensor]()
    largest = max((round(image_size * group.scale) for group in spec.groups), default=0)
    known = [field.name for field in dataclasses.fields(Augmentation)]
    for group in spec.groups:
        for name in group.augment:
            if name not in known:
                raise PluginError(
                    f"the method sets an unknown augmentation field {name!r} in its views.{did_you_mean(name, known)} "
                    f"Correct the method's `views`. Fields of an augmentation: {', '.join(known)}."
                )
        size = round(image_size * group.scale)
        if size < 2 or group.count < 1:
            raise PluginError(
                f"a group of views has {group.count} views of {size} pixels. The method requests {group.scale} of the "
                f"image size {image_size}. Use a larger image size or another method."
            )
        try:
            own = dataclasses.replace(augmentation, **group.augment)
        except ValueError as error:
            raise PluginError(f"a group of views cannot be drawn. {error} Correct the method's `views`.") from error
        operations = operations_of(own, Scene(pixels, size, largest, seed, shared))
        yield Group(np.arange(first, first + group.count), size, operations)
        first += group.count
