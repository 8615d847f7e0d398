"""The base class of operations on views: it has the recipe fields, the random draws and the change of pixels.

An operation is one file in :mod:`medssl.data.views.ops` and one line in its list. The engine asks each operation what
it needs. It only uses the draws of three operations directly, because crop, rotation and symmetry determine the source
of a view's pixels.

Shapes in this file: M views, C channels, S side of a view, P uniform numbers for each view, R rows of a table of
weights.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from medssl.contracts import Augmentation
from medssl.data.views.pixels import Pixels, to_device

__all__ = ["Bools", "Floats", "Ints", "Operation", "Parameters", "Piece", "Scene", "change_some", "send", "take"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

#: The parameters drawn for M views, by name: arrays with M rows. An operation that cannot occur has no entry.
Parameters = Mapping[str, NDArray[Any]]


def take(parameters: Parameters, rows: Ints | slice) -> Parameters:
    """Return the parameters of some views, in the order given."""
    return {name: values[rows] for name, values in parameters.items()}


@dataclass(frozen=True)
class Scene:
    """The images and the size of one group of views.

    Attributes:
        pixels: The part's images.
        size: S.
        largest: The largest S of all groups.
        seed: Of the run.
        shared: Values that operations make once for all groups, by the name of the operation.
    """

    pixels: Pixels
    size: int
    largest: int
    seed: int
    shared: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Piece:
    """The input of :meth:`Operation.apply` for M views.

    Attributes:
        parameters: All parameters drawn for them, on the host.
        table: ``(R, M)`` float32 the operation's own weights, on the device.
        busy: ``(R,)`` which of these rows are not neutral for every view, on the host.
        oriented: Whether the views have been turned and mirrored already.
    """

    parameters: Parameters
    table: Tensor
    busy: Bools
    oriented: bool


class Operation(ABC):
    """One operation with the settings of one recipe, for one group of views.

    There are two ways to give each view of a batch its own strength. In the first, the operation changes only the views
    that drew it (:func:`change_some`). In the second, all views go through it, each with its own weights from a table.
    Neutral weights leave a view unchanged, and ``apply`` skips pieces of a batch that are entirely neutral. Nothing may
    be read back from the device, because the host knows which views an operation changes.

    Attributes:
        fields: Its fields of :class:`medssl.contracts.Augmentation`, in the order of that class.
        switch: The field that turns the operation off if it is zero; the fields after it then have no effect. ``None``:
            there is no such field.
        columns: Its columns of the table of uniform numbers. Never change them: every published number depends on them.
            A new operation takes the next free ones.
        coloured: Whether it needs three channels; it is not applied to other images.
    """

    fields: ClassVar[tuple[str, ...]]
    switch: ClassVar[str | None] = None
    columns: ClassVar[slice]
    coloured: ClassVar[bool] = False

    @classmethod
    def of(cls, augmentation: Augmentation, scene: Scene) -> Self | None:
        """Create the operation from a recipe; ``None`` if it cannot change any pixel.

        An operation that needs more than the values of its fields replaces this function.
        """
        values: list[Any] = [getattr(augmentation, name) for name in cls.fields]
        return cls(*values) if cls.switch is None or getattr(augmentation, cls.switch) > 0 else None

    @abstractmethod
    def draw(self, u: Floats, places: Ints) -> Parameters:
        """Turn uniform numbers into parameters; views without the operation get neutral parameters.

        Args:
            u: ``(P, M)`` in [0, 1): the operation's own columns.
            places: ``(M,)`` which image each view shows.
        """

    def apply(self, x: Tensor, piece: Piece) -> Tensor:
        """Change views ``(M, C, S, S)`` float32, possibly in place; each channel of the batch is contiguous.

        All operations work in [0, 1]; only the window gets grey levels.
        """
        return x

    def table(self, parameters: Parameters) -> NDArray[Any]:
        """Return the weights ``(R, M)`` of these views."""
        return np.empty((0, len(parameters["mirror"])))

    def neutral(self) -> Floats:
        """Return the weights ``(R,)`` of a view that does not change."""
        return np.empty(0)

    def possible(self) -> Bools:
        """Return ``(R,)``: which weights can differ from neutral."""
        return np.ones(len(self.neutral()), dtype=bool)

    def needed(self, parameters: Parameters) -> Bools | None:
        """Return ``(M,)``: which views need the operation; the other views go into separate pieces.

        ``None``: a piece may contain both.
        """
        return None

    def likeness(self, parameters: Parameters) -> tuple[NDArray[Any], ...]:
        """Return keys ``(M,)`` to sort views by, the most important first: views with equal keys share work."""
        return ()

    def last_column(self) -> int:
        """Return the required number of columns of the table of uniform numbers."""
        return int(self.columns.stop)

    @classmethod
    def described(cls, augmentation: Augmentation) -> dict[str, Any]:
        """Return the fields that describe the operation in this recipe, with their values; empty if it is off."""
        values = {name: getattr(augmentation, name) for name in cls.fields}
        if cls.switch is not None and not values[cls.switch]:
            values = {name: values[name] for name in cls.fields[: cls.fields.index(cls.switch)]}
        return {name: value for name, value in values.items() if value}


def change_some(x: Tensor, wanted: Bools, change: Callable[[Tensor, Ints], Tensor]) -> Tensor:
    """Change some views of a batch.

    Args:
        x: ``(M, C, S, S)``; changed in place.
        wanted: ``(M,)`` which views to change.
        change: Function that gets a copy ``(m, C, S, S)`` of these views and their numbers ``(m,)`` and returns the new
            views.

    Returns:
        ``x``.
    """
    rows = np.flatnonzero(wanted)
    if len(rows):
        index = to_device(rows, x.device)
        x.index_copy_(0, index, change(x.index_select(0, index), rows))
    return x


def send(values: Floats, like: Tensor) -> Tensor:
    """Copy numbers from the host, as float32, to the device of a tensor."""
    return to_device(values.astype(np.float32), like.device)
