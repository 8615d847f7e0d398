"""What pre-training adds: the trained encoder compared with the same encoder before training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from medssl.report.words.compared import RANKS
from medssl.report.words.wording import listed, p_text, signed
from medssl.results.directory import RunResult
from medssl.results.metrics_table import lead_metric, metric_title
from medssl.results.scores import Difference

__all__ = ["gain_lines", "gain_statement", "gain_verdict", "has_gains"]


def has_gains(result: RunResult) -> bool:
    """Return whether the run evaluated the encoder before training."""
    return bool(_differences(result))


def gain_lines(result: RunResult) -> list[str]:
    """Write a line per metric: ``pre-training added accuracy: knn +.12 [+.05, +.19]``."""
    if not has_gains(result):
        return []
    named, lines = {str(choice["plugin"]) for choice in result.recipe["evaluators"]}, []
    for metric in _metrics(result):
        parts = [
            f"{name} {_difference(found[metric])}{'' if found[metric].shown else ' (not significant)'}"
            for name, found in _differences(result).items()
            if name in named and metric in found
        ]
        if parts:
            lines.append(f"pre-training added {metric_title(metric, result.metrics)}{_per(result)}: {', '.join(parts)}")
    return lines


def _per(result: RunResult) -> str:
    by_group = result.baseline is not None and result.baseline.unit == "group"
    return f" per {(result.data.group_kind or 'group').replace('_', ' ')}" if by_group else ""


def gain_statement(result: RunResult, judges: Sequence[str]) -> Iterator[str]:
    """Write a line per evaluator, for a page."""
    for name in judges:
        found = _differences(result).get(name, {})
        tested = {metric_title(metric, result.metrics): found[metric] for metric in _metrics(result) if metric in found}
        parts = [
            f"{title} {_difference(one)} ({p_text(one.p_adjusted)}, {'' if one.shown else 'not '}significant)"
            for title, one in tested.items()
        ]
        if parts:
            yield f"{name}: {listed(parts)}."


def gain_verdict(result: RunResult, judges: Sequence[str]) -> Iterator[str]:
    """Say whether the trained encoder is significantly better in the leading metric, and by which evaluators."""
    lead = next(iter(_metrics(result)), "")
    higher = result.metrics.get(lead, {}).get("direction", "higher") == "higher"
    found = {name: _differences(result).get(name, {}).get(lead) for name in judges}
    tested = {name: one for name, one in found.items() if one}
    better = {name: one for name, one in tested.items() if one.shown and (one.value > 0) == higher}
    worse = {name: one for name, one in tested.items() if one.shown and (one.value > 0) != higher}
    before = "the encoder before training"
    for word, some in (("better", better), ("worse", worse)):
        if some:
            yield f"It is significantly {word} than {before} by {listed(list(_tested(some)))}."
    if tested and not better and not worse:
        yield f"The difference from {before} is not significant: {listed(list(_tested(tested)))}."


def _tested(some: Mapping[str, Difference]) -> Iterator[str]:
    yield from (f"{name} ({_difference(one)}, {p_text(one.p_adjusted)})" for name, one in some.items())


def _differences(result: RunResult) -> Mapping[str, Mapping[str, Difference]]:
    return {} if result.baseline is None else result.baseline.differences


def _metrics(result: RunResult) -> list[str]:
    """Return the leading metric and AUROC."""
    return list(dict.fromkeys([lead_metric(result.metrics, result.evaluations), RANKS]))


def _difference(found: Difference) -> str:
    ends = "" if found.low is None or found.high is None else f" [{signed(found.low)}, {signed(found.high)}]"
    return f"{signed(found.value)}{ends}"
