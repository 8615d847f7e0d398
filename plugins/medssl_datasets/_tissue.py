"""Draws tissue that looks like H&E: the images of the dataset ``phantom``.

A class is defined by the positions, sizes and directions of nuclei. A colour histogram does not depend on the class:
the shares of nucleus, matrix and gap are drawn independently of the class, and both stains are assigned by the *rank*
of each pixel, so every class has the same distribution of colours.

Lengths are in units of 1/64 of the image's side, with the origin at its centre. Shapes: n nuclei, S x S pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

__all__ = ["CLASSES", "Stain", "draw"]

Array = np.ndarray
SIDE = 64.0
CLUTTER = 6.0  # mean number of nuclei in the field outside all structures


@dataclass(frozen=True, kw_only=True)
class Stain:
    """Section, stain and light of one patient's slide: absorbances per channel (3,), light (3,), and magnification."""

    haematoxylin: Array
    eosin: Array
    light: Array
    zoom: float

    @classmethod
    def random(cls, rng: np.random.Generator) -> Stain:
        """Vary the stain vectors of Ruifrok & Johnston (2001, Anal. Quant. Cytol. Histol. 23:291) for one patient."""
        haematoxylin = np.array([0.65, 0.70, 0.29]) * np.exp(rng.normal(0.1, 0.1) + rng.normal(0, 0.06, 3))
        eosin = np.array([0.10, 0.95, 0.25]) * np.exp(rng.normal(-0.6, 0.12) + rng.normal(0, 0.1, 3))
        return cls(
            haematoxylin=haematoxylin.astype(np.float32),
            eosin=eosin.astype(np.float32),
            light=rng.uniform(0.9, 1.0, 3).astype(np.float32),
            zoom=float(np.exp(rng.uniform(-0.1, 0.1))),
        )


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Nuclei: centre (n, 2), angle, length over width, size (n,); the direction of fibres; lumens (x, y, radius)."""

    centre: Array
    angle: Array
    aspect: Array
    size: Array
    grain: float | None = None
    lumens: Array | None = None


def _lattice(rng: np.random.Generator, step: float, jitter: float) -> Array:
    """Points (n, 2) spread evenly: a turned square lattice, each point moved by up to ``jitter`` steps."""
    ticks = np.arange(-SIDE, SIDE + 1, step)
    points = np.stack(np.meshgrid(ticks, ticks), -1).reshape(-1, 2)
    points += rng.uniform(-jitter, jitter, points.shape) * step
    turn = rng.uniform(0, np.pi)
    points = points @ np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    inside: Array = points[(np.abs(points) < 0.75 * SIDE).all(1)]
    return inside


def _gland(rng: np.random.Generator) -> Layout:
    """Rings of nuclei around a pale lumen."""
    middle = _lattice(rng, 40, 0.18)
    radius = rng.uniform(13, 17, len(middle))
    count = (2 * np.pi * radius / 6.0).astype(int)
    ring = np.repeat(np.arange(len(middle)), count)  # (n,)
    position = np.arange(len(ring)) - np.repeat(np.cumsum(count) - count, count)
    angle = 2 * np.pi * position / count[ring] + rng.normal(0, 0.08, len(ring))
    squash = rng.uniform(0.8, 1.25, len(middle))[ring]
    offset = np.stack([squash * np.cos(angle), np.sin(angle) / squash], 1) * radius[ring, None]
    return Layout(
        centre=middle[ring] + offset + rng.normal(0, 0.5, offset.shape),
        angle=angle,
        aspect=rng.uniform(1.0, 1.5, len(ring)),
        size=rng.uniform(0.8, 1.2, len(ring)),
        lumens=np.column_stack([middle, radius]),
    )


def _stroma(rng: np.random.Generator) -> Layout:
    """Spindle nuclei and fibres, all in one direction."""
    centre = _lattice(rng, 10, 0.4)
    n, grain = len(centre), rng.uniform(0, np.pi)
    angle = grain + rng.normal(0, 0.15, n)
    return Layout(
        centre=centre, angle=angle, aspect=rng.uniform(3.0, 6.0, n), size=rng.uniform(0.8, 1.2, n), grain=float(grain)
    )


def _lymphoid(rng: np.random.Generator) -> Layout:
    """Small round nuclei, similar and evenly spread."""
    centre = _lattice(rng, 4.5, 0.3)
    n = len(centre)
    return Layout(
        centre=centre, angle=rng.uniform(0, np.pi, n), aspect=rng.uniform(1.0, 1.3, n), size=rng.uniform(0.85, 1.15, n)
    )


def _tumour(rng: np.random.Generator) -> Layout:
    """Few large nuclei, which differ in size and shape."""
    centre = _lattice(rng, 20, 0.25)
    n = len(centre)
    return Layout(
        centre=centre,
        angle=rng.uniform(0, np.pi, n),
        aspect=rng.uniform(1.0, 1.6, n),
        size=rng.uniform(0.7, 1.6, n),
    )


CLASSES: dict[str, Callable[[np.random.Generator], Layout]] = {
    "gland": _gland,
    "stroma": _stroma,
    "lymphoid": _lymphoid,
    "tumour": _tumour,
}


def _waves(rng: np.random.Generator, ticks: Array, length: float, angle: float, spread: float, count: int) -> Array:
    """Sum plane waves of about one wavelength into smooth noise (S, S) of unit variance; spread pi is isotropic."""
    heading = angle + spread * rng.uniform(-1, 1, count)
    number = 2 * np.pi / (length * np.exp(rng.uniform(-0.5, 0.5, count)))
    phase = rng.uniform(0, 2 * np.pi, count)
    along_x = np.exp(1j * ticks[:, None] * (number * np.cos(heading)))  # (S, count)
    along_y = np.exp(1j * (ticks[:, None] * (number * np.sin(heading)) + phase))
    waves: Array = np.real(along_y @ along_x.T).astype(np.float32)
    return waves * np.float32(np.sqrt(2 / count))


def _rank(values: Array) -> Array:
    """Replace each value by its rank, scaled to [0, 1]."""
    ranks = np.empty(values.size, np.float32)
    ranks[np.argsort(values, axis=None)] = np.linspace(0, 1, values.size, dtype=np.float32)
    return ranks.reshape(values.shape)


def _step(values: Array, at: float, width: float) -> Array:
    """Rise smoothly from 0 to 1 around ``at``."""
    risen: Array = 1 / (1 + np.exp((at - values) / width))
    return risen


def _nearness(layout: Layout, ticks: Array) -> Array:
    """Minus the distance to the nearest nucleus in units of its radius (S, S); only a window around each is visited."""
    side, pitch = len(ticks), float(ticks[1] - ticks[0])
    spacing = side * pitch / np.sqrt(max(1, len(layout.centre)))
    reach = float(np.clip(1.5 * spacing, 5, 14))  # large enough for the share of nuclei in draw()
    half = int(np.ceil(reach / pitch))
    corner = np.round((layout.centre - ticks[0]) / pitch).astype(int)
    window = np.arange(-half, half + 1)
    column, row = corner[:, :1] + window, corner[:, 1:] + window  # (n, w)
    dx = (ticks[0] + column * pitch - layout.centre[:, :1]).astype(np.float32)[:, None, :]
    dy = (ticks[0] + row * pitch - layout.centre[:, 1:]).astype(np.float32)[:, :, None]
    cos, sin = (f(layout.angle).astype(np.float32)[:, None, None] for f in (np.cos, np.sin))
    length = (layout.size * np.sqrt(layout.aspect)).astype(np.float32)[:, None, None]
    width = (layout.size / np.sqrt(layout.aspect)).astype(np.float32)[:, None, None]
    distance = ((dx * cos + dy * sin) / length) ** 2 + ((dy * cos - dx * sin) / width) ** 2  # (n, w, w)
    inside = ((row >= 0) & (row < side))[:, :, None] & ((column >= 0) & (column < side))[:, None, :]
    pixel = row[:, :, None] * side + column[:, None, :]
    field = np.full(side * side, 2 * reach**2, np.float32)
    np.minimum.at(field, pixel[inside], distance[inside])
    return -np.sqrt(field).reshape(side, side)


def _with_clutter(layout: Layout, rng: np.random.Generator, reach: float) -> Layout:
    """Add stray nuclei, and leave out the nuclei outside the field."""
    n = rng.poisson(CLUTTER)
    centre = np.concatenate([layout.centre, rng.uniform(-SIDE / 2, SIDE / 2, (n, 2))])
    seen = (np.abs(centre) < reach).all(1)
    return Layout(
        centre=centre[seen],
        angle=np.concatenate([layout.angle, rng.uniform(0, np.pi, n)])[seen],
        aspect=np.concatenate([layout.aspect, rng.uniform(1.0, 2.5, n)])[seen],
        size=np.concatenate([layout.size, rng.uniform(0.7, 1.4, n)])[seen],
        grain=layout.grain,
        lumens=layout.lumens,
    )


def _matrix(layout: Layout, rng: np.random.Generator, ticks: Array) -> Array:
    """The matrix between the nuclei (S, S), as a density: fibres or clouds, and zero in a lumen."""
    if layout.grain is not None:
        return _waves(rng, ticks, 10, layout.grain + np.pi / 2, 0.2, 10)
    clouds = _waves(rng, ticks, 12, 0, np.pi, 10)
    if layout.lumens is None:
        return clouds
    x, y, radius = (column.astype(np.float32)[:, None, None] for column in layout.lumens.T)
    distance = np.sqrt((ticks[None, None, :] - x) ** 2 + (ticks[None, :, None] - y) ** 2) / radius  # (m, S, S)
    return clouds - 2.5 * (1 - _step(distance.min(0), 0.5, 0.12))


def draw(kind: str, stain: Stain, rng: np.random.Generator, size: int, noise: float) -> Array:
    """Draw one image.

    Args:
        kind: A name of ``CLASSES``.
        stain: The patient's stain.
        rng: Random numbers for everything else.
        size: S, pixels.
        noise: Standard deviation of the sensor noise, as a fraction of white.

    Returns:
        ``(S, S, 3)`` uint8.
    """
    zoom = stain.zoom * np.exp(rng.uniform(-0.15, 0.15))
    ticks = (((np.arange(size) + 0.5) / size - 0.5) * SIDE / zoom).astype(np.float32)
    layout = _with_clutter(CLASSES[kind](rng), rng, float(ticks[-1]) + 4)
    nearness = _nearness(layout, ticks) + 0.2 * _waves(rng, ticks, 6, 0, np.pi, 6)
    share, gap = rng.uniform(0.18, 0.30), rng.uniform(0.08, 0.25)
    nuclei = _rank(nearness)
    between = nuclei < 1 - share
    matrix = _matrix(layout, rng, ticks)
    level = np.interp(matrix, np.sort(matrix[between]), np.linspace(0, 1, between.sum())).astype(np.float32)
    dark = _step(nuclei, 1 - share, rng.uniform(0.02, 0.06))
    pink = (1 - dark) * (0.25 + _step(level, gap, 0.08) * (0.5 + 0.25 * level)) + 0.6 * dark
    density = dark[..., None] * stain.haematoxylin * rng.uniform(0.9, 1.1) + pink[..., None] * stain.eosin
    light = stain.light * np.exp(-density)  # Beer-Lambert
    grain = np.float32(noise) * rng.standard_normal((size, size, 4), dtype=np.float32)
    image: Array = np.clip((light + grain[..., :1] + 0.5 * grain[..., 1:]) * 255 + 0.5, 0, 255).astype(np.uint8)
    return image
