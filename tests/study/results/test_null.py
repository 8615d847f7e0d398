"""Every paired test keeps its level: two models that are equally good are told apart as often as it says."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from medssl.contracts.targets import Classes, Findings, Grades, Quantity
from medssl.evaluation.metrics import PairedTest, Scored, prediction_metrics
from medssl.evaluation.metrics.classes import AUROC
from medssl.evaluation.metrics.curves import auroc_shares, average_precision_shares
from medssl.study.results.statistics import normal_test, sign_flip_exact, sign_flip_sampled, sum_by_unit

GROUPS, SIZE, RUNS = 200, 3, 1000  # with 60 groups the normal tests reject 55 to 69 times: they need many
TARGETS = (Classes(("a", "b", "c")), Grades(("low", "mid", "high")), Findings(("x", "y")), Quantity("years"))
TESTED = [(target, metric) for target in TARGETS for metric in prediction_metrics(target) if metric.test]


def draw(target, generator):
    """Truth, groups, and two predictions that are equally good; images of a group are alike."""
    unit = np.repeat(np.arange(GROUPS), SIZE)
    shared, own = generator.normal(size=(3, GROUPS, 3))[:, unit], generator.normal(size=(3, GROUPS * SIZE, 3))
    truth, *noise = (shared + own) / np.sqrt(2)
    if isinstance(target, Quantity):
        return truth[:, 0], unit, [(truth + part)[:, :1] for part in noise]
    if isinstance(target, Findings):
        y = (truth[:, :2] > 0.5).astype(np.float32)
        return y, unit, [1 / (1 + np.exp(-(truth + 1.5 * part)[:, :2])) for part in noise]
    scores = [np.exp(truth + 1.5 * part) for part in noise]
    return truth.argmax(axis=1), unit, [each / each.sum(axis=1, keepdims=True) for each in scores]


def p_value(metric, target, y, unit, predictions):
    first, second = (Scored(target, y, prediction) for prediction in predictions)
    by_unit = sum_by_unit((metric.contributions(first) - metric.contributions(second))[:, None], unit)
    if metric.test is PairedTest.EXACT:
        return sign_flip_exact(by_unit[:, 0])
    if metric.test is PairedTest.SAMPLED:
        return float(sign_flip_sampled(by_unit, flips=400)[0])
    values = [float(metric.values(each.as_is())[0]) for each in (first, second)]
    return normal_test(values[0] - values[1], by_unit[:, 0])


@pytest.mark.slow
@pytest.mark.parametrize(("target", "metric"), TESTED, ids=[f"{t.kind}-{m.name}" for t, m in TESTED])
def test_equal_models_are_told_apart_as_often_as_the_level_says(target, metric):
    rejected = 0
    for seed in range(RUNS):
        rejected += p_value(metric, target, *draw(target, np.random.default_rng(seed))) <= 0.05
    low, high = stats.binom.interval(0.99, RUNS, 0.05)
    # a test that counts signs has a level of at most .05, since its p-values are steps
    assert (0 if metric.test is PairedTest.EXACT else low) <= rejected <= high, rejected


@pytest.mark.parametrize(("target", "metric"), TESTED, ids=[f"{t.kind}-{m.name}" for t, m in TESTED])
def test_contributions_add_up_to_the_metric_or_to_its_error(target, metric):
    """Sums of exact and sampled contributions rise with the metric; parts of an error sum to nothing."""
    y, _, predictions = draw(target, np.random.default_rng(0))
    sums, values = [], []
    for prediction in predictions:
        scored = Scored(target, y, prediction)
        sums.append(float(metric.contributions(scored).sum()))
        values.append(float(metric.values(scored.as_is())[0]))
    if metric.test is PairedTest.NORMAL:
        assert sums == pytest.approx([0, 0], abs=1e-9)
    elif metric.name == "rmse":
        assert np.sqrt(sums) == pytest.approx(values)
    else:
        scale = len(y) if metric.test is PairedTest.EXACT else 1
        assert (sums[0] - sums[1]) / scale == pytest.approx(values[0] - values[1])


@pytest.mark.parametrize(("shares", "area"), [(auroc_shares, "auroc"), (average_precision_shares, "average_precision")])
def test_shares_of_an_area_give_the_variance_that_a_bootstrap_finds(shares, area):
    generator = np.random.default_rng(2)
    positive = generator.random(400) < 0.3
    scores = np.round(generator.normal(size=400) + positive, 1)  # with ties
    target, n = Findings(("x",)), len(scores)
    drawn = np.stack([np.bincount(generator.integers(0, n, n), minlength=n) for _ in range(3000)], axis=1)
    scored = Scored(target, positive[:, None].astype(float), 1 / (1 + np.exp(-scores))[:, None])
    metric = next(m for m in prediction_metrics(target) if m.name == area)
    values = metric.values(scored.resampled(drawn.astype(float)))
    assert np.square(shares(scores, positive)).sum() == pytest.approx(values.var(), rel=0.1)


def test_shares_of_average_precision_equal_its_derivatives():
    """Central differences by each sample's weight, of the average precision with real weights in a loop."""
    generator = np.random.default_rng(0)
    positive = generator.random(30) < 0.4
    scores = np.round(generator.random(30), 1)

    def weighted(weights):
        found = 0.0
        for i in np.flatnonzero(positive):
            above = scores >= scores[i]
            found += weights[i] * weights[above & positive].sum() / weights[above].sum()
        return found / weights[positive].sum()

    step, expected = 1e-5, []
    for i in range(30):
        up, down = np.ones(30), np.ones(30)
        up[i] += step
        down[i] -= step
        expected.append((weighted(up) - weighted(down)) / (2 * step))
    assert average_precision_shares(scores, positive) == pytest.approx(np.array(expected), abs=1e-8)


def test_shares_of_many_classes_are_the_mean_over_classes():
    y, _, (prediction, _) = draw(TARGETS[0], np.random.default_rng(1))
    parts = [auroc_shares(prediction[:, c], y == c) for c in range(3)]
    assert AUROC().contributions(Scored(TARGETS[0], y, prediction)) == pytest.approx(np.mean(parts, axis=0))
