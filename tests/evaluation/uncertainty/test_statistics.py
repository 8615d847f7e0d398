"""Intervals and tests against scipy, exhaustive enumeration and slow loops."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score

from medssl.contracts.targets import Classes
from medssl.evaluation.metrics import Scored
from medssl.evaluation.metrics.discrimination import AUROC
from medssl.evaluation.uncertainty.statistics import (
    draw_seeds,
    holm,
    implied_interval,
    sign_flip_exact,
    sign_flip_sampled,
    spread,
    sum_by_unit,
    t_test,
)


@pytest.mark.parametrize(("right", "n"), [(0, 20), (456, 545), (1000, 1000), (481, 624)])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_implied_interval_is_scipys_wilson_interval(right, n, confidence):
    wanted = stats.binomtest(right, n).proportion_ci(confidence, method="wilson")
    assert implied_interval(right / n, n, confidence) == pytest.approx((wanted.low, wanted.high), abs=1e-12)


@given(st.integers(0, 60), st.integers(0, 60))
@settings(deadline=None, max_examples=60)
def test_flipping_single_images_of_single_runs_is_mcnemars_exact_test(only_first, only_second):
    differences = np.array([1] * only_first + [-1] * only_second + [0] * 7)
    n = only_first + only_second
    wanted = stats.binomtest(only_first, n).pvalue if n else 1.0
    assert sign_flip_exact(differences) == pytest.approx(wanted, abs=1e-12)


@given(st.lists(st.integers(-6, 6), min_size=1, max_size=10))
@settings(deadline=None, max_examples=60)
def test_exact_flips_equal_the_enumeration_of_all_signs(differences):
    sums = [abs(np.dot(signs, differences)) for signs in itertools.product((-1, 1), repeat=len(differences))]
    wanted = np.mean([total >= abs(sum(differences)) for total in sums])
    assert sign_flip_exact(np.array(differences)) == pytest.approx(wanted, abs=1e-12)


def test_exact_flips_equal_scipys_paired_permutation_test():
    differences = np.array([3, -1, 2, 4, 0, -2, 5, 1, 1])
    wanted = stats.permutation_test(
        (differences, np.zeros_like(differences)),
        lambda x, y, axis: np.sum(x - y, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=np.inf,
    )
    assert sign_flip_exact(differences) == pytest.approx(wanted.pvalue, abs=1e-12)


def test_exact_flips_stand_a_thousand_units():
    differences = np.random.default_rng(0).integers(-3, 4, 1000)
    normal = stats.norm.sf(abs(differences.sum()) / np.sqrt((differences**2).sum())) * 2
    assert sign_flip_exact(differences) == pytest.approx(normal, rel=0.1)


def test_sampled_flips_come_near_the_exact_ones_and_are_never_zero():
    generator = np.random.default_rng(1)
    columns = np.stack([generator.integers(-2, 4, 40), np.full(40, 5), generator.integers(-1, 2, 40)], axis=1)
    sampled = sign_flip_sampled(columns / 7, flips=20_000)
    exact = [sign_flip_exact(column) for column in columns.T]
    assert sampled == pytest.approx(exact, abs=0.01)
    assert sampled[1] == 1 / 20_001


def test_sampled_flips_do_not_depend_on_how_many_are_held_at_a_time(monkeypatch):
    columns = np.random.default_rng(2).normal(size=(30, 2))
    whole = sign_flip_sampled(columns, flips=500)
    monkeypatch.setattr("medssl.evaluation.uncertainty.statistics._CHUNK", 30 * 7)
    assert np.array_equal(sign_flip_sampled(columns, flips=500), whole)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_equals_stepping_down_in_a_loop(values):
    adjusted = [None] * len(values)
    remaining, floor = list(range(len(values))), 0.0
    while remaining:
        smallest = min(remaining, key=lambda i: values[i])
        floor = max(floor, values[smallest] * len(remaining))
        adjusted[smallest] = min(1.0, floor)
        remaining.remove(smallest)
    assert holm(values) == pytest.approx(adjusted)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])


def test_the_spread_is_the_sample_deviation():
    assert spread([0.7, 0.8, 0.9]) == pytest.approx(0.1)
    assert spread([0.7]) is None


def test_a_single_seed_is_drawn_as_it_is():
    draws = np.random.default_rng(0).random((1, 50))
    assert np.array_equal(draw_seeds(draws, 3), draws[0])


def test_drawn_seeds_spread_as_seeds_and_units_do_together():
    """Two independent parts of variance: that between 4 seeds (over 4), and that of the draws."""
    generator = np.random.default_rng(0)
    seeds, units = np.array([[0.1], [0.3], [0.5], [0.9]]), generator.normal(0, 0.05, 40_000)
    drawn = draw_seeds(seeds + units, 1)
    assert drawn.mean() == pytest.approx(seeds.mean(), abs=0.01)
    assert drawn.var() == pytest.approx(seeds.var() / 4 + 0.05**2, rel=0.05)


def test_sums_by_unit_equal_a_loop():
    generator = np.random.default_rng(0)
    values, units = generator.normal(size=(20, 3)), generator.integers(0, 5, 20)
    wanted = [values[units == unit].sum(axis=0) for unit in range(units.max() + 1)]
    assert sum_by_unit(values, units) == pytest.approx(np.array(wanted))


# --------------------------------------------------------------------------------------------------- AUROCs by DeLong


def scored(proba, labels):
    return Scored(Classes(tuple(f"c{i}" for i in range(proba.shape[1]))), labels, proba)


def auroc_shares(proba, labels):
    return AUROC().contributions(scored(proba, labels))


def delong(scores, positive):
    """Covariance of the AUROCs of several methods (rows of scores), by DeLong's equations in loops; and the AUROCs."""
    pairs = [
        np.array([[float(x > y) + 0.5 * float(x == y) for y in row[~positive]] for x in row[positive]])
        for row in scores
    ]
    of_positives = np.cov([p.mean(axis=1) for p in pairs]) / positive.sum()
    of_negatives = np.cov([p.mean(axis=0) for p in pairs]) / (~positive).sum()
    return of_positives + of_negatives, [p.mean() for p in pairs]


def two_methods(n, seed=0, steps=8):
    """Scores in a few steps, so that there are ties, and labels."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 2, n)
    scores = np.round((generator.random((2, n)) + 0.4 * labels) * steps) / (2 * steps)
    return [np.stack([1 - row, row], axis=1) for row in scores], labels


def test_shares_of_two_aurocs_give_delongs_variance_of_their_difference():
    (first, second), labels = two_methods(60)
    covariance, aurocs = delong([first[:, 1], second[:, 1]], labels == 1)
    shares = [auroc_shares(proba, labels) for proba in (first, second)]
    assert np.square(shares[0]).sum() == pytest.approx(covariance[0, 0])
    variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    assert np.square(shares[0] - shares[1]).sum() == pytest.approx(variance)
    p = t_test(aurocs[0] - aurocs[1], shares[0] - shares[1])
    t = abs(aurocs[0] - aurocs[1]) / (variance * 60 / 59) ** 0.5
    assert p == pytest.approx(2 * stats.t.sf(t, 59))


def test_few_units_with_most_of_the_error_have_fewer_degrees_of_freedom():
    shares = np.array([0.05, -0.04, 0.03] + [0.001, -0.001] * 20)
    squares = shares**2
    freedom = 2 * squares.sum() ** 2 / ((squares**2).sum() - squares.sum() ** 2 / 43)
    t = 0.15 / np.sqrt(squares.sum() * 43 / 42)
    assert 1 < freedom < 10
    assert t_test(0.15, shares, few=True) == pytest.approx(2 * stats.t.sf(t, freedom))
    assert t_test(0.15, shares, few=True) > t_test(0.15, shares) == pytest.approx(2 * stats.t.sf(t, 42))


def test_shares_of_many_classes_give_the_variance_that_a_bootstrap_finds():
    generator = np.random.default_rng(3)
    labels = generator.integers(0, 3, 150)
    proba = generator.random((150, 3)) + 0.5 * np.eye(3)[labels]
    proba /= proba.sum(axis=1, keepdims=True)
    weights = np.stack([np.bincount(generator.integers(0, 150, 150), minlength=150) for _ in range(2000)], axis=1)
    drawn = AUROC().values(scored(proba, labels).resampled(weights.astype(float)))
    assert np.square(auroc_shares(proba, labels)).sum() == pytest.approx(drawn.var(), rel=0.1)


def test_copies_in_one_unit_add_nothing_to_what_an_auroc_test_knows():
    (first, second), labels = two_methods(80)
    once = auroc_shares(first, labels) - auroc_shares(second, labels)
    first, second, labels = (np.repeat(a, 3, axis=0) for a in (first, second, labels))
    thrice = auroc_shares(first, labels) - auroc_shares(second, labels)
    by_unit = sum_by_unit(thrice[:, None], np.repeat(np.arange(80), 3))[:, 0]
    assert t_test(0.05, by_unit) == pytest.approx(t_test(0.05, once), rel=0.05)
    assert t_test(0.05, thrice) < 0.5 * t_test(0.05, once)  # as if they were new patients


def test_an_auroc_test_of_equal_methods_rejects_as_often_as_it_says():
    rejected = 0
    for seed in range(400):
        (first, second), labels = two_methods(60, seed=seed, steps=1000)
        shares = auroc_shares(first, labels) - auroc_shares(second, labels)
        difference = roc_auc_score(labels, first[:, 1]) - roc_auc_score(labels, second[:, 1])
        rejected += t_test(difference, shares) <= 0.05
    assert 8 <= rejected <= 36  # 20 expected; beyond these once in a thousand


def test_few_units_show_no_more_by_auroc_than_by_flipping_signs():
    assert t_test(0.9, np.array([0.01, -0.01, 0.02, -0.02])) == 2**-3


def test_methods_that_rank_alike_do_not_differ():
    (first, _), labels = two_methods(20)
    assert t_test(0.0, auroc_shares(first, labels) * 0) == 1.0


@pytest.mark.parametrize(("difference", "part"), [(0.1, np.nan), (0.1, np.inf), (np.nan, 0.1), (np.inf, 0.1)])
@pytest.mark.parametrize("few", [False, True])
def test_a_difference_of_unknown_error_is_not_significant(difference, part, few):
    assert t_test(difference, np.array([0.1, -0.2, part, 0.3]), few=few) == 1.0
