"""Operations that only some kinds of images ask for: rotation by any angle, windows, gamma, stains, noise.

Each is done for the views that drew it and for no other; where a recipe has none of them, none of this runs. Which
views those are is known on the host, so nothing is read back from the device.

Shapes in this file: M views, C channels, S side of a view.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medssl.data.views.geometry import orientation, rotation
from medssl.data.views.ops.stain import mixing, restain
from medssl.data.views.parameters import NOISE_STARTS, Parameters
from medssl.data.views.pixels import Pixels, to_device
from medssl.data.views.resample import rotate, turn_each

__all__ = ["add_noise_", "apply_window", "list_of_noise", "transform", "window_of_images"]

Floats = NDArray[np.float64]


def window_of_images(pixels: Pixels, window: tuple[float, float] | None, *, jitter: bool = False) -> Floats | None:
    """Return the grey levels ``(n, 2)`` of a part's images that become black and white before any jitter.

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


def apply_window(planes: Tensor, window: Floats) -> Tensor:
    """Bring grey levels to [0, 1], cutting off what is beyond the window.

    Args:
        planes: ``(C, M, S, S)``; changed in place.
        window: ``(M, 2)``.
    """
    low, width = window[:, 0], window[:, 1] - window[:, 0]
    steps = to_device(np.stack([low, 1 / width]).astype(np.float32)[..., None, None], planes.device)
    return planes.sub_(steps[0]).mul_(steps[1]).clamp_(0, 1)


def transform(x: Tensor, parameters: Parameters, *, oriented: bool) -> Tensor:
    """Rotate, and change grey levels and stains.

    Args:
        x: ``(M, C, S, S)`` in [0, 1], each channel of the batch in one piece; may be changed.
        parameters: Of these views.
        oriented: Whether they have been turned and mirrored already.

    Returns:
        ``(M, C, S, S)`` in [0, 1], in the same layout.
    """
    p = parameters
    if p.angle is not None:
        x = _rotated(x, p, oriented=oriented)
    if p.gamma is not None:
        exponent = p.gamma
        _change_some(x, exponent != 1, lambda some, rows: _power(some, exponent[rows]))
    if p.stain is not None and x.shape[1] == 3:
        stain = p.stain
        changed = (stain != [[1.0], [0.0]]).any((1, 2))
        _change_some(x, changed, lambda some, rows: restain(some, _send(mixing(stain[rows]), some)))
    return x


def list_of_noise(seed: int, side: int, device: torch.device) -> Tensor:
    """Draw the standard normal numbers that the noise of every view is a part of.

    A view takes a row of them from a place of its own, which costs a copy; two views hardly ever take the same, and
    nothing depends on the device.

    Args:
        seed: Of the run.
        side: Largest S.
        device: Where views are made.
    """
    generator = torch.Generator().manual_seed(seed % 2**63)
    return torch.randn(NOISE_STARTS + 3 * side * side, generator=generator).to(device)


def add_noise_(x: Tensor, parameters: Parameters, noise: Tensor, *, oriented: bool) -> None:
    """Add Gaussian noise and cut off what leaves [0, 1].

    Args:
        x: ``(M, C, S, S)`` in [0, 1]; changed in place.
        parameters: Of these views.
        noise: See :func:`list_of_noise`.
        oriented: See :func:`transform`.
    """
    p = parameters
    if p.noise is None or p.noise_start is None:
        return
    sigma, start = p.noise, p.noise_start

    def add(some: Tensor, rows: NDArray[np.int64]) -> Tensor:
        chosen = noise.unfold(0, some[0].numel(), 1).index_select(0, to_device(start[rows], x.device)).view(some.shape)
        if oriented:  # the noise of a view is one picture, whenever it is turned
            turns = to_device(np.stack([p.mirror[rows], p.upend[rows], p.transpose[rows]]), x.device)
            chosen = turn_each(chosen, *turns.unbind())
        return some.addcmul_(chosen, _send(sigma[rows, None, None, None], some)).clamp_(0, 1)

    _change_some(x, sigma > 0, add)


def _rotated(x: Tensor, parameters: Parameters, *, oriented: bool) -> Tensor:
    maps = rotation(parameters)
    if oriented:
        turn = orientation(parameters)
        maps = turn.transpose(0, 2, 1) @ maps @ turn
    return rotate(x, _send(maps, x)).transpose(0, 1).contiguous().transpose(0, 1)


def _change_some(x: Tensor, wanted: NDArray[np.bool_], change: Callable[[Tensor, NDArray[np.int64]], Tensor]) -> None:
    """Replace some images of a batch by what a function makes of them, given a copy and their numbers."""
    rows = np.flatnonzero(wanted)
    if len(rows):
        index = to_device(rows, x.device)
        x.index_copy_(0, index, change(x.index_select(0, index), rows))


def _power(x: Tensor, exponent: Floats) -> Tensor:
    """Raise each image to its own power; by logarithms, which torch computes several at a time."""
    return x.log_().mul_(_send(exponent[:, None, None, None], x)).exp_()


def _send(values: Floats, like: Tensor) -> Tensor:
    return to_device(values.astype(np.float32), like.device)
