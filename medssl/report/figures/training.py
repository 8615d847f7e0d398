"""Figures of training and of confidence: loss, validation, collapse measures, reliability diagrams."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from medssl.report.figures.drawing import LINE, Drawing, finish, make_figure, make_panels, plain_axes, steady_ticks
from medssl.report.figures.palette import Style
from medssl.report.figures.scores import CURVES, name_ends
from medssl.report.sections import Section
from medssl.report.words.wording import short
from medssl.results.directory import RunDirectory, read_history
from medssl.study.results.summary import Row

__all__ = ["reliability_figure", "training_figures"]

_MAY = 8  # panels of one figure

Epochs = Sequence[Mapping[str, Any]]


def training_figures(section: Section, styles: Mapping[str, Style]) -> Iterator[Drawing]:
    """Draw loss by variant of a method, then validation and effective rank of all methods together."""
    histories = {row.key: [read_history(RunDirectory(run.path)) for run in row.runs] for row in section.main_rows}
    rows = [row for row in section.main_rows if any(len(epochs) > 1 for epochs in histories[row.key])]
    if not rows:
        return
    yield _losses(section, rows, histories, styles)
    for key, title, axis, value in (
        ("validation", "Validation accuracy by epoch", "accuracy on the validation part", _validation),
        ("rank", "Effective rank by epoch", "dimensions in use", lambda epoch: epoch.get("effective_rank")),
    ):
        found = _by_epoch(section, rows, histories, styles, key, title, axis, value)
        if found:
            yield found


def _validation(epoch: Mapping[str, Any]) -> Any:
    return next(iter(epoch.get("validation", {}).values()), None)


def _losses(
    section: Section, rows: Sequence[Row], histories: Mapping[str, Sequence[Epochs]], styles: Mapping[str, Style]
) -> Drawing:
    """Draw a panel per variant of a method: losses of different methods have different units."""
    variants = list(dict.fromkeys(row.variant for row in rows))[:_MAY]
    figure, panels = make_panels(len(variants), 1.35, x="epoch")
    for axes, variant in zip(panels, variants, strict=True):
        for row in rows:
            if row.variant == variant:
                for epochs in histories[row.key]:
                    _thin_line(axes, epochs, lambda epoch: epoch.get("loss"), styles[variant].colour)
        axes.set_title(variant, loc="left")
        _epochs(axes)
        plain_axes(axes)
    return finish(
        figure,
        name=f"{section.key}-loss",
        title="Loss by epoch",
        caption="One line per run. Losses of different methods cannot be compared.",
    )


def _by_epoch(
    section: Section,
    rows: Sequence[Row],
    histories: Mapping[str, Sequence[Epochs]],
    styles: Mapping[str, Style],
    key: str,
    title: str,
    axis: str,
    value: Callable[[Mapping[str, Any]], Any],
) -> Drawing | None:
    """Draw one measure of all variants; ``None`` where fewer than two epochs have it."""
    figure, [axes] = make_figure(CURVES)
    ends: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        for epochs in histories[row.key]:
            last = _thin_line(axes, epochs, value, styles[row.variant].colour, styles[row.variant].line)
            if last is not None:
                ends.setdefault(row.variant, []).append(last)
    if not ends:
        return None
    edge = max(x for points in ends.values() for x, _ in points)
    names = []
    for name, points in ends.items():
        mean = sum(y for _, y in points) / len(points)
        x, y = min(points, key=lambda point: abs(point[1] - mean))  # one line of several carries the name
        names.append((y, name, styles[name].colour))
        axes.plot([x, edge], [y, y], color=styles[name].colour, linewidth=0.6)  # where others go on
    axes.set_xlabel("epoch")
    _epochs(axes)
    axes.set_ylabel(axis)
    steady_ticks(axes)
    plain_axes(axes)
    name_ends(axes, names, CURVES)
    caption = "One line per run."
    if key == "rank":
        caption += " Measured on the last batch of each epoch (RankMe); at most the batch size. Near 1: collapsed."
    return finish(figure, name=f"{section.key}-{key}", title=title, caption=caption)


def _epochs(axes: Axes) -> None:
    """Count whole epochs, up to the edge that the names stand at."""
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.margins(x=0)


def _thin_line(
    axes: Axes, epochs: Epochs, value: Callable[[Mapping[str, Any]], Any], colour: str, line: str = "-"
) -> tuple[float, float] | None:
    """Draw a run's values and return the last point; draw nothing where there are fewer than two."""
    points = [(epoch["epoch"] + 1, y) for epoch in epochs if (y := value(epoch)) is not None and math.isfinite(y)]
    if len(points) < 2:
        return None
    xs, ys = zip(*points, strict=True)
    axes.plot(xs, ys, line, color=colour, linewidth=1.2, alpha=0.85)
    return float(xs[-1]), float(ys[-1])


# -------------------------------------------------------------------------------------------------------- reliability


def reliability_figure(section: Section, row: Row) -> Drawing | None:
    """Draw a row's reliability by evaluator, those of its first run; ``None`` where no run has measured it."""
    run = row.runs[0]
    known = {n: s for n, s in run.evaluations.items() if any(s.get("reliability", {}).get("count", ()))}
    names = list(known)[:_MAY]
    if not names:
        return None
    labels = {"x": "confidence of the predicted class", "y": "share of correct predictions"}
    figure, panels = make_panels(len(names), 1.9, **labels, sharex=True, sharey=True)
    for axes, name in zip(panels, names, strict=True):
        bins = known[name]["reliability"]
        filled = [i for i, number in enumerate(bins["count"]) if number]
        most = max(bins["count"])
        axes.plot([0, 1], [0, 1], color=LINE, linewidth=1.2)
        axes.scatter(
            [bins["confidence"][i] for i in filled],
            [bins["accuracy"][i] for i in filled],
            s=[8 + 70 * bins["count"][i] / most for i in filled],
            color="#0072b2",
            alpha=0.85,
            linewidths=0,
        )
        axes.set_title(f"{name}, {section.title_of('ece')} {short(known[name]['ece']['value'])}", loc="left")
        axes.set_xlim(-0.03, 1.03)
        axes.set_ylim(-0.05, 1.05)
        plain_axes(axes, grid="both")
    return finish(
        figure,
        name=f"{section.key}-reliability",
        title="Confidence against accuracy",
        caption="A dot stands for the predictions in one range of confidence; its size shows their number. On the "
        "line, predictions with 80 % confidence are right in 80 % of cases. Below it, they are overconfident.",
    )
