"""Published numbers beside our own."""

import pytest

from medssl.errors import CheckpointError
from medssl.evaluation.uncertainty.statistics import implied_interval
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


@pytest.mark.parametrize("other", [50, 0])
def test_runs_with_other_numbers_of_resamples_are_compared_with_the_largest(make_run, other):
    runs = [make_run(bootstrap=200), make_run(method="simclr", bootstrap=other)]
    same = [make_run(bootstrap=200), make_run(method="simclr", bootstrap=200)]
    one, wanted = ({c.metric: (c.low, c.high, c.p) for c in summarise(some).comparisons} for some in (runs, same))
    assert one == wanted


def test_intervals_of_different_confidence_are_refused_by_name(make_run):
    runs = [make_run(), make_run(method="simclr", evaluate__confidence=0.9)]
    with pytest.raises(CheckpointError, match=rf"0.9 \({runs[1].path.name}\), 0.95 \({runs[0].path.name}\)"):
        summarise(runs)
