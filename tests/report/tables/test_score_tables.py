"""The tables of a run: which unit comes first, what the titles say, and that few groups are counts only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from medssl.report.tables.score_tables import further_tables, score_tables
from medssl.results.directory import RunResult

METRICS = {"accuracy": {"title": "accuracy", "direction": "higher", "unit": "", "source": "", "leads": True}}


def metric(value: float) -> dict[str, float]:
    return {"value": value, "low": value - 0.1, "high": value + 0.1}


def result(unit: str | None, **scores: Any) -> RunResult:
    values = {
        "data": {"group_kind": "patient"},
        "metrics": METRICS,
        "recipe": {"evaluate": {} if unit is None else {"unit": unit}},
        "evaluations": {"knn": {"accuracy": metric(0.5), **scores}},
    }
    return RunResult(Path("unused"), values)


def per_group(mixed: int) -> dict[str, Any]:
    labels = {"rule": "the highest grade", "mixed": mixed, "excluded": 0}
    return {"accuracy": metric(0.7), "n": 20, "pooling": {"name": "max"}, "labels": labels}


def test_a_run_without_groups_has_one_table_without_a_title() -> None:
    (table,) = score_tables(result(None))
    assert (table.title, table.rows[1]) == ("", ["accuracy", ".500 [.400, .600]"])


def test_the_unit_of_the_recipe_comes_first() -> None:
    images, groups = score_tables(result(None, per_group=per_group(0)))
    assert (images.title, groups.rows[1][1]) == ("per image", ".700 [.600, .800]")
    first, second = score_tables(result("group", per_group=per_group(0)))
    assert (first, second) == (groups, images)


def test_the_title_says_pooling_and_rule() -> None:
    _, groups = score_tables(result(None, per_group=per_group(3)))
    wanted = "per patient: 20 patients; predictions pooled by max; 3 with different labels: the highest grade"
    assert groups.title == wanted


def test_a_subgroup_of_few_groups_shows_counts_only() -> None:
    rows = {"A": {"n": 9, "n_groups": 3}, "B": {"n": 50, "n_groups": 30, "accuracy": metric(0.6)}}
    (table,) = further_tables(result(None, subgroups={"site": rows}))
    assert table.title == "by site; too small for a score: A"
    assert table.rows == [
        ["site", "evaluator", "images", "accuracy"],
        ["A", "knn", "9 in 3 groups", "-"],
        ["B", "knn", "50 in 30 groups", ".600 [.500, .700]"],
    ]
