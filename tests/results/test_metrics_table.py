"""Metrics are written the same way in a terminal, a notebook and a page."""

import pytest

from medssl.contracts.targets import Classes
from medssl.evaluation.metrics import metric_facts, prediction_metrics
from medssl.results.metrics_table import metric_rows, metric_text

METRIC = {"value": 0.5, "low": 0.25, "high": 0.75}


@pytest.mark.parametrize(
    ("metric", "text"),
    [
        (METRIC, ".500 [.250, .750]"),
        ({"value": 1.0, "low": 1.0, "high": 1.0}, "1.000 [1.000, 1.000]"),
        ({"value": -0.25, "low": -0.5, "high": 0.0}, "-.250 [-.500, .000]"),
        ({"value": None, "low": None, "high": None}, "-"),
        ({"value": 0.5, "low": None, "high": None}, ".500"),
    ],
)
def test_metrics_are_written_short(metric, text):
    assert metric_text(metric) == text


def test_rows_are_metrics_and_columns_are_evaluators():
    target = Classes(("a", "b"))
    scores = dict.fromkeys([metric.name for metric in prediction_metrics(target)], METRIC)
    rows = metric_rows(metric_facts(target), {"knn": scores, "linear": {"accuracy": METRIC}})
    assert rows[0] == ["", "knn", "linear"]
    assert rows[1] == ["AUROC", ".500 [.250, .750]", "-"]
    assert ["accuracy", ".500 [.250, .750]", ".500 [.250, .750]"] in rows
    assert rows[2][2] == "-"
