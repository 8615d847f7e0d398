"""The tables of a run's scores: per image, per group, by subgroup, and on other hospitals' images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from medssl.errors import counted
from medssl.results.directory import RunResult
from medssl.results.metrics_table import metric_rows, metric_text, shown_metrics

__all__ = ["ScoreTable", "further_tables", "score_tables"]


@dataclass(frozen=True)
class ScoreTable:
    """A table of texts.

    Attributes:
        title: What its numbers are about; empty if it needs none.
        rows: The header first.
    """

    title: str
    rows: list[list[str]]


def score_tables(result: RunResult) -> list[ScoreTable]:
    """Return one row per metric and one column per evaluator, per image and per group.

    The unit of the recipe comes first. Without scores per group there is one table without a title.
    """
    images = metric_rows(result.metrics, result.evaluations)
    groups = _group_table(result, result.evaluations)
    if groups is None:
        return [ScoreTable("", images)]
    tables = [ScoreTable("per image", images), groups]
    if result.recipe["evaluate"].get("unit") == "group":
        tables.reverse()
    before = _group_table(result, (result.values.get("baseline") or {}).get("evaluations", {}))
    return [*tables, ScoreTable(f"the encoder before training, {before.title}", before.rows)] if before else tables


def further_tables(result: RunResult) -> list[ScoreTable]:
    """Return the tables by subgroup and of other hospitals.

    A table by subgroup has one row per evaluator and value of a column, and one column per metric.
    """
    return [*_corrected(result, result.evaluations), *_by_subgroup(result, result.evaluations), *_external(result)]


def _corrected(result: RunResult, evaluations: Mapping[str, Any]) -> Iterator[ScoreTable]:
    """Yield the scores of the probabilities corrected for another mix of classes."""
    scores = {name: found["prior"] for name, found in evaluations.items() if "prior" in found}
    if scores:
        first: Mapping[str, Any] = next(iter(scores.values()))
        mixes = [
            ", ".join(f"{name} {share:.2f}" for name, share in first[key].items()) for key in ("expected", "training")
        ]
        title = f"probabilities corrected for an expected mix of {mixes[0]} (training: {mixes[1]})"
        yield ScoreTable(title, metric_rows(result.metrics, scores))


def _external(result: RunResult) -> Iterator[ScoreTable]:
    """Yield the tables of each external test set."""
    for name, found in result.values.get("external", {}).items():
        groups = "" if found["groups"] is None else f" of {found['groups']} {found['group_kind'] or 'group'}s"
        labels = ", ".join(f"{count} {label}" for label, count in found["labels"].items())
        out = f"; {found['left_out']} without a label of the run left out" if found["left_out"] else ""
        title = f"external test set {name}: {found['images']} images{groups} ({labels}{out})"
        evaluations = found["evaluations"]
        yield ScoreTable(title, metric_rows(result.metrics, evaluations))
        further = [
            _group_table(result, evaluations),
            *_corrected(result, evaluations),
            *_by_subgroup(result, evaluations),
        ]
        yield from (ScoreTable(f"{name}, {table.title}", table.rows) for table in further if table)


def _group_table(result: RunResult, evaluations: Mapping[str, Any]) -> ScoreTable | None:
    """Return the scores of groups; the title says how many there are and how predictions are pooled."""
    scores = {name: found["per_group"] for name, found in evaluations.items() if "per_group" in found}
    if not scores:
        return None
    kind = result.values["data"]["group_kind"] or "group"
    first: Mapping[str, Any] = next(iter(scores.values()))
    names = {name: found["pooling"]["name"] for name, found in scores.items()}
    every = set(names.values())
    pooled = every.pop() if len(every) == 1 else ", ".join(f"{how} ({name})" for name, how in names.items())
    mixed = first["labels"]["mixed"]
    rule = f"; {mixed} with different labels: {first['labels']['rule']}" if mixed else ""
    title = f"per {kind}: {counted(first['n'], kind)}; predictions pooled by {pooled}{rule}"
    return ScoreTable(title, metric_rows(result.metrics, scores))


def _by_subgroup(result: RunResult, evaluations: Mapping[str, Any]) -> Iterator[ScoreTable]:
    """Yield one table for each column of subgroups."""
    columns = {column: None for found in evaluations.values() for column in found.get("subgroups", {})}
    for column in columns:
        rows = {
            (name, value): scores
            for name, found in evaluations.items()
            for value, scores in found.get("subgroups", {}).get(column, {}).items()
        }
        metrics = shown_metrics(result.metrics, {str(place): scores for place, scores in rows.items()})
        body = [
            [value, name, _count(scores), *(metric_text(scores[key]) if key in scores else "-" for key in metrics)]
            for (name, value), scores in rows.items()
        ]
        small = dict.fromkeys(value for (_, value), scores in rows.items() if not metrics.keys() & scores.keys())
        few = f"; too small for a score: {', '.join(small)}" if small else ""
        yield ScoreTable(f"by {column}{few}", [[column, "evaluator", "images", *metrics.values()], *body])


def _count(scores: Mapping[str, Any]) -> str:
    groups = scores["n_groups"]
    return str(scores["n"]) if groups is None else f"{scores['n']} in {groups} groups"
