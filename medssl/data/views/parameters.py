"""From uniform random numbers to the parameters of each view: what to crop, which way to turn it, how to colour it.

All of it happens in numpy on the host, for a batch of views at once: it costs microseconds, and no later stage has to
read anything back from a device. An operation that was not drawn gets its neutral parameter (factor 1, shift 0).

Shapes in this file: M views (all views of all samples of a batch), P uniforms for each.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medssl.contracts import Augmentation

__all__ = [
    "BRIGHTNESS",
    "COLUMNS",
    "CONTRAST",
    "HUE",
    "NOISE_STARTS",
    "SATURATION",
    "Boxes",
    "Parameters",
    "blur_range",
    "columns",
    "crop_boxes",
    "draw",
]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

#: Numbers of the colour operations in :attr:`Parameters.order`, as torchvision's ColorJitter counts them.
BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)
_ORDERS = np.array(list(itertools.permutations(range(4))))

_TRIES = 10  # as torchvision's RandomResizedCrop, which draws them one by one
_REFERENCE_SIDE = 224  # pixels of the view that Augmentation.blur_sigma speaks of
NOISE_STARTS = 2**20  # places where the noise of a view may begin

#: Columns of the table of uniforms. Never reorder: every published number depends on it.
_AREA = slice(0, _TRIES)
_RATIO = slice(_TRIES, 2 * _TRIES)
_TOP, _LEFT, _FLIP_H, _FLIP_V, _ROTATE, _TURNS, _JITTER, _ORDER = range(2 * _TRIES, 2 * _TRIES + 8)
_FACTORS = slice(_ORDER + 1, _ORDER + 5)  # brightness, contrast, saturation, hue
_GREY, _BLUR, _SIGMA, _SOLARISE = range(_ORDER + 5, _ORDER + 9)
_ANGLE, _WINDOW, _LEVEL, _WIDTH, _GAMMA, _EXPONENT, _STAIN = range(_SOLARISE + 1, _SOLARISE + 8)
_STAINS = slice(_STAIN + 1, _STAIN + 7)  # three factors, three shifts
_NOISE, _NOISE_SIGMA, _NOISE_START = range(_STAIN + 7, _STAIN + 10)
COLUMNS = _NOISE_START + 1


@dataclass(frozen=True, slots=True)
class Boxes:
    """Crops in whole source pixels, each ``(M,)``: rows ``top .. top + height - 1``, columns likewise."""

    top: Ints
    left: Ints
    height: Ints
    width: Ints

    def __getitem__(self, rows: Ints | slice) -> Boxes:
        """Return some of them."""
        return Boxes(self.top[rows], self.left[rows], self.height[rows], self.width[rows])


@dataclass(frozen=True, slots=True)
class Parameters:
    """What happens to each of M views. Every array has M rows.

    Attributes:
        boxes: The crop, in source pixels.
        mirror: Whether columns are reversed; comes before ``transpose``.
        upend: Whether rows are reversed; comes before ``transpose``.
        transpose: Whether rows and columns change places.
        jitter: Whether the colour operations are applied.
        order: ``(M, 4)`` colour operations in the order of their application.
        factors: ``(M, 4)`` brightness, contrast and saturation factors (1: unchanged) and hue shift in turns (0:
            unchanged).
        grey: Whether colour is taken away.
        sigma: Standard deviation of the blur in pixels of this view; 0: none.
        solarise: Threshold in [0, 1] at and above which pixels are inverted; 2: none.
        angle: By which the crop is rotated, in radians. It and what follows are ``None`` where no view has any.
        window: ``(M, 2)`` grey levels that become black and white.
        gamma: Exponent; 1: none.
        stain: ``(M, 2, 3)`` factors on the three stains (1: unchanged) and what is added to them (0: nothing).
        noise: Standard deviation; 0: none.
        noise_start: Where its numbers begin in a list of ``NOISE_STARTS`` and some more.
    """

    boxes: Boxes
    mirror: Bools
    upend: Bools
    transpose: Bools
    jitter: Bools
    order: Ints
    factors: Floats
    grey: Bools
    sigma: Floats
    solarise: Floats
    angle: Floats | None = None
    window: Floats | None = None
    gamma: Floats | None = None
    stain: Floats | None = None
    noise: Floats | None = None
    noise_start: Ints | None = None

    def __len__(self) -> int:
        """M."""
        return len(self.mirror)

    def take(self, rows: Ints | slice) -> Parameters:
        """Return the parameters of some views, in the order given."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        chosen: dict[str, Any] = {name: value[rows] for name, value in values.items() if value is not None}
        return Parameters(**chosen)


def columns(augmentation: Augmentation) -> int:
    """Return how many uniform numbers a view of this recipe needs: the last columns serve rare operations alone."""
    a = augmentation
    return COLUMNS if max(a.rotation, a.window_jitter, a.gamma, a.stain, a.noise) > 0 else _SOLARISE + 1


def draw(
    uniforms: Floats, shapes: Ints, augmentation: Augmentation, size: int, windows: Floats | None = None
) -> Parameters:
    """Turn uniform random numbers into the parameters of views.

    Args:
        uniforms: ``(M, COLUMNS)`` in [0, 1); :func:`columns` of them are enough.
        shapes: ``(M, 2)`` heights and widths of the source images in pixels.
        augmentation: The recipe.
        size: Side of the views in pixels.
        windows: ``(M, 2)`` grey levels of the images that are black and white before any jitter; ``None``: the whole
            range of their type, and no jitter.
    """
    u, a = uniforms.T, augmentation
    rotated = u[_ROTATE] < a.rotate90
    turns = np.where(rotated, 1 + np.floor(u[_TURNS] * 3), 0)  # quarter turns against the clock
    jitter = u[_JITTER] < a.jitter
    low, high = blur_range(a, size)
    return Parameters(
        boxes=crop_boxes(uniforms, shapes, a.crop_scale, a.crop_ratio),
        # A quarter turn reverses columns, then swaps rows and columns; three turns reverse rows instead.
        mirror=(u[_FLIP_H] < a.horizontal_flip) ^ (turns == 1) ^ (turns == 2),
        upend=(u[_FLIP_V] < a.vertical_flip) ^ (turns == 2) ^ (turns == 3),
        transpose=(turns == 1) | (turns == 3),
        jitter=jitter,
        order=_ORDERS[(u[_ORDER] * len(_ORDERS)).astype(np.int64)],
        factors=_jitter_factors(uniforms[:, _FACTORS], jitter, a),
        grey=u[_GREY] < a.greyscale,
        sigma=np.where(u[_BLUR] < a.blur, low + u[_SIGMA] * (high - low), 0.0),
        solarise=np.where(u[_SOLARISE] < a.solarise, a.solarise_threshold, 2.0),
        angle=np.deg2rad((2 * u[_ANGLE] - 1) * a.rotation) if a.rotation > 0 else None,
        window=_jitter_windows(u, windows, a) if windows is not None and a.window_jitter > 0 else windows,
        gamma=_exponents(u, a) if a.gamma > 0 else None,
        stain=_stain_changes(u, a) if a.stain > 0 else None,
        noise=_noise_sigmas(u, a) if a.noise > 0 else None,
        noise_start=(u[_NOISE_START] * NOISE_STARTS).astype(np.int64) if a.noise > 0 else None,
    )


def blur_range(augmentation: Augmentation, size: int) -> tuple[float, float]:
    """Return the smallest and largest standard deviation of the blur in pixels of a view of this size."""
    low, high = augmentation.blur_sigma
    return low * size / _REFERENCE_SIDE, high * size / _REFERENCE_SIDE


def crop_boxes(uniforms: Floats, shapes: Ints, scale: Sequence[float], ratio: Sequence[float]) -> Boxes:
    """Draw random crops by torchvision's rule, without a loop.

    Ten pairs of area (uniform) and aspect ratio (log-uniform) are drawn at once; the first that fits into the image is
    taken. Where none fits: the largest centred crop whose ratio is in the range. A crop always lies inside.

    Args:
        uniforms: ``(M, COLUMNS)`` in [0, 1).
        shapes: ``(M, 2)`` heights and widths of the images in pixels.
        scale: Range of the crop's area as a fraction of the image's.
        ratio: Range of the crop's width over its height.
    """
    height, width = shapes.T
    area = (height * width)[:, None] * (scale[0] + uniforms[:, _AREA] * (scale[1] - scale[0]))  # (M, tries)
    shape = np.exp(np.log(ratio[0]) + uniforms[:, _RATIO] * (np.log(ratio[1]) - np.log(ratio[0])))
    widths = np.rint(np.sqrt(area * shape)).astype(np.int64)
    heights = np.rint(np.sqrt(area / shape)).astype(np.int64)
    fits = (widths > 0) & (widths <= width[:, None]) & (heights > 0) & (heights <= height[:, None])
    first = fits.argmax(1)[:, None]
    fallback_height, fallback_width = _largest(height, width, ratio)
    found = fits.any(1)
    box_height = np.where(found, np.take_along_axis(heights, first, 1)[:, 0], fallback_height)
    box_width = np.where(found, np.take_along_axis(widths, first, 1)[:, 0], fallback_width)
    free_rows, free_columns = height - box_height, width - box_width
    top = np.where(found, np.floor(uniforms[:, _TOP] * (free_rows + 1)), free_rows // 2)
    left = np.where(found, np.floor(uniforms[:, _LEFT] * (free_columns + 1)), free_columns // 2)
    return Boxes(top.astype(np.int64), left.astype(np.int64), box_height, box_width)


def _largest(height: Ints, width: Ints, ratio: Sequence[float]) -> tuple[Ints, Ints]:
    """Return heights and widths of the largest crops that keep the ratio in its range."""
    too_tall, too_wide = width / height < ratio[0], width / height > ratio[1]
    rows = np.where(too_tall, np.rint(width / ratio[0]), height).astype(np.int64)
    columns = np.where(too_wide, np.rint(height * ratio[1]), width).astype(np.int64)
    return np.clip(rows, 1, height), np.clip(columns, 1, width)


def _jitter_factors(uniforms: Floats, jitter: Bools, augmentation: Augmentation) -> Floats:
    """Return ``(M, 4)`` factors and hue shifts; neutral ones where the jitter was not drawn."""
    strength = np.array([augmentation.brightness, augmentation.contrast, augmentation.saturation, augmentation.hue])
    centre = np.array([1.0, 1.0, 1.0, 0.0])
    low = np.where(centre > 0, np.maximum(0.0, 1.0 - strength), -strength)
    drawn = low + uniforms * (centre + strength - low)
    return np.where(jitter[:, None], drawn, centre)


def _jitter_windows(u: Floats, windows: Floats, augmentation: Augmentation) -> Floats:
    """Move and resize windows ``(M, 2)`` where that was drawn; u has one row per column of the table."""
    wanted = u[_WINDOW] < augmentation.window_jitter
    width = windows[:, 1] - windows[:, 0]
    middle = windows.mean(1) + np.where(wanted, (2 * u[_LEVEL] - 1) * augmentation.window_level, 0.0) * width
    half = width / 2 * np.where(wanted, 1 + (2 * u[_WIDTH] - 1) * augmentation.window_width, 1.0)
    return np.stack([middle - half, middle + half], 1)


def _exponents(u: Floats, augmentation: Augmentation) -> Floats:
    """Return exponents ``(M,)``, drawn log-uniformly; 1 where none was drawn."""
    low, high = np.log(augmentation.gamma_range)
    drawn: Floats = np.exp(low + u[_EXPONENT] * (high - low))
    return np.where(u[_GAMMA] < augmentation.gamma, drawn, 1.0)


def _stain_changes(u: Floats, augmentation: Augmentation) -> Floats:
    """Return ``(M, 2, 3)`` factors and shifts; neutral ones where no change was drawn."""
    strength = np.array([augmentation.stain_scale, augmentation.stain_shift])[:, None]
    drawn = (2 * u[_STAINS].T.reshape(-1, 2, 3) - 1) * strength
    wanted = (u[_STAIN] < augmentation.stain)[:, None, None]
    changes: Floats = np.where(wanted, drawn, 0.0) + np.array([[1.0], [0.0]])
    return changes


def _noise_sigmas(u: Floats, augmentation: Augmentation) -> Floats:
    """Return standard deviations ``(M,)``; 0 where none was drawn."""
    low, high = augmentation.noise_sigma
    return np.where(u[_NOISE] < augmentation.noise, low + u[_NOISE_SIGMA] * (high - low), 0.0)
