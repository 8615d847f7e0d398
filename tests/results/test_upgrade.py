"""A result of schema 1 reads as one of today."""

import json

import pytest

from medssl.contracts.targets import Classes, target_from_dict
from medssl.report.tables.score_tables import score_tables
from medssl.report.tables.tables import ranking_rows
from medssl.results.directory import SCHEMA, RunDirectory
from medssl.results.upgrade import upgraded

METRIC = {"value": 0.5, "low": 0.25, "high": 0.75}


@pytest.fixture
def old():
    return {
        "schema": 1,
        "method": "m",
        "dataset": "d",
        "seed": 0,
        "recipe": {},
        "environment": {},
        "data": {
            "directory": "d",
            "images": 20,
            "train": 8,
            "val": 3,
            "test": 9,
            "classes": ["a", "b"],
            "split": "random",
        },
        "pretrain": {"epochs": 1, "seconds": 1.0},
        "seconds": 2.0,
        "evaluations": {"knn": {"accuracy": METRIC, "ece": METRIC, "bootstrap": {"resamples": 9, "skipped_auroc": 2}}},
        "diagnostics": {"retrieval": {"mean_average_precision": METRIC}},
    }


def test_a_result_of_schema_1_gets_its_target_and_the_facts_of_its_metrics(old):
    new = upgraded(old)
    assert new["schema"] == SCHEMA
    assert target_from_dict(new["data"]["target"]) == Classes(("a", "b"))
    assert new["metrics"]["ece"]["direction"] == "lower"
    assert new["evaluations"]["knn"]["bootstrap"] == {"resamples": 9, "skipped": {"auroc": 2}}
    assert old["schema"] == 1
    assert "target" not in old["data"]


def test_it_is_read_and_shown_by_its_directory(old, tmp_path):
    directory = RunDirectory(tmp_path)
    directory.result.write_text(json.dumps(old))
    result = directory.load()
    (scores,) = score_tables(result)
    assert scores.rows == [["", "knn"], ["accuracy", ".500 [.250, .750]"], ["ECE", ".500 [.250, .750]"]]
    assert ranking_rows(result) == [["", "retrieval"], ["mAP", ".500 [.250, .750]"]]


def test_a_result_of_today_stays_as_it_is_and_another_is_not_known():
    assert upgraded({"schema": SCHEMA, "x": 1}) == {"schema": SCHEMA, "x": 1}
    assert upgraded({"schema": 99}) is None
    assert upgraded({}) is None
