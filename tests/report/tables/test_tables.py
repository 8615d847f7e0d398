"""What a finished run prints: predictions, rankings, observations, and the remarks of all three."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from medssl.contracts.targets import Classes
from medssl.evaluation.metrics import metric_facts, prediction_metrics, ranking_metrics
from medssl.report.tables.tables import diagnostic_lines, print_result, ranking_rows
from medssl.results.directory import RunResult

TARGET = Classes(("a", "b"))
METRICS = [metric.name for metric in prediction_metrics(TARGET)]
RANKING_METRICS = [metric.name for metric in ranking_metrics(TARGET)]
METRIC = {"value": 0.5, "low": 0.25, "high": 0.75}


@pytest.fixture
def values():
    return {
        "method": "m",
        "dataset": "d",
        "data": {
            "directory": "images",
            "images": 22,
            "train": 10,
            "val": 4,
            "test": 8,
            "target": {"kind": "classes", "names": ["a", "b"]},
            "split": "grouped",
            "warnings": ["a warning"],
        },
        "metrics": metric_facts(TARGET),
        "evaluations": {"votes": {**dict.fromkeys(METRICS, METRIC), "notes": ["a note"]}},
        "diagnostics": {
            "features": {"images": 10, "effective_rank": 31.4159, "feature_std": None, "collapsed": None},
            "gallery": {**dict.fromkeys(RANKING_METRICS, METRIC), "n": 8, "selected": {}, "notes": ["left out"]},
            "majority": {"class": "a", "accuracy": 0.4, "notes": []},
            "map": {"kl": 0.123456, "selected": {"x": 1}, "notes": ["too few"]},
        },
    }


def printed(values):
    stream = io.StringIO()
    print_result(RunResult(Path("runs/x"), values), stream)
    return stream.getvalue().splitlines()


def test_rankings_are_a_table_of_their_own(values):
    rows = ranking_rows(RunResult(Path("runs/x"), values))
    assert rows[0] == ["", "gallery"]
    assert rows[1] == ["mAP", ".500 [.250, .750]"]
    assert [row[0] for row in rows[2:]] == ["recall@1", "recall@5", "recall@10"]


def test_features_and_observations_are_a_line_each(values):
    lines = diagnostic_lines(RunResult(Path("runs/x"), values))
    assert lines == [
        "features: images 10, effective_rank 31.4, feature_std -, collapsed -",
        "majority: class a, accuracy 0.4",
        "map: kl 0.123",
    ]


def test_everything_is_printed_with_its_remarks(values):
    lines = printed(values)
    assert lines[0].startswith("m on d: 10 training")
    assert any(" ".join(line.split()) == "accuracy .500 [.250, .750]" for line in lines)
    assert "mAP        .500 [.250, .750]" in lines
    assert [line for line in lines if line.startswith("note: ")] == [
        "note: a warning",
        "note: votes: a note",
        "note: gallery: left out",
        "note: map: too few",
    ]
    assert lines[-1] == "runs/x"


def test_run_without_predictions_or_rankings_prints_neither_table(values):
    values["evaluations"] = {}
    del values["diagnostics"]["gallery"], values["diagnostics"]["majority"]
    lines = printed(values)
    assert not any("accuracy" in line or "mAP" in line for line in lines)
    assert "map: kl 0.123" in lines


def test_result_of_an_earlier_version_has_no_diagnostics(values):
    del values["diagnostics"]
    assert "note: votes: a note" in printed(values)
