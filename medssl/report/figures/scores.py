"""Figures of the metric that leads a section: all rows with intervals, against batch size, against share of labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from medssl.report.figures.drawing import (
    LINE,
    SOFT,
    Drawing,
    finish,
    make_figure,
    plain_axes,
    spread_labels,
    steady_ticks,
)
from medssl.report.figures.palette import Style
from medssl.report.sections import Section
from medssl.report.words.wording import level_text, named
from medssl.results.directory import RunResult
from medssl.results.scores import Interval
from medssl.study.results.summary import Estimate, Row

__all__ = ["CURVES", "batch_figures", "label_figures", "name_ends", "score_figures"]

_LETTER = 13.0  # points from one label to the next
CURVES = 3.0  # inches, height of a figure of curves
_CLOSE = 0.75  # the distance of rows that differ only in batch size; 1 between others
_MAY = 4  # evaluators that get a figure each


@dataclass(frozen=True, kw_only=True)
class _Series:
    """Points that belong together: one setting at several batch sizes or shares of the labels."""

    name: str
    style: Style
    points: tuple[tuple[float, Estimate], ...]


# ------------------------------------------------------------------------------------------------------------- scores


def score_figures(section: Section, styles: Mapping[str, Style]) -> Iterator[Drawing]:
    """Draw each evaluator's values with their intervals: rows as points, baselines also as lines."""
    if section.single:
        yield from _run(section, section.single, styles[section.main_rows[0].variant])
    if len(section.main_rows) < 2:
        return
    for name in section.judges[:_MAY]:
        ranked = {row.key: (row, estimate) for row, estimate in section.ranked(name)}
        rows = [ranked[row.key] for row in section.main_rows if row.key in ranked]
        if rows:
            yield _scores(section, name, rows, styles)


def _run(section: Section, run: RunResult, style: Style) -> Iterator[Drawing]:
    """Draw a single run's values by evaluator, with those of the encoder before training."""
    before: Mapping[str, Mapping[str, Interval]] = run.baseline.scores if run.baseline else {}
    if section.by_group and run.baseline:
        before = {name: scores.per_group for name, scores in run.baseline.scores.items() if scores.per_group}
    own = section.main_rows[0].scores
    found = [(name, one) for name in section.judges if (one := own.get(name, {}).get(section.lead))]
    found = [(name, one) for name, one in found if one.value is not None]
    if not found:
        return
    figure, [axes] = make_figure(0.7 + 0.4 * len(found))
    for place, (name, one) in enumerate(found):
        other = before[name].get(section.lead) if name in before else None
        if other and other.value is not None:
            _interval(axes, place + 0.22, other.value, other.low, other.high, SOFT, "o", hollow=True)
        _interval(axes, place, one.value or 0.0, one.low, one.high, style.colour, style.mark)
    _value_axis(axes, section, [name for name, _ in found], range(len(found)))
    known = any(one.low is not None for _, one in found)
    intervals = _intervals(section) if known else "Values without intervals."
    hollow = " Hollow: the encoder before training." if before else ""
    yield finish(
        figure,
        name=f"{section.key}-scores",
        title=f"{_capital(section.lead_title)} by evaluator",
        caption=f"{intervals}{hollow}",
    )


def _value_axis(axes: Axes, section: Section, labels: Sequence[str], places: Sequence[float]) -> None:
    """Label rows on the left, and put the values of the leading metric on the horizontal axis."""
    axes.set_yticks(list(places), labels)
    axes.set_ylim(places[-1] + 0.6, -0.6)
    axes.set_xlabel(f"{section.lead_title}{section.per} on the test part")
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    plain_axes(axes, grid="x")


def _scores(
    section: Section, evaluator: str, rows: Sequence[tuple[Row, Estimate]], styles: Mapping[str, Style]
) -> Drawing:
    published = [(label, cells[evaluator]) for label, cells in section.published_rows() if evaluator in cells]
    labels, places = _places(section, [row for row, _ in rows])
    for label, _ in published:
        labels.append(f"{label}, published")
        places.append(places[-1] + 1)
    figure, [axes] = make_figure(0.55 + 0.22 * (places[-1] + 1))
    for place, (row, estimate) in zip(places, rows, strict=False):
        style = styles[row.variant]
        if row.baseline:
            axes.axvline(estimate.value or 0.0, color=style.colour, linestyle=style.line, linewidth=1.1)
        _interval(axes, place, estimate.value or 0.0, estimate.low, estimate.high, style.colour, style.mark)
    for place, (_, cell) in zip(places[len(rows) :], published, strict=True):
        _interval(axes, place, cell.value, cell.low, cell.high, SOFT, "o", hollow=True)
    _value_axis(axes, section, labels, places)
    if published:
        axes.axhline(places[len(rows)] - 0.5, color=LINE, linewidth=1)
    level = level_text(section.confidence)
    hollow = " Hollow: published, with the interval for the size of its test part." if published else ""
    lines_of = " Vertical lines: baselines." if any(row.baseline for row, _ in rows) else ""
    return finish(
        figure,
        name=f"{section.key}-scores-{evaluator}",
        title=f"{_capital(section.lead_title)} by {evaluator}",
        caption=f"Means over seeds with {level} confidence intervals.{lines_of}{hollow}",
    )


def _places(section: Section, rows: Sequence[Row]) -> tuple[list[str], list[float]]:
    """Return a label and a place for each row; rows that differ only in batch size stand close together."""
    labels: list[str] = []
    places: list[float] = []
    for _, its in section.families:
        own = [row for row in rows if row in its]
        for number, row in enumerate(own):
            labels.append(row.label if not number else f"batch {row.batch_size}")
            places.append(0.0 if not places else places[-1] + (_CLOSE if number else 1.0))
    return labels, places


def _interval(
    axes: Axes,
    place: float,
    value: float,
    low: float | None,
    high: float | None,
    colour: str,
    mark: str,
    *,
    hollow: bool = False,
) -> None:
    if low is not None and high is not None:
        axes.plot([low, high], [place, place], color=colour, linewidth=1.6)
    face = "#fefefe" if hollow else colour
    axes.plot([value], [place], marker=mark, markersize=5.5, markerfacecolor=face, markeredgecolor=colour)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


# ------------------------------------------------------------------------------------------------------------- curves


def batch_figures(section: Section, styles: Mapping[str, Style]) -> Iterator[Drawing]:
    """Draw it against batch size, where some setting was trained at several: figure 3 of the ICIP 2023 paper."""
    rows = [row for row in section.main_rows if not row.baseline]
    for name in section.judges[:_MAY]:
        if series := _series(section, rows, name, "batch_size", 1, styles):
            flat = [(row, estimate) for row, estimate in section.ranked(name) if row.baseline]
            figure = _curves(section, series, flat, styles, "images per step (batch size)")
            yield finish(
                figure,
                name=f"{section.key}-batch-{name}",
                title=f"{_capital(section.lead_title)} by {name} against batch size",
                caption=f"{_intervals(section)}{' Horizontal lines: baselines.' if flat else ''}",
            )


def label_figures(section: Section, styles: Mapping[str, Style]) -> Iterator[Drawing]:
    """Draw it against the share of training labels, where there are several."""
    for name in section.judges[:_MAY]:
        if series := _series(section, section.rows, name, "label_fraction", 100, styles):
            figure = _curves(section, series, [], styles, "training labels used (%)")
            broken = " Broken lines: baselines." if any(one.style.line != "-" for one in series) else ""
            yield finish(
                figure,
                name=f"{section.key}-labels-{name}",
                title=f"{_capital(section.lead_title)} by {name} against the share of labels",
                caption=f"{_intervals(section)}{broken} Pre-training uses all images.",
            )


def _intervals(section: Section) -> str:
    return f"{level_text(section.confidence)} confidence intervals."


def _series(
    section: Section, rows: Sequence[Row], evaluator: str, fact: str, factor: int, styles: Mapping[str, Style]
) -> list[_Series]:
    """Collect the rows that differ in one fact only, with their places by it; a series has at least two points."""
    found: dict[str, dict[float, Estimate]] = {}
    variants: dict[str, str] = {}
    for row in rows:
        estimate = row.scores.get(evaluator, {}).get(section.lead)
        if estimate and estimate.value is not None:
            name = row.label_without(fact)
            found.setdefault(name, {})[factor * getattr(row, fact)] = estimate
            variants[name] = row.variant
    return [
        _Series(name=key, style=styles[variants[key]], points=tuple(sorted(points.items())))
        for key, points in found.items()
        if len(points) > 1
    ]


def _curves(
    section: Section,
    series: Sequence[_Series],
    flat: Sequence[tuple[Row, Estimate]],
    styles: Mapping[str, Style],
    axis: str,
) -> Figure:
    """Draw lines with intervals, a little apart so that none hides another, and name each at its right end.

    Args:
        section: Its leading metric is on the vertical axis.
        series: The lines.
        flat: Rows that are horizontal lines.
        styles: Of all variants.
        axis: Label of the horizontal axis.
    """
    figure, [axes] = make_figure(CURVES)
    axes.set_ylabel(f"{section.lead_title}{section.per} on the test part")
    axes.set_xlabel(axis)
    places = sorted({x for one in series for x, _ in one.points})
    ends: list[tuple[float, str, str]] = []
    for number, one in enumerate(series):
        apart = 1 + 0.05 * (number - (len(series) - 1) / 2)
        xs = [x * apart for x, _ in one.points]
        ys = [float(estimate.value or 0.0) for _, estimate in one.points]
        for x, (_, estimate) in zip(xs, one.points, strict=True):
            if estimate.low is not None and estimate.high is not None:
                axes.plot([x, x], [estimate.low, estimate.high], color=one.style.colour, linewidth=1.2, alpha=0.55)
        axes.plot(xs, ys, one.style.line, color=one.style.colour, marker=one.style.mark, markersize=5, linewidth=1.6)
        ends.append((ys[-1], one.name, one.style.colour))
    for row, estimate in flat:
        style = styles[row.variant]
        axes.axhline(float(estimate.value or 0.0), color=style.colour, linestyle=style.line, linewidth=1.4)
        ends.append((float(estimate.value or 0.0), named(row), style.colour))
    axes.set_xscale("log")
    axes.set_xticks(places, [f"{x:g}" for x in places])
    axes.set_xticks([], minor=True)
    axes.set_xlim(places[0] / 1.25, places[-1] * 1.25)
    steady_ticks(axes)
    plain_axes(axes)
    name_ends(axes, ends, CURVES)
    return figure


def name_ends(axes: Axes, ends: Sequence[tuple[float, str, str]], height: float) -> None:
    """Write each curve's name to the right of its end, moved apart where they would overlap.

    Args:
        axes: With every curve drawn.
        ends: Height of each curve's end, its name, its colour.
        height: Of the figure, in inches.
    """
    low, high = axes.get_ylim()
    points = height * 72 - 45  # what axis label and ticks leave
    wanted = (high - low) * _LETTER * len(ends) / points
    if wanted > high - low:  # more names than fit beside the curves
        low, high = low - (wanted - high + low) / 2, high + (wanted - high + low) / 2
        axes.set_ylim(low, high)
    places = spread_labels([y for y, _, _ in ends], (high - low) * _LETTER / points)
    shift = max(0.0, low - min(places)) - max(0.0, max(places) - high)
    for (y, name, colour), place in zip(ends, places, strict=True):
        axes.annotate(
            name,
            xy=(1.0, y),
            xytext=(1.04, place + shift),
            xycoords=("axes fraction", "data"),
            textcoords=("axes fraction", "data"),
            color=colour,
            fontsize=9,
            verticalalignment="center",
            arrowprops={
                "arrowstyle": "-",
                "color": colour,
                "linewidth": 0.6,
                "shrinkA": 0,
                "shrinkB": 0,
                "relpos": (0, 0.5),
            },
            annotation_clip=False,
        )
