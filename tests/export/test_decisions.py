from __future__ import annotations

import numpy as np
import pytest

from medssl.contracts import Classes, Findings, Quantity
from medssl.export.decisions import Decision

TWO, THREE, FINDINGS = Classes(("well", "ill")), Classes(("a", "b", "c")), Findings(("x", "y"))


def points(**thresholds):
    found = {name: {"threshold": value} for name, value in thresholds.items()}
    return {"operating_points": {"points": found, "decision": "As chosen.", "priors": None}}


@pytest.mark.parametrize(
    ("target", "evaluation", "values", "expected"),
    [
        (TWO, {}, [[0.7, 0.3], [0.4, 0.6]], ["well", "ill"]),
        (TWO, points(ill=0.2), [[0.7, 0.3], [0.9, 0.1]], ["ill", "well"]),
        (TWO, points(ill=None), [[0.7, 0.3]], [""]),
        (THREE, {}, [[0.2, 0.5, 0.3]], ["b"]),
        (FINDINGS, {}, [[0.5, 0.4], [0.1, 0.2], [0.9, 0.9]], ["x", "none", "x; y"]),
        (FINDINGS, points(x=0.6, y=0.1), [[0.5, 0.4]], ["y"]),
        (FINDINGS, points(x=0.6, y=None), [[0.5, 0.4]], [""]),
        (Quantity("years"), {}, [[61.0]], [""]),
    ],
)
def test_decisions(target, evaluation, values, expected):
    assert Decision.of(target, evaluation).decide(np.array(values, np.float32)) == expected


def test_probabilities_are_divided_by_the_priors_of_the_run():
    evaluation = points(a=0.5, b=0.5, c=0.5)
    evaluation["operating_points"]["priors"] = {"a": 0.8, "b": 0.1, "c": 0.1}
    rule = Decision.of(THREE, evaluation)
    assert rule.decide(np.array([[0.6, 0.3, 0.1]], np.float32)) == ["b"]
    assert rule.words == "As chosen."


def test_the_words_say_when_there_is_no_operating_point():
    assert "no operating point" in Decision.of(TWO, {}).words
    assert "0.5" in Decision.of(FINDINGS, {}).words
