"""What one run adds to another equals the comparison of the two as rows of a study."""

import pytest

from medssl.evaluation.predictions import read_predictions
from medssl.evaluation.uncertainty.paired import paired_differences
from medssl.evaluation.uncertainty.statistics import holm
from medssl.study.results.summary import summarise


def test_differences_equal_those_of_a_study_of_the_two(make_run):
    runs = [
        make_run(evaluators=("knn", "linear"), accuracy=0.8),
        make_run(method="simclr", evaluators=("knn", "linear")),
    ]
    found = paired_differences(*map(read_predictions, runs), resamples=200, confidence=0.95)
    for comparison in summarise(runs).comparisons:
        own = found[comparison.evaluator][comparison.metric]
        numbers = (own.value, own.low, own.high, own.p, own.p_adjusted)
        wanted = (comparison.difference, comparison.low, comparison.high, comparison.p, comparison.p_adjusted)
        assert numbers == pytest.approx(wanted, abs=1e-9)
        assert own.shown == comparison.shown


def test_the_correction_is_over_the_evaluators_of_a_metric(make_run):
    runs = [make_run(evaluators=("knn", "linear"), accuracy=a, method=m) for a, m in ((0.8, "dcl"), (0.6, "simclr"))]
    found = paired_differences(*map(read_predictions, runs), resamples=0, confidence=0.95)
    some = [metrics["accuracy"] for metrics in found.values()]
    assert [one.p_adjusted for one in some] == pytest.approx(holm([one.p for one in some]))
    assert all(one.low is None and one.high is None for one in some)
    assert [one.shown for one in some] == [one.p_adjusted <= 0.05 for one in some]


def test_evaluators_that_one_lacks_are_left_out(make_run):
    runs = [make_run(evaluators=("knn", "linear")), make_run(method="simclr")]
    assert list(paired_differences(*map(read_predictions, runs), resamples=0, confidence=0.95)) == ["knn"]
