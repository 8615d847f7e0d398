"""The figures of the time to quality, computed from curves whose answer is known."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from benchmarks.quality import Point, auroc, figures, time_to


@pytest.mark.parametrize(
    ("curve", "goal", "expected"),
    [
        ([(0, 0.5), (10, 0.7), (20, 0.9)], 0.8, 15.0),
        ([(0, 0.5), (10, 0.7), (20, 0.9)], 0.9, 20.0),
        ([(0, 0.5), (10, 0.4), (20, 0.6)], 0.5, 15.0),  # the score before training does not count
        ([(0, 0.5), (10, 0.8), (20, 0.6), (30, 0.9)], 0.8, 10.0),  # the first time
        ([(0, 0.5), (10, 0.7)], 0.8, None),
        ([(0, 0.5), (10, 0.5)], 0.5, 10.0),
    ],
)
def test_the_time_to_a_score_is_interpolated(curve, goal, expected):
    assert time_to(curve, goal) == (None if expected is None else pytest.approx(expected))


def test_the_gain_is_that_of_the_default_row_and_curves_are_means_over_seeds():
    slow = [
        [Point(0, 0.0, 0.5, 0.6), Point(10, 100.0, 0.9, 0.6)],
        [Point(0, 0.0, 0.7, 0.6), Point(10, 140.0, 0.9, 0.8)],
    ]
    quick = [[Point(0, 0.0, 0.5, 0.6), Point(5, 30.0, 1.0, 0.5)], [Point(0, 0.0, 0.7, 0.6), Point(5, 50.0, 0.8, 0.5)]]
    found = figures({"default": slow, "fast": quick})
    knn = found["knn"]
    assert (knn["untrained"], knn["default"]) == (0.6, 0.9)
    assert knn["rows"]["default"]["to 95%"] == pytest.approx(0.95 * 120)
    assert knn["rows"]["fast"]["to 95%"] == pytest.approx(0.95 * 40)
    assert found["linear"]["rows"]["fast"]["to 95%"] is None


@pytest.mark.parametrize("classes", [2, 3])
def test_auroc_is_the_mean_of_each_class_against_the_rest(classes):
    generator = np.random.default_rng(0)
    y, truth = (np.arange(60) % classes for _ in range(2))
    x, z = (generator.normal(size=(60, 4)) + labels[:, None] for labels in (y, truth))
    model = LogisticRegression()
    wanted = [
        roc_auc_score(truth == k, model.fit(x, y == k).predict_proba(z)[:, 1])
        for k in (range(classes) if classes > 2 else [1])
    ]
    assert auroc(model, x, y, z, truth) == pytest.approx(np.mean(wanted))


def test_findings_without_both_outcomes_are_left_out():
    generator = np.random.default_rng(0)
    y = np.stack([np.arange(60) % 2, np.zeros(60), np.arange(60) < 2], 1)
    x = generator.normal(size=(60, 3)) + y[:, :1]
    model = LogisticRegression()
    expected = roc_auc_score(y[:, 0], model.fit(x, y[:, 0]).predict_proba(x)[:, 1])
    assert auroc(model, x, y, x, y) == pytest.approx(expected)
