"""Figures as SVG: drawn by matplotlib in plain colours for a file, with the page's own colours inside the page."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator

from medssl.io.plain_text import file_stem, printable
from medssl.report.figures.palette import ROLES

__all__ = [
    "LINE",
    "SOFT",
    "Drawing",
    "finish",
    "make_figure",
    "make_panels",
    "plain_axes",
    "spread_labels",
    "steady_ticks",
]

INK, SOFT, LINE = (ROLES[name][0] for name in ("ink", "soft", "line"))

WIDTH = 5.0  # inches; shown at 360 to 480 px, where letters of 10 points stay readable on a phone
_COLUMNS = 2  # panels side by side stay readable on a phone
_SETTINGS: Any = {
    "svg.fonttype": "none",  # text stays text: it can be found, copied and read aloud
    "svg.hashsalt": "medssl",  # the same figure gives the same file
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # what widths are measured with; the page's font is narrower
    "font.size": 10,
    "axes.edgecolor": LINE,
    "axes.labelcolor": SOFT,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.titlecolor": INK,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "text.color": INK,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "lines.solid_capstyle": "round",
}


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """One figure.

    Attributes:
        name: Of its file, without the suffix.
        title: What is seen, in a sentence.
        caption: What the marks are.
        svg: A file of its own, in plain colours.
        inline: The same as an element of the page, in its colours.
    """

    name: str
    title: str
    caption: str
    svg: str
    inline: str


def make_figure(height: float, rows: int = 1, columns: int = 1, **options: Any) -> tuple[Figure, list[Axes]]:
    """Make a figure of the page's width.

    Args:
        height: Inches.
        rows: Of panels.
        columns: Of panels.
        **options: For ``Figure.subplots``.
    """
    with mpl.rc_context(_SETTINGS):
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False, **options)
    return figure, list(axes.ravel())


def make_panels(count: int, height: float, *, x: str, y: str = "", **options: Any) -> tuple[Figure, list[Axes]]:
    """Make a figure of panels side by side, with axis labels that they share.

    Args:
        count: Number of panels.
        height: Of a panel, in inches.
        x: Label below all.
        y: Label beside all.
        **options: For ``Figure.subplots``.
    """
    lines, columns = -(-count // _COLUMNS), min(_COLUMNS, count)
    figure, panels = make_figure(0.4 + height * lines, lines, columns, **options)
    for spare in panels[count:]:
        spare.set_visible(False)
    figure.supxlabel(x, color=SOFT, fontsize=10)
    if y:
        figure.supylabel(y, color=SOFT, fontsize=10)
    return figure, panels[:count]


def plain_axes(axes: Axes, *, grid: str = "y") -> None:
    """Leave grid lines across one direction only."""
    axes.grid(visible=False)
    axes.grid(visible=True, axis=grid)  # type: ignore[arg-type]


def steady_ticks(axes: Axes) -> None:
    """Choose the ticks of the y axis by its range alone.

    matplotlib's own choice goes by the height too, which the layout changes after it has made room for the labels.
    """
    axes.yaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10]))


def finish(figure: Figure, *, name: str, title: str, caption: str = "") -> Drawing:
    """Turn a figure into SVG.

    Args:
        figure: It is not used any more afterwards.
        name: Unique in the report: ids inside the page begin with it.
        title: What is seen.
        caption: What the marks are.
    """
    name, title = file_stem(name), printable(title)
    for text in figure.findobj(Text):
        written = str(text.get_text())
        if "$" in written and "\\mathdefault" not in written:  # a name, no tick of a logarithmic axis
            text.set_parse_math(False)
        if printable(written) != written:
            text.set_text(printable(written))
    file = io.StringIO()
    with mpl.rc_context(_SETTINGS):
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": "medssl", "Title": title})
    svg = file.getvalue()
    return Drawing(name=name, title=title, caption=caption, svg=svg, inline=_inline(svg, name, title))


def _inline(svg: str, name: str, title: str) -> str:
    """Make an element of the page: no head, ids of its own, colours and font of the page's style sheet."""
    element = svg[svg.index("<svg") :]
    for part in (r"<metadata>.*?</metadata>", r"<title>.*?</title>", r"<style[^>]*>.*?</style>"):
        element = re.sub(part, "", element, count=1, flags=re.DOTALL)
    used = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', element))
    element = re.sub(r'\sid="([^"]*)"', lambda m: f' id="{name}-{m[1]}"' if m[1] in used else "", element)
    element = re.sub(r"url\(#", f"url(#{name}-", element)
    element = re.sub(r'(?:xlink:)?href="#', f'href="#{name}-', element)
    element = re.sub(r"font-family: [^;\"]*", "font-family: var(--font)", element)
    element = re.sub(r"\n\s*", "\n", element)
    for role, (colour, _) in ROLES.items():
        element = element.replace(colour, f"var(--{role})")
    label = html.escape(title)
    box = element[element.index("viewBox") :].split('"')[1]
    return f'<svg viewBox="{box}" role="img" aria-label="{label}">{element[element.index(">") + 1 :]}'


def spread_labels(places: Sequence[float], gap: float) -> list[float]:
    """Move labels apart until any two neighbours are ``gap`` apart, keeping their order and their middle.

    Args:
        places: Where each wants to be.
        gap: Least distance, in the same unit.
    """
    order = sorted(range(len(places)), key=places.__getitem__)
    groups: list[tuple[list[int], float]] = []  # indices in order, and the middle of their places
    for i in order:
        group, middle = [i], places[i]
        while groups and middle - groups[-1][1] < gap * (len(group) + len(groups[-1][0])) / 2:
            before, its = groups.pop()
            middle = (middle * len(group) + its * len(before)) / (len(group) + len(before))
            group = [*before, *group]
        groups.append((group, middle))
    moved = [0.0] * len(places)
    for group, middle in groups:
        for position, i in enumerate(group):
            moved[i] = middle + gap * (position - (len(group) - 1) / 2)
    return moved
