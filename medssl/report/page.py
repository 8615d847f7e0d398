"""``report.html`` of one run: a single file that opens without a network, light or dark, on paper or a phone."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from medssl.io.files import write_atomic
from medssl.results.directory import RunDirectory, RunResult
from medssl.results.metrics_table import lead_metric, metric_text, metric_title, shown_metrics

__all__ = ["curve_svg", "render_page", "template_environment", "write_page"]

_WIDTH, _HEIGHT, _LEFT, _BOTTOM = 460, 180, 52, 26
_BETWEEN_BACKTICKS = re.compile(r"`([^`]+)`")


def write_page(result: RunResult) -> Path:
    """Write ``report.html`` beside ``result.json``; return its path."""
    directory = RunDirectory(result.path)
    write_atomic(directory.report, render_page(result, _read_history(directory.history)).encode())
    return directory.report


def _read_history(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def render_page(result: RunResult, history: Sequence[Mapping[str, Any]]) -> str:
    """Fill the page's template.

    Args:
        result: A finished run.
        history: One mapping per epoch, as in ``history.jsonl``.
    """
    environment = template_environment()
    values = result.values
    return environment.get_template("run.html.j2").render(
        run=values,
        answer=_answer(result),
        metrics=shown_metrics(result.metrics, result.evaluations),
        text=metric_text,
        number=lambda value: f"{value:.3g}" if isinstance(value, float) else value,
        curves=_curves(history),
        recipe=yaml.safe_dump({k: v for k, v in values["recipe"].items() if k != "hash"}, sort_keys=False),
    )


def template_environment() -> Environment:
    """Return what fills every page's template: text is escaped, a name that is not given is an error."""
    environment = Environment(loader=PackageLoader("medssl.report"), autoescape=True, undefined=StrictUndefined)
    environment.filters["coded"] = _coded
    return environment


def _coded(text: str) -> Markup:
    """Escape a sentence, and set what stands between backticks as code."""
    parts = _BETWEEN_BACKTICKS.split(text)
    return Markup("").join(Markup("<code>{}</code>").format(part) if i % 2 else part for i, part in enumerate(parts))


def _answer(result: RunResult) -> str:
    """Say the result in one sentence: every evaluator's first metric, since the best is known only by the test."""
    values = result.values
    data = values["data"]
    trained = (
        f"pre-trained with {values['method']} on {data['train']} images" if values["pretrain"]["epochs"] else "as is"
    )
    lead = lead_metric(result.metrics, result.evaluations)
    title = metric_title(lead, result.metrics)
    said = [f"{name} {metric_text(scores[lead])}" for name, scores in result.evaluations.items() if lead in scores]
    what = f"{title[:1].upper()}{title[1:]} of the frozen encoder, {trained}"
    return f"{what}, on {data['test']} test images: {', '.join(said)}."


def _curves(history: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Draw loss, validation, and the two collapse measures over the epochs."""
    series = {
        "Loss": [(row["epoch"] + 1, row["loss"]) for row in history],
        "Validation accuracy": [
            (row["epoch"] + 1, value) for row in history for value in list(row["validation"].values())[:1]
        ],
        "Spread of the features (0: collapsed, 1: isotropic)": _points(history, "feature_std"),
        "Effective rank of the features": _points(history, "effective_rank"),
    }
    return [(title, curve_svg(points)) for title, points in series.items() if len(points) > 1]


def _points(history: Sequence[Mapping[str, Any]], measure: str) -> list[tuple[float, float]]:
    return [(row["epoch"] + 1, row[measure]) for row in history if row[measure] is not None]


def curve_svg(points: Sequence[tuple[float, float]]) -> str:
    """Draw one line with its axes as an SVG element; colours come from the page's style sheet.

    Args:
        points: (x, y) pairs in the order of x, at least two.
    """
    xs, ys = [p[0] for p in points], [p[1] for p in points]
    low, high = min(ys), max(ys)
    if high - low < 1e-9:
        low, high = low - 0.5, high + 0.5
    inner_w, inner_h = _WIDTH - _LEFT - 12, _HEIGHT - _BOTTOM - 10

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - xs[0]) / (xs[-1] - xs[0])
        return _LEFT + inner_w * across, 10 + inner_h * (1 - (y - low) / (high - low))

    lines = "".join(
        f'<line x1="{a[0]:.1f}" y1="{a[1]:.1f}" x2="{b[0]:.1f}" y2="{b[1]:.1f}" class="curve"/>'
        for a, b in pairwise(place(x, y) for x, y in points)
    )
    levels = [(y, place(xs[0], y)[1]) for y in (low, (low + high) / 2, high)]
    ticks = "".join(
        f'<line x1="{_LEFT}" y1="{down:.1f}" x2="{_WIDTH - 12}" y2="{down:.1f}" class="grid"/>'
        f'<text x="{_LEFT - 6}" y="{down + 4:.1f}" text-anchor="end">{y:.3g}</text>'
        for y, down in levels
    )
    ends = "".join(
        f'<text x="{place(x, low)[0]:.1f}" y="{_HEIGHT - 6}" text-anchor="{anchor}">{x:g}</text>'
        for x, anchor in ((xs[0], "start"), (xs[-1], "end"))
    )
    return f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">{ticks}{ends}{lines}</svg>'
