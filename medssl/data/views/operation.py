"""What an operation on views is: a class that knows its fields of a recipe, its random draws and its change of pixels.

An operation is one file in :mod:`medssl.data.views.ops` and one line in its list. The engine asks each operation what
it needs. It knows only three by what they draw: crop, rotation and symmetry decide where a view's pixels come from.

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

#: What was drawn for M views, by name: arrays with M rows. An operation that cannot occur has no entry.
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
        shared: What operations make once for all groups, by the name of the operation.
    """

    pixels: Pixels
    size: int
    largest: int
    seed: int
    shared: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Piece:
    """What :meth:`Operation.apply` knows about M views.

    Attributes:
        parameters: All that was drawn for them, on the host.
        table: ``(R, M)`` float32 the operation's own weights, on the device.
        busy: ``(R,)`` which of these rows are not neutral for every view, on the host.
        oriented: Whether the views have been turned and mirrored already.
    """

    parameters: Parameters
    table: Tensor
    busy: Bools
    oriented: bool


class Operation(ABC):
    """One operation as one recipe sets it, for one group of views.

    There are two ways to give each view of a batch its own strength. In the first, the operation changes only the views
    that drew it (:func:`change_some`). In the second, all views go through it, each with its own weights from a table;
    neutral weights leave a view as it is, and ``apply`` skips the work where a whole piece of a batch is neutral.

    Nothing may be read back from the device: the host knows which views an operation changes.

    Attributes:
        fields: Its fields of :class:`medssl.contracts.Augmentation`, in their order there.
        switch: The field that turns the operation off when it is zero; the fields after it mean nothing then. ``None``:
            there is no such field.
        columns: Its columns of the table of uniform numbers. Never change them: every published number depends on them.
            A new operation takes the next free ones.
        coloured: Whether it needs three channels; grey images go without it.
    """

    fields: ClassVar[tuple[str, ...]]
    switch: ClassVar[str | None] = None
    columns: ClassVar[slice]
    coloured: ClassVar[bool] = False

    @classmethod
    @abstractmethod
    def of(cls, augmentation: Augmentation, scene: Scene) -> Self | None:
        """Read the operation from a recipe; ``None`` where it cannot change a pixel."""

    @abstractmethod
    def draw(self, u: Floats, places: Ints) -> Parameters:
        """Turn uniform numbers into parameters; neutral ones for the views that do not draw the operation.

        Args:
            u: ``(P, M)`` in [0, 1): the operation's own columns.
            places: ``(M,)`` which image each view shows.
        """

    def apply(self, x: Tensor, piece: Piece) -> Tensor:
        """Change views ``(M, C, S, S)`` float32, each channel of the batch in one piece; may change them in place.

        All operations work in [0, 1]; only the window is given grey levels.
        """
        del piece
        return x

    def table(self, parameters: Parameters) -> NDArray[Any]:
        """Return the weights ``(R, M)`` of these views."""
        return np.empty((0, len(parameters["mirror"])))

    def neutral(self) -> Floats:
        """Return the weights ``(R,)`` of a view that stays as it is."""
        return np.empty(0)

    def possible(self) -> Bools:
        """Return ``(R,)``: which weights can be anything but neutral."""
        return np.ones(len(self.neutral()), dtype=bool)

    def needed(self, parameters: Parameters) -> Bools | None:
        """Return ``(M,)``: which views need the operation, so that the others are put into pieces of their own.

        ``None``: one piece may hold both.
        """
        del parameters
        return None

    def likeness(self, parameters: Parameters) -> tuple[NDArray[Any], ...]:
        """Return keys ``(M,)`` to sort views by, the most important first: views with equal keys share work."""
        del parameters
        return ()

    def last_column(self) -> int:
        """Return how many columns of the table of uniform numbers must be looked up."""
        return int(self.columns.stop)

    @classmethod
    def described(cls, augmentation: Augmentation) -> dict[str, Any]:
        """Return the fields that say what the operation does in this recipe, and their values; none if it is off."""
        values = {name: getattr(augmentation, name) for name in cls.fields}
        if cls.switch is not None and not values[cls.switch]:
            values = {name: values[name] for name in cls.fields[: cls.fields.index(cls.switch)]}
        return {name: value for name, value in values.items() if value}


def change_some(x: Tensor, wanted: Bools, change: Callable[[Tensor, Ints], Tensor]) -> Tensor:
    """Change some views of a batch.

    Args:
        x: ``(M, C, S, S)``; changed in place.
        wanted: ``(M,)`` which views.
        change: Given a copy ``(m, C, S, S)`` of these views and their numbers ``(m,)``, returns the new views.

    Returns:
        ``x``.
    """
    rows = np.flatnonzero(wanted)
    if len(rows):
        index = to_device(rows, x.device)
        x.index_copy_(0, index, change(x.index_select(0, index), rows))
    return x


def send(values: Floats, like: Tensor) -> Tensor:
    """Send numbers of the host as float32 to where a tensor is."""
    return to_device(values.astype(np.float32), like.device)
