"""Maps of the test features in two dimensions: the runs' own, or one made here; figure 4 of the ICIP 2023 paper.

n points, K classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape

import numpy as np

from medssl.report.figures.palette import ROLES, class_colours
from medssl.report.pictures.gallery import read_arrays
from medssl.report.sections import Section
from medssl.report.words.wording import count, run_name
from medssl.results.directory import RunResult
from medssl.study.results.summary import Row

__all__ = ["HEIGHT", "SHAPES", "WIDTH", "FeatureMap", "make_maps", "map_file"]

WIDTH, HEIGHT, _EDGE = 360.0, 300.0, 10.0  # of the drawing, in its own unit
_MAY = 4  # maps of one section
_POINTS = 500  # of one map: as many small pictures are kept for it
_MADE_FROM = 500  # images that a map is made from here: 3 s on one core of 2026
_MADE = "t-SNE, made for this report"

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, kw_only=True)
class FeatureMap:
    """One map.

    Attributes:
        name: Unique in the report.
        title: Whose features.
        caption: How it was made, of how many images.
        ids: n sample ids.
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

    def values(self, places: Mapping[str, int], **sheet: int) -> dict[str, Any]:
        """Return what the page's script needs to show the image behind a point.

        Args:
            places: Position of each id in the sheet of pictures; -1 is written for one that is not there.
            **sheet: Its measures.
        """
        names = ("ids", "label", "said", "evaluator", "x", "y", "classes")
        known = {name: getattr(self, name) for name in names}
        return {**known, **sheet, "places": [places.get(name, -1) for name in self.ids]}


def make_maps(section: Section) -> list[FeatureMap]:
    """Show the features of the first pre-trained row and of the baselines, each by its first run."""
    shown = section.shown_first()
    rows = [shown, *(row for row in section.main_rows if row.baseline and row is not shown)][:_MAY]
    maps = [_make(section, row, number) for number, row in enumerate(rows)]
    return [found for found in maps if found]


def _make(section: Section, row: Row, number: int) -> FeatureMap | None:
    run = row.runs[0]
    found = _own_map(run) or _made_map(run)
    if found is None:
        return None
    how, ids, label, xy = found
    chosen = np.sort(np.random.default_rng(0).permutation(len(ids))[:_POINTS])
    x, y = _fitted(xy[chosen])
    evaluator = section.evaluators[0] if section.evaluators else ""
    some = f"{len(chosen)} of {count(len(ids), 'test image')}" if len(chosen) < len(ids) else f"{len(ids)} test images"
    return FeatureMap(
        name=f"{section.key}-map-{number}",
        title=run_name(row),
        caption=f"{how} of {some}.",
        ids=tuple(str(ids[i]) for i in chosen),
        label=tuple(int(label[i]) for i in chosen),
        said=tuple(_predicted(run, evaluator, ids[chosen])),
        evaluator=evaluator,
        x=tuple(x.round(1).tolist()),
        y=tuple(y.round(1).tolist()),
        classes=tuple(run.values["data"]["classes"]),
    )


def _own_map(run: RunResult) -> tuple[str, Array, Array, Array] | None:
    """Take a map that an evaluator of the run has left: an array of two columns whose name ends in ``_xy``."""
    arrays = read_arrays(run, "diagnostics")
    for key, xy in arrays.items():
        if key.endswith("_xy") and xy.ndim == 2 and xy.shape[1] == 2 and np.isfinite(xy).all() and len(xy) > 2:
            return f"Map by {key.removesuffix('_xy')}", arrays["id"], arrays["label"], xy
    return None


def _made_map(run: RunResult) -> tuple[str, Array, Array, Array] | None:
    """Make a map of a part of the test features by t-SNE; ``None`` where there are fewer than ten."""
    features = read_arrays(run, "features")
    if len(features.get("test_x", ())) < 10:
        return None
    from sklearn import decomposition, manifold  # noqa: PLC0415  (most reports need none of it)

    chosen = np.sort(np.random.default_rng(0).permutation(len(features["test_x"]))[:_MADE_FROM])
    x = features["test_x"][chosen].astype(np.float64)
    x /= np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    if x.std(axis=0).max() < 1e-9:  # collapsed to one point
        return None
    pca: Any = decomposition.PCA
    tsne: Any = manifold.TSNE
    reduced = pca(min(50, *x.shape), random_state=0).fit_transform(x)
    perplexity = min(30.0, (len(x) - 1) / 3)  # scikit-learn's default
    xy = tsne(perplexity=perplexity, init="pca", random_state=0).fit_transform(reduced)
    return _MADE, features["test_id"][chosen], features["test_label"][chosen], xy


def _fitted(xy: Array) -> tuple[Array, Array]:
    """Scale both directions alike and centre them in the drawing."""
    low, high = xy.min(axis=0), xy.max(axis=0)
    inner = np.array([WIDTH - 2 * _EDGE, HEIGHT - 2 * _EDGE])
    scale = float((inner / np.maximum(high - low, 1e-9)).min())
    placed = (xy - (low + high) / 2) * scale + np.array([WIDTH, HEIGHT]) / 2
    return placed[:, 0], HEIGHT - placed[:, 1]


def _predicted(run: RunResult, evaluator: str, ids: Array) -> Iterator[int]:
    predictions = read_arrays(run, "predictions")
    if evaluator in predictions:
        said = dict(zip(predictions["id"].tolist(), predictions[evaluator].argmax(axis=1).tolist(), strict=True))
        if all(name in said for name in ids.tolist()):
            yield from (said[name] for name in ids.tolist())


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


def map_file(found: FeatureMap, colours: Mapping[str, tuple[str, str]] = ROLES) -> str:
    """Write a map as an SVG file of its own, in plain colours, with its legend below."""
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH:g} {HEIGHT + 18 * len(found.classes) + 8:g}">',
        f"<title>{escape(found.title)}</title>",
        "<defs>" + "".join(f'<path id="s{i}" d="{shape}"/>' for i, shape in enumerate(SHAPES)) + "</defs>",
    ]
    for x, y, label in zip(found.x, found.y, found.label, strict=True):
        lines.append(_mark(x, y, label, colours[found.roles[label]][0]))
    for i, name in enumerate(found.classes):
        top = HEIGHT + 18 * i + 14
        lines.append(_mark(10, top - 4, i, colours[found.roles[i]][0]))
        lines.append(f'<text x="20" y="{top:g}" font-family="sans-serif" font-size="11">{escape(name)}</text>')
    return "\n".join([*lines, "</svg>\n"])


def _mark(x: float, y: float, label: int, colour: str) -> str:
    return f'<use href="#s{label % len(SHAPES)}" x="{x:g}" y="{y:g}" fill="{colour}" fill-opacity=".8"/>'
