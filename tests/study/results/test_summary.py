"""Published numbers beside our own."""

import pytest

from medssl.study.results.statistics import implied_interval
from medssl.study.results.summary import summarise


def test_published_cells_carry_the_interval_of_their_test_size(make_run):
    cells = summarise([make_run(dataset="pneumonia", n=9)]).published["pneumonia"]
    (cell,) = [c for c in cells if (c.method, c.evaluator, c.metric) == ("dcl", "knn", "accuracy")]
    assert (cell.value, cell.batch_size) == (0.771, 64)
    assert (cell.low, cell.high) == pytest.approx(implied_interval(0.771, 624))
    (f1,) = [c for c in cells if (c.method, c.evaluator, c.metric) == ("dcl", "knn", "f1_weighted")]
    assert (f1.value, f1.low, f1.high) == (0.759, None, None)


def test_a_dataset_of_the_users_own_has_no_published_cells(make_run):
    assert summarise([make_run(n=9)]).published == {"phantom": []}


def test_nothing_is_summed_up_to_nothing():
    summary = summarise([])
    assert (summary.rows, summary.comparisons) == ((), ())
