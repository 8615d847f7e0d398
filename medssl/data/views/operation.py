"""What an operation on views is: a class with its fields of a recipe, its random draws and what it does to pixels.

An operation is one file in :mod:`medssl.data.views.ops` and one line in its list. The engine asks it what it needs and
knows no operation by name, but for the crop and the symmetry, which decide where the pixels of a view come from.

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
    """What the views of one group are made from and made for.

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
    """What :meth:`Operation.apply` is told of M views.

    Attributes:
        parameters: All that was drawn for them, on the host.
        table: ``(R, M)`` float32 the operation's own weights, on the device.
        busy: ``(R,)`` which of these rows are more than neutral, on the host; a row that is not need not be looked at.
        oriented: Whether the views have been turned and mirrored already.
    """

    parameters: Parameters
    table: Tensor
    busy: Bools
    oriented: bool


class Operation(ABC):
    """One operation, with what one recipe says of it, for one group of views.

    There are two ways to give each view of a batch its own strength. Either the operation changes the views that drew
    it and no other (:func:`change_some`). Or all views go through it with weights of their own, which for some are
    neutral: then it lays out a table of weights, and where all of a piece are neutral the work is skipped.

    Nothing may be read back from the device: which views an operation changes is known on the host.

    Attributes:
        fields: Its fields of :class:`medssl.contracts.Augmentation`, in their order there.
        switch: The field that turns it off when it is zero; those after it mean nothing then. ``None``: each field
            stands for itself.
        columns: Of the table of uniform numbers. Never change them: every published number depends on them. A new
            operation takes the next ones.
        coloured: Whether it changes nothing on a grey image, and is left out there.
    """

    fields: ClassVar[tuple[str, ...]]
    switch: ClassVar[str | None] = None
    columns: ClassVar[slice]
    coloured: ClassVar[bool] = False

    @classmethod
    @abstractmethod
    def of(cls, augmentation: Augmentation, scene: Scene) -> Self | None:
        """Read the operation off a recipe; ``None`` where it cannot change a pixel."""

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
        """Return ``(M,)``: which views need it. No piece of a batch holds views that do and views that do not.

        ``None``: they may be mixed.
        """
        del parameters
        return None

    def likeness(self, parameters: Parameters) -> tuple[NDArray[Any], ...]:
        """Return keys ``(M,)`` by which views are sorted, the first being the weightiest: equal ones share work."""
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
    """Replace in place some views of a batch by what a function makes of them, given a copy and their numbers.

    Args:
        x: ``(M, C, S, S)``.
        wanted: ``(M,)`` which views.
        change: From ``(m, C, S, S)``, which it may change, and ``(m,)`` to ``(m, C, S, S)``.
    """
    rows = np.flatnonzero(wanted)
    if len(rows):
        index = to_device(rows, x.device)
        x.index_copy_(0, index, change(x.index_select(0, index), rows))
    return x


def send(values: Floats, like: Tensor) -> Tensor:
    """Send numbers of the host as float32 to where a tensor is."""
    return to_device(values.astype(np.float32), like.device)
