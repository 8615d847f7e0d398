"""Every paired test keeps its level: two models that are equally good are told apart as often as it says."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from medssl.contracts.targets import Classes, Findings, Grades, Quantity
from medssl.evaluation.metrics import Decided, PairedTest, Scored, prediction_metrics
from medssl.evaluation.metrics.curves import auroc_shares, average_precision_shares
from medssl.evaluation.metrics.discrimination import AUROC
from medssl.evaluation.metrics.problems import problem_outcomes
from medssl.evaluation.uncertainty.statistics import sign_flip_exact, sign_flip_sampled, sum_by_unit, t_test

GROUPS, SIZE, RUNS = 60, 3, 1000
GRADES, FINDINGS = Grades(("low", "mid", "high")), Findings(("x", "y"))
TARGETS = (Classes(("a", "b", "c")), Classes(("a", "b")), GRADES, FINDINGS, Quantity("years"))
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
    truth, noise = truth[:, : target.outputs], [part[:, : target.outputs] for part in noise]
    scores = [np.exp(truth + 1.5 * part) for part in noise]
    return truth.argmax(axis=1), unit, [each / each.sum(axis=1, keepdims=True) for each in scores]


def scored(target, y, prediction):
    """Truth and prediction with decisions by fixed thresholds; a threshold that is chosen elsewhere is fixed here."""
    if isinstance(target, Quantity):
        return Scored(target, y, prediction)
    _, scores = problem_outcomes(target, y, prediction)
    at = 0.4 if scores.shape[1] < 3 else 0.33
    decided = Decided(positive=(scores >= at).astype(float), benefit_at=np.full(scores.shape, 0.3), miss=2.0)
    return Scored(target, y, prediction, decided)


def p_value(metric, target, y, unit, predictions):
    first, second = (scored(target, y, prediction) for prediction in predictions)
    by_unit = sum_by_unit((metric.contributions(first) - metric.contributions(second))[:, None], unit)
    if metric.test is PairedTest.EXACT:
        return sign_flip_exact(by_unit[:, 0])
    if metric.test is PairedTest.SAMPLED:
        return float(sign_flip_sampled(by_unit, flips=400)[0])
    values = [float(metric.values(each.as_is())[0]) for each in (first, second)]
    return t_test(values[0] - values[1], by_unit[:, 0], few=metric.test is PairedTest.FEW)


@pytest.mark.slow
@pytest.mark.parametrize(("target", "metric"), TESTED, ids=[f"{t.outputs} {t.kind}-{m.name}" for t, m in TESTED])
def test_equal_models_are_told_apart_as_often_as_the_level_says(target, metric):
    rejected = 0
    for seed in range(RUNS):
        rejected += p_value(metric, target, *draw(target, np.random.default_rng(seed))) <= 0.05
    low, high = stats.binom.interval(0.99, RUNS, 0.05)
    # tests of counts have a level of at most .05: their p-values are steps, or a few images make most of the error
    counts = metric.test is PairedTest.EXACT or metric.__class__.__module__.endswith(".decisions")
    # probabilities sum to one, so the intercepts of several classes nearly cancel, and their mean hardly differs
    counts |= metric.name == "calibration_intercept" and target.outputs > 2
    assert (0 if counts else low) <= rejected <= high, rejected


@pytest.mark.parametrize(("target", "metric"), TESTED, ids=[f"{t.outputs} {t.kind}-{m.name}" for t, m in TESTED])
def test_contributions_add_up_to_the_metric_or_to_its_error(target, metric):
    """Sums of exact and sampled contributions rise with the metric; parts of an error sum to nothing."""
    y, _, predictions = draw(target, np.random.default_rng(0))
    sums, values = [], []
    for prediction in predictions:
        known = scored(target, y, prediction)
        sums.append(float(metric.contributions(known).sum()))
        values.append(float(metric.values(known.as_is())[0]))
    if metric.test in (PairedTest.NORMAL, PairedTest.FEW):
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
