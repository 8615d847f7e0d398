"""Drawings of the maps of test features that the runs left; figure 4 of the ICIP 2023 paper.

n points, K classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape  # nosec B406 # it writes XML and parses none

import numpy as np

from medssl.contracts.targets import Classes
from medssl.errors import counted
from medssl.io.identities import names_of
from medssl.report.figures.palette import ROLES, SERIES, class_colours
from medssl.report.sections import Section
from medssl.report.words.wording import run_name
from medssl.results.directory import RunDirectory, RunResult, read_arrays
from medssl.results.pictures import read_pictures
from medssl.study.results.summary import Row

__all__ = ["HEIGHT", "SHAPES", "WIDTH", "DrawnMap", "make_maps", "map_file"]

WIDTH, HEIGHT, _EDGE = 360.0, 300.0, 10.0  # of the drawing, in its own unit
_MAY = 4  # maps of one section

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, kw_only=True)
class DrawnMap:
    """A run's map, placed in a drawing.

    Attributes:
        name: Unique in the report.
        title: Whose features.
        caption: How it was made, of how many images.
        ids: n private names of samples.
        label: n class numbers.
        said: n class numbers that an evaluator predicted; empty where that is not known.
        evaluator: Which one.
        x: n places from the left, 0 to :data:`WIDTH`.
        y: n places from above, 0 to :data:`HEIGHT`.
        classes: K names.
    """

    name: str
    title: str
    caption: str
    ids: tuple[str, ...]
    label: tuple[int, ...]
    said: tuple[int, ...]
    evaluator: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    classes: tuple[str, ...]

    @property
    def roles(self) -> list[str]:
        """A colour's name for each class."""
        return class_colours(len(self.classes))

    @property
    def shapes(self) -> list[int]:
        """The number in :data:`SHAPES` for each class; up to 36 classes, no two share both shape and colour."""
        return [_shape(i) for i in range(len(self.classes))]

    def values(self, places: Mapping[str, int], **sheet: int) -> dict[str, Any]:
        """Return what the page's script needs to show the image behind a point.

        Args:
            places: Position of each id in the sheet of pictures; -1 is written for one that is not there.
            **sheet: Its measures.
        """
        names = ("ids", "label", "said", "evaluator", "x", "y", "classes")
        known = {name: getattr(self, name) for name in names}
        return {**known, **sheet, "places": [places.get(name, -1) for name in self.ids]}


def make_maps(section: Section) -> list[DrawnMap]:
    """Draw the maps of the first pre-trained row and of the baselines, each of its first run."""
    shown = section.shown_first()
    rows = [shown, *(row for row in section.main_rows if row.baseline and row is not shown)][:_MAY]
    maps = [_draw(section, row, number) for number, row in enumerate(rows)]
    return [found for found in maps if found]


def _draw(section: Section, row: Row, number: int) -> DrawnMap | None:
    run = row.runs[0]
    pictures = read_pictures(RunDirectory(run.path).pictures)
    if pictures is None or pictures.map is None or not isinstance(run.data.target, Classes):
        return None  # a colour is a class
    found = pictures.map
    x, y = _fitted(found.xy)
    evaluator = section.evaluators[0] if section.evaluators else ""
    images = counted(found.of, "test image")
    return DrawnMap(
        name=f"{section.key}-map-{number}",
        title=run_name(row),
        caption=f"{found.how} of {f'{len(found.ids)} of {images}' if len(found.ids) < found.of else images}.",
        ids=found.ids,
        label=found.label,
        said=tuple(_predicted(run, evaluator, found.ids)),
        evaluator=evaluator,
        x=tuple(x.round(1).tolist()),
        y=tuple(y.round(1).tolist()),
        classes=run.data.target.names,
    )


def _fitted(xy: Array) -> tuple[Array, Array]:
    """Scale both directions alike and centre them in the drawing."""
    low, high = xy.min(axis=0), xy.max(axis=0)
    inner = np.array([WIDTH - 2 * _EDGE, HEIGHT - 2 * _EDGE])
    scale = float((inner / np.maximum(high - low, 1e-9)).min())
    placed = (xy - (low + high) / 2) * scale + np.array([WIDTH, HEIGHT]) / 2
    return placed[:, 0], HEIGHT - placed[:, 1]


def _predicted(run: RunResult, evaluator: str, ids: Sequence[str]) -> Iterator[int]:
    predictions = read_arrays(RunDirectory(run.path).predictions)
    if evaluator in predictions:
        names = names_of("image", predictions["id"].tolist())
        said = dict(zip(names, predictions[evaluator].argmax(axis=1).tolist(), strict=True))
        if all(name in said for name in ids):
            yield from (said[name] for name in ids)


# --------------------------------------------------------------------------------------------------------------- file

# paths around the origin, about as large as a circle of radius 3: classes differ in shape as well as in colour
SHAPES: Sequence[str] = (
    "M-3 0a3 3 0 1 0 6 0a3 3 0 1 0-6 0z",
    "M-2.7-2.7h5.4v5.4h-5.4z",
    "M0-3.5L3.4 2.6h-6.8z",
    "M0-3.8L3.8 0 0 3.8-3.8 0z",
    "M-1-3.4h2v2.4h2.4v2h-2.4v2.4h-2v-2.4h-2.4v-2h2.4z",
    "M0 3.5L3.4-2.6h-6.8z",
)


def map_file(found: DrawnMap) -> str:
    """Write a map as an SVG file of its own, in plain colours, with its legend below."""
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH:g} {HEIGHT + 18 * len(found.classes) + 8:g}">',
        f"<title>{escape(found.title)}</title>",
        "<defs>" + "".join(f'<path id="s{i}" d="{shape}"/>' for i, shape in enumerate(SHAPES)) + "</defs>",
    ]
    for x, y, label in zip(found.x, found.y, found.label, strict=True):
        lines.append(_mark(x, y, label, ROLES[found.roles[label]][0]))
    for i, name in enumerate(found.classes):
        top = HEIGHT + 18 * i + 14
        lines.append(_mark(10, top - 4, i, ROLES[found.roles[i]][0]))
        lines.append(f'<text x="20" y="{top:g}" font-family="sans-serif" font-size="11">{escape(name)}</text>')
    return "\n".join([*lines, "</svg>\n"])


def _mark(x: float, y: float, label: int, colour: str) -> str:
    return f'<use href="#s{_shape(label)}" x="{x:g}" y="{y:g}" fill="{colour}" fill-opacity=".8"/>'


def _shape(label: int) -> int:
    """Shift the shapes by one each time the colours start again."""
    return (label + label // len(SERIES)) % len(SHAPES)
