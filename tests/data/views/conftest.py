"""Operations on their own: what a recipe draws for images of a shape."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from medssl.contracts import Augmentation
from medssl.data.views.draws import uniforms
from medssl.data.views.groups import Group
from medssl.data.views.operation import Parameters, Piece, Scene
from medssl.data.views.ops import operations_of
from medssl.data.views.pixels import Pixels

COLUMNS = 52  # of the whole table of uniform numbers


class Shapes:
    """A store that knows the shapes of its images and has none of their pixels."""

    dtype, levels = np.dtype(np.uint8), None

    def __init__(self, shapes: np.ndarray, channels: int) -> None:
        self.shapes, self.channels = shapes.astype(np.int32), channels
        self.pixels = np.zeros(channels, np.uint8)


@dataclass
class Drawn:
    """One group of views: its operations, and what they drew for each image."""

    group: Group
    p: Parameters

    def apply(self, x: torch.Tensor, kind: type, *, oriented: bool = False, **changes: np.ndarray) -> torch.Tensor:
        """Return what one operation makes of views; it may change them."""
        (operation,) = (each for each in self.group.operations if isinstance(each, kind))
        parameters = {**self.p, **changes}
        table = torch.from_numpy(operation.table(parameters).astype(np.float32))
        return operation.apply(x, Piece(parameters, table, operation.possible(), oriented))


def make_scene(count: int, shape=(100, 120), size: int = 64, channels: int = 3, seed: int = 0) -> Scene:
    """As many images of one shape as wanted."""
    pixels = Pixels(Shapes(np.tile(shape, (count, 1)), channels), np.arange(count), torch.device("cpu"), False)
    return Scene(pixels, size, size, seed)


@pytest.fixture
def scene() -> Scene:
    """Three colour images."""
    return make_scene(3)


@pytest.fixture
def nothing() -> Augmentation:
    """A recipe of crops alone."""
    return Augmentation(horizontal_flip=0, jitter=0, greyscale=0, blur=0)


@pytest.fixture
def draw(nothing):
    """Return a function that draws for as many images as wanted, with operations off that are not named."""

    def draw(count=None, recipe=nothing, *, shape=(100, 120), size=64, channels=3, seed=0, u=None, **fields) -> Drawn:
        count = len(u) if count is None else count
        scene = make_scene(count, shape, size, channels, seed)
        group = Group(np.arange(1), size, operations_of(dataclasses.replace(recipe, **fields), scene))
        table = uniforms(seed, 0, np.arange(1), np.arange(count), COLUMNS)[0] if u is None else u
        return Drawn(group, group.draw(table, np.arange(count)))

    return draw
