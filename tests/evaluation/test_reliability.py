"""Reliability bins against a loop, and against the calibration error that they add up to."""

from __future__ import annotations

import numpy as np
import pytest

from medssl.contracts.targets import Classes
from medssl.evaluation.reliability import reliability
from medssl.evaluation.scoring import score
from medssl.recipe.settings import EvaluateSettings


@pytest.fixture
def case():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 200)
    weight = rng.random((200, 3)) ** 3 + 0.4 * np.eye(3)[labels]
    return weight / weight.sum(axis=1, keepdims=True), labels


def test_bins_equal_a_loop_over_samples(case):
    proba, labels = case
    found = reliability(proba, labels)
    for b in range(15):
        inside = [i for i in range(200) if b / 15 < proba[i].max() <= (b + 1) / 15]
        assert found["count"][b] == len(inside)
        if inside:
            assert found["confidence"][b] == pytest.approx(np.mean([proba[i].max() for i in inside]))
            assert found["accuracy"][b] == pytest.approx(np.mean([proba[i].argmax() == labels[i] for i in inside]))
        else:
            assert found["confidence"][b] is found["accuracy"][b] is None


def test_gaps_add_up_to_the_calibration_error(case):
    proba, labels = case
    found = reliability(proba, labels)
    bins = zip(found["count"], found["confidence"], found["accuracy"], strict=True)
    ece = sum(n * abs(right - sure) for n, sure, right in bins if n) / 200
    scores = score(Classes(("a", "b", "c")), labels, proba, None, EvaluateSettings(bootstrap=0), 0)
    assert scores["ece"]["value"] == pytest.approx(ece)


def test_full_confidence_is_in_the_last_bin():
    assert reliability(np.eye(2), np.array([0, 0]))["count"] == [0] * 14 + [2]
