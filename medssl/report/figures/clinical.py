"""Figures of predicted probabilities from the curves that a run kept: decision curve, calibration, histogram.

A panel is an evaluator, or with several classes or findings one of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes

from medssl.report.figures.drawing import LINE, SOFT, Drawing, finish, make_panels, plain_axes
from medssl.report.figures.palette import ROLES
from medssl.report.sections import Section
from medssl.report.words.wording import level_text
from medssl.study.results.summary import Row

__all__ = ["clinical_figures"]

_MAY = 6  # panels of one figure
_MODEL, _OTHER = ROLES["c0"][0], ROLES["c1"][0]
_BELOW = 0.05  # net benefits further below 0 are cut off: such a model is worse than treating none

Curves = Mapping[str, Any]


def clinical_figures(section: Section, row: Row) -> Iterator[Drawing]:
    """Draw the three figures of a row's first run; nothing if it kept no curves.

    Args:
        section: The section.
        row: A row of it.
    """
    panels = _panels(section, row)
    if not panels:
        return
    band = f" The band is the {level_text(section.confidence)} interval." if _has_band(panels) else ""
    yield _draw(
        section,
        panels,
        _benefit,
        name="decision",
        title="Decision curve",
        axes=("threshold probability", "net benefit"),
        caption="Benefit of treating the images whose probability reaches the threshold: the share of true positives, "
        "minus the share of false positives weighted by the odds of the threshold. Grey line: treat all; at 0: treat "
        f"none. A model helps where its line is above both.{band}",
    )
    yield _draw(
        section,
        panels,
        _calibration,
        name="smooth",
        title="Calibration",
        axes=("predicted probability", "share of positive images"),
        caption="Line: smoothed share of positive images (loess). Dots: the share in ranges of .05; their size shows "
        f"the number of images. On the diagonal, probabilities are right; below it, they are too high.{band}",
    )
    yield _draw(
        section,
        panels,
        _histogram,
        name="probabilities",
        title="Predicted probability by outcome",
        axes=("predicted probability", "images"),
        caption="Upwards: positive images. Downwards: negative images. The less they overlap, the better.",
    )


def _panels(section: Section, row: Row) -> list[tuple[str, Curves]]:
    """Return title and curves of each panel."""
    run = row.runs[0]
    kept = [(name, run.evaluations.get(name, {}).get("curves") or {}) for name in section.judges]
    found = [
        (evaluator if len(own) == 1 else f"{evaluator}, {problem.replace('_', ' ')}", curves)
        for evaluator, own in (kept if all(len(own) < 2 for _, own in kept) else kept[:1])
        for problem, curves in own.items()
    ]
    return found[:_MAY]


def _has_band(panels: Sequence[tuple[str, Curves]]) -> bool:
    return any(curves["net_benefit"]["low"] is not None for _, curves in panels)


def _draw(
    section: Section,
    panels: Sequence[tuple[str, Curves]],
    paint: Callable[[Axes, Curves], None],
    *,
    name: str,
    title: str,
    axes: tuple[str, str],
    caption: str,
) -> Drawing:
    figure, places = make_panels(len(panels), 1.9, x=axes[0], y=axes[1], sharex=True, sharey=name != "probabilities")
    for place, (words, curves) in zip(places, panels, strict=True):
        paint(place, curves)
        place.set_title(words, loc="left")
        place.set_xlim(-0.02, 1.02)
        plain_axes(place, grid="both")
    return finish(figure, name=f"{section.key}-{name}", title=title, caption=caption)


def _benefit(axes: Axes, curves: Curves) -> None:
    found = curves["net_benefit"]
    at = found["threshold"]
    _band(axes, at, found)
    axes.plot(at, found["all"], "--", color=SOFT, linewidth=1)
    axes.axhline(0, color=SOFT, linewidth=1)
    axes.plot(at, found["model"], color=_MODEL, linewidth=1.5)
    axes.set_ylim(-_BELOW, max(0.1, *found["model"], *(found["high"] or ())) * 1.05)


def _calibration(axes: Axes, curves: Curves) -> None:
    found, bars = curves["smooth"], curves["histogram"]
    axes.plot([0, 1], [0, 1], color=LINE, linewidth=1.2)
    _band(axes, found["predicted"], found)
    totals = [up + down for up, down in zip(bars["positive"], bars["negative"], strict=True)]
    filled = [i for i, total in enumerate(totals) if total]
    axes.scatter(
        [(i + 0.5) / len(totals) for i in filled],
        [bars["positive"][i] / totals[i] for i in filled],
        s=[6 + 60 * totals[i] / max(totals) for i in filled],
        color=_OTHER,
        alpha=0.7,
        linewidths=0,
    )
    axes.plot(found["predicted"], [_number(y) for y in found["observed"]], color=_MODEL, linewidth=1.5)
    axes.set_ylim(-0.05, 1.05)


def _histogram(axes: Axes, curves: Curves) -> None:
    bars = curves["histogram"]
    width = 1 / len(bars["positive"])
    middles = [(i + 0.5) * width for i in range(len(bars["positive"]))]
    axes.bar(middles, bars["positive"], width * 0.9, color=_OTHER)
    axes.bar(middles, [-count for count in bars["negative"]], width * 0.9, color=_MODEL)
    axes.axhline(0, color=SOFT, linewidth=1)
    axes.yaxis.set_major_formatter(lambda value, _: f"{abs(value):g}")


def _band(axes: Axes, at: Sequence[float], found: Mapping[str, Any]) -> None:
    if found["low"] is not None:
        low, high = ([_number(value) for value in found[end]] for end in ("low", "high"))
        axes.fill_between(at, low, high, color=_MODEL, alpha=0.18, linewidth=0)


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
