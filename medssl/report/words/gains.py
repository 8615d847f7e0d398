"""What pre-training has added, by the evaluation of the encoder before training that a run brings with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from medssl.report.words.wording import listed, p_text, signed
from medssl.results.directory import RunResult
from medssl.results.metrics_table import lead_metric, metric_title

__all__ = ["gain_lines", "gain_statement", "gain_verdict", "has_gains"]

_RANKS = "auroc"  # told beside the metric that leads, because no threshold decides it


def has_gains(result: RunResult) -> bool:
    """Whether the run has evaluated the encoder before training."""
    return bool(_differences(result))


def gain_lines(result: RunResult) -> list[str]:
    """Say by metric what pre-training has added: ``pre-training added accuracy: knn +.12 [+.05, +.19]``."""
    if not has_gains(result):
        return []
    named, lines = {str(choice["plugin"]) for choice in result.values["recipe"]["evaluators"]}, []
    for metric in _metrics(result):
        parts = [
            f"{name} {_difference(found[metric])}{'' if found[metric]['shown'] else ' (no difference shown)'}"
            for name, found in _differences(result).items()
            if name in named and metric in found
        ]
        if parts:
            lines.append(f"pre-training added {metric_title(metric, result.metrics)}: {', '.join(parts)}")
    return lines


def gain_statement(result: RunResult, judges: Sequence[str]) -> Iterator[str]:
    """Say by evaluator what pre-training has added, for a page."""
    for name in judges:
        found = _differences(result).get(name, {})
        tested = {metric_title(metric, result.metrics): found[metric] for metric in _metrics(result) if metric in found}
        parts = [
            f"{title} {_difference(one)} ({p_text(one['p_adjusted'])}, {'' if one['shown'] else 'no difference '}shown)"
            for title, one in tested.items()
        ]
        if parts:
            yield f"{name}: {listed(parts)}."


def gain_verdict(result: RunResult, judges: Sequence[str]) -> Iterator[str]:
    """Say in a sentence whether the encoder has become better by the metric that leads, by which evaluators."""
    lead = next(iter(_metrics(result)), "")
    higher = result.metrics.get(lead, {}).get("direction", "higher") == "higher"
    found = {name: _differences(result).get(name, {}).get(lead) for name in judges}
    tested = {name: one for name, one in found.items() if one}
    better = [name for name, one in tested.items() if one["shown"] and (one["value"] > 0) == higher]
    worse = [name for name, one in tested.items() if one["shown"] and (one["value"] > 0) != higher]
    before = "the encoder before training"
    if better:
        yield f"Shown to be better than {before}, by {listed(better)}."
    if worse:
        yield f"Shown to be worse than {before}, by {listed(worse)}."
    if tested and not better and not worse:
        yield f"No difference from {before} is shown, by {listed(list(tested))}."


def _differences(result: RunResult) -> Mapping[str, Mapping[str, Any]]:
    found: Mapping[str, Any] = result.values.get("baseline") or {}
    differences: Mapping[str, Mapping[str, Any]] = found.get("differences", {})
    return differences


def _metrics(result: RunResult) -> list[str]:
    """The metric that leads, and the one that no threshold decides."""
    return list(dict.fromkeys([lead_metric(result.metrics, result.evaluations), _RANKS]))


def _difference(found: Mapping[str, Any]) -> str:
    ends = "" if found["low"] is None else f" [{signed(found['low'])}, {signed(found['high'])}]"
    return f"{signed(found['value'])}{ends}"
