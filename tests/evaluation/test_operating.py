"""Thresholds are chosen on the validation part by a rule, and what cannot be chosen is said."""

from __future__ import annotations

import json

import numpy as np
import pytest

from medssl.contracts.targets import Classes, Findings, Quantity
from medssl.errors import OptionError
from medssl.evaluation.operating import OperatingPoints, choose_operating_points, choose_threshold
from medssl.recipe import options
from medssl.recipe.operating_rule import OperatingRule
from medssl.recipe.settings import EvaluateSettings

TWO = Classes(("no", "yes"))


def draw(n, seed=0, levels=None):
    rng = np.random.default_rng(seed)
    positive = rng.random(n) < 0.3
    scores = np.clip(0.3 * positive + 0.7 * rng.random(n), 0, 1)
    return (np.round(scores * levels) / levels if levels else scores), positive


def best_by_loop(rule, scores, positive):
    """All thresholds between two neighbouring scores, one by one; the lowest of the best."""
    levels = np.unique(scores)
    best = None
    for threshold in (levels[1:] + levels[:-1]) / 2:
        called = scores >= threshold
        sensitivity, specificity = called[positive].mean(), (~called)[~positive].mean()
        if rule.kind == "sensitivity":
            merit = specificity if sensitivity >= rule.bound else None
        elif rule.kind == "specificity":
            merit = sensitivity if specificity >= rule.bound else None
        elif rule.kind == "cost":
            merit = -(rule.miss * (positive & ~called).sum() + rule.alarm * (~positive & called).sum())
        else:
            merit = sensitivity + specificity
        if merit is not None and (best is None or merit > best[0] + 1e-9):
            best = (merit, threshold, sensitivity, specificity)
    return best[1:]


@pytest.mark.parametrize("rule", ["youden", "sensitivity>=0.95", "sensitivity >= 0.5", "specificity>=0.9", "cost=5:1"])
@pytest.mark.parametrize("levels", [None, 10])
def test_threshold_is_that_of_a_loop(rule, levels):
    known = OperatingRule.parse(rule)
    for seed in range(5):
        scores, positive = draw(150, seed, levels)
        found = choose_threshold(known, scores, positive)
        assert (found.threshold, found.sensitivity, found.specificity) == pytest.approx(
            best_by_loop(known, scores, positive)
        )
        assert (found.positives, found.negatives) == (positive.sum(), (~positive).sum())
        assert found.net_benefit_at == pytest.approx(1 / 6 if rule == "cost=5:1" else positive.mean())


@pytest.mark.parametrize(
    ("scores", "positive", "rule", "reason"),
    [
        ([0.1, 0.2], [0, 0], "youden", "the validation part has no positive image"),
        ([0.1, 0.2], [1, 1], "youden", "the validation part has no negative image"),
        ([0.5, 0.5], [0, 1], "youden", "calling every validation image positive"),
        ([0.9, 0.1], [0, 1], "youden", "calling every validation image positive"),
        ([0.9, 0.1, 0.2], [0, 1, 0], "specificity>=0.9", "calling every validation image negative"),
        ([0.9, 0.1, 0.2], [0, 1, 0], "sensitivity>=1", "calling every validation image positive"),
        ([0.1, 0.2, 0.3], [0, 1, 0], "cost=1:9", "calling every validation image negative"),
    ],
)
def test_what_no_threshold_reaches_is_said(scores, positive, rule, reason):
    found = choose_threshold(OperatingRule.parse(rule), np.array(scores), np.array(positive) == 1)
    assert found.threshold is None
    assert reason in str(found.reason)


@pytest.mark.parametrize(
    "text", ["", "youdens", "sensitivity>=0", "sensitivity>=1.2", "cost=0:1", "cost=5", "cost=1.2.3:1"]
)
def test_a_rule_that_is_none_is_refused_with_the_rules(text):
    with pytest.raises(OptionError, match=r"is not a rule\. Rules: youden, sensitivity>=0\.95"):
        options.build(EvaluateSettings, {"operating_point": text}, "evaluate")


def test_decisions_for_two_classes():
    scores, positive = draw(100)
    prediction = np.stack([1 - scores, scores], axis=1)
    points = choose_operating_points(TWO, positive.astype(int), prediction, "youden", positive.astype(int))
    threshold = points.points["yes"].threshold
    assert points.decision == f"'yes' if its probability is at least {threshold:.4g}, otherwise 'no'."
    assert points.decide(TWO, prediction).tolist() == (scores >= threshold).astype(int).tolist()
    assert points.notes == []
    assert OperatingPoints.from_dict(json.loads(json.dumps(points.to_dict()))) == points


def test_one_class_in_validation_is_a_note_and_no_decision():
    prediction = np.array([[0.3, 0.7], [0.6, 0.4]])
    points = choose_operating_points(TWO, np.array([1, 1]), prediction, "youden", np.array([0, 1]))
    assert points.notes == ["No operating point for yes: the validation part has no negative image."]
    assert points.decide(TWO, prediction) is None
    assert np.isnan(points.decided(TWO, prediction).positive).all()
    empty = choose_operating_points(TWO, np.empty(0, int), np.empty((0, 2)), "youden", np.array([0, 1]))
    assert empty.notes == ["No operating point for yes: the validation part has no positive image."]


def test_more_classes_are_decided_after_division_by_their_shares():
    target = Classes(("a", "b", "c"))
    train = np.array([0] * 8 + [1] * 2)
    rng = np.random.default_rng(0)
    y, prediction = rng.integers(0, 3, 60), rng.dirichlet([1, 1, 1], 60)
    points = choose_operating_points(target, y, prediction, "youden", train)
    assert points.priors == pytest.approx({"a": 8 / 11, "b": 2 / 11, "c": 1 / 11})  # no image counts as one
    expected = (prediction / (np.array([8, 2, 1]) / 11)).argmax(axis=1)
    assert points.decide(target, prediction).tolist() == expected.tolist()
    plain = choose_operating_points(target, y, prediction, "cost=3:1", train)
    assert plain.priors is None
    assert plain.decide(target, prediction).tolist() == prediction.argmax(axis=1).tolist()


def test_findings_are_decided_one_by_one_without_unknown_outcomes():
    target = Findings(("x", "y"))
    y = np.array([[0, np.nan], [1, 0], [0, 1], [1, 1]])
    prediction = np.array([[0.1, 0.9], [0.6, 0.2], [0.3, 0.6], [0.9, 0.7]])
    points = choose_operating_points(target, y, prediction, "youden", y)
    assert points.points["x"].threshold == pytest.approx(0.45)
    assert (points.points["y"].positives, points.points["y"].negatives) == (2, 1)
    assert points.decide(target, prediction).tolist() == [[False, True], [True, False], [False, True], [True, True]]


def test_many_findings_have_no_priors():
    target = Findings(("x", "y", "z"))
    y = np.array([[0, np.nan, 1], [1, 0, 0], [0, 1, 1], [1, 1, 0]])
    points = choose_operating_points(target, y, np.full((4, 3), 0.5), "youden", y)
    assert points.priors is None
    assert len(points.notes) == 1


def test_a_quantity_has_no_operating_points():
    assert choose_operating_points(Quantity("years"), np.ones(3), np.ones((3, 1)), "youden", np.ones(3)) is None
