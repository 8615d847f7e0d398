"""Where views were taken: an image whose pixels are their own coordinates tells."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from medssl.contracts import HALF, Augmentation, ViewGroup, ViewSpec
from medssl.data.views import Views
from medssl.data.views import engine as module

STILL = Augmentation(crop_scale=(0.3, 0.9), horizontal_flip=0, jitter=0, greyscale=0, blur=0)
TURNS = {
    "crop": {},
    "mirrored": {"horizontal_flip": 1},
    "upended": {"vertical_flip": 1},
    "quarter turns": {"rotate90": 1},
    "rotated": {"rotation": 25},
    "everything": {"horizontal_flip": 0.5, "vertical_flip": 0.5, "rotate90": 0.75, "rotation": 180},
}
SHAPES = [(200, 260), (240, 180), (160, 330)] * 4


class Coordinates:
    """uint16 images: the red channel holds x, the green one y, from -1 at an edge to 1 at the other."""

    dtype, channels, levels = np.dtype(np.uint16), 3, None

    def __init__(self, shapes):
        self.shapes = np.array(shapes, dtype=np.int32)
        images = []
        for height, width in shapes:
            y, x = np.meshgrid((np.arange(height) + 0.5) / height, (np.arange(width) + 0.5) / width, indexing="ij")
            images.append(np.rint(np.stack([x, y, np.zeros_like(x)], 2) * 65535).astype(np.uint16).reshape(-1))
        self.pixels = np.concatenate(images)


def make(augmentation, groups=None, *, shapes=SHAPES, geometry=True):
    spec = ViewSpec(groups or ViewSpec().groups, geometry=geometry)
    rows = np.arange(len(shapes))
    return Views(Coordinates(shapes), rows, spec, augmentation, image_size=24, seed=3, device="cpu", preprocessing=HALF)


def seen(view):
    """(n, 2, S, S): the image's x and y in [-1, 1] that each pixel of a view shows."""
    return view[:, :2].double()  # normalised by 0.5 and 0.5, a grey level in [0, 1] becomes one in [-1, 1]


def mapped(geometry, size):
    """(n, 2, S, S): the image's x and y that the geometry gives for the centre of each pixel of a view."""
    centre = (torch.arange(size, dtype=torch.float64) + 0.5) / size * 2 - 1
    y, x = torch.meshgrid(centre, centre, indexing="ij")
    points = torch.stack([x, y, torch.ones_like(x)])
    return torch.einsum("nij,jhw->nihw", geometry.double(), points)


@pytest.mark.parametrize("turn", TURNS)
@pytest.mark.parametrize("way", ["in pieces", "at once"])
@pytest.mark.parametrize("shapes", [SHAPES, [(220, 250)] * 8], ids=["ragged", "even"])
def test_mapped_coordinates_are_those_seen_in_the_view(turn, way, shapes, monkeypatch):
    if way == "at once":
        monkeypatch.setattr(module, "fill_in_pieces", module.fill_at_once)
    groups = (ViewGroup(count=2), ViewGroup(count=1, scale=0.5, augment={"crop_scale": (0.05, 0.2)}))
    views = make(dataclasses.replace(STILL, **TURNS[turn]), groups, shapes=shapes)
    views.start_epoch(4)
    positions = torch.tensor([5, 0, 3, 7])
    made, geometry = views(positions), views.geometry(positions)
    assert len(made) == len(geometry) == 3
    for view, where in zip(made, geometry, strict=True):
        assert where.shape == (4, 2, 3)
        assert where.dtype == torch.float32
        size = view.shape[-1]
        difference = (seen(view) - mapped(where, size)).abs()[:, :, 1:-1, 1:-1]  # at a border the filter is cut off
        assert difference.max() < 2e-3


def test_a_method_that_does_not_ask_gets_no_geometry():
    assert make(STILL, geometry=False).geometry(torch.tensor([0])) is None


def test_a_whole_image_lies_where_it_is():
    whole = dataclasses.replace(STILL, crop_scale=(1, 1), crop_ratio=(1, 1))
    geometry = make(whole, shapes=[(30, 30)] * 2).geometry(torch.tensor([0, 1]))
    expected = torch.tensor([[1.0, 0, 0], [0, 1, 0]]).expand(2, 2, 3)
    assert all(torch.equal(where, expected) for where in geometry)


def test_a_mirrored_image_has_a_mirrored_x_axis():
    mirrored = dataclasses.replace(STILL, crop_scale=(1, 1), crop_ratio=(1, 1), horizontal_flip=1)
    geometry = make(mirrored, shapes=[(30, 30)]).geometry(torch.tensor([0]))
    assert torch.equal(geometry[0][0], torch.tensor([[-1.0, 0, 0], [0, 1, 0]]))
