"""Right values pass every check, and wrong ones are described; `test_misbehaviour.py` has the long table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from medssl.contracts import Classes, Findings, Observation, Observer, Predictor, Quantity, ViewGroup, ViewSpec
from medssl.contracts.crossing.datasets import image_problems, path_problems, text_problems
from medssl.contracts.crossing.evaluators import (
    observation_problems,
    outcome_problems,
    prediction_problems,
    ranking_problems,
)
from medssl.contracts.crossing.methods import loss_problems, state_problems, views_problems

CPU = torch.device("cpu")


class Half(Predictor):
    def __init__(self, **remarks):
        vars(self).update(remarks)

    def predict(self, x):
        return torch.full((len(x), 2), 0.5)


class Looks(Observer):
    def observe(self, x):
        return Observation(
            values={"a": 1.0, "b": np.float32(2), "c": float("nan")}, arrays={"xy": np.zeros((len(x), 2))}
        )


def test_right_values_pass():
    assert outcome_problems(Half(selected={"k": 5, "rule": "mean", "list": [1, None]}, also={"k200": Half()})) == []
    assert prediction_problems(Half().predict(torch.zeros(3, 4)), Classes(("a", "b")), 3) == []
    assert prediction_problems(torch.tensor([[0.1, 0.9]]).double(), Findings(("a", "b")), 1) == []
    assert prediction_problems(torch.tensor([[70.0]]), Quantity("years"), 1) == []
    assert ranking_problems(torch.tensor([[2, 0, 1], [0, 1, 2]]), 2, 3) == []
    assert observation_problems(Looks().observe(torch.zeros(3, 4)), 3) == []
    assert loss_problems(torch.zeros((), requires_grad=True) * 1, CPU) == []
    assert loss_problems(torch.zeros(1, requires_grad=True) * 1, CPU) == []
    assert views_problems(ViewSpec((ViewGroup(count=2), ViewGroup(count=6, scale=0.43, augment={"blur": 0.5})))) == []
    assert state_problems({"a": torch.ones(2), "b": [1, "x", None], "c": {"d": 0.5}}) == []
    assert image_problems(np.zeros((4, 5, 3), np.uint8)) == image_problems(np.zeros((4, 5, 1), ">u2")) == []
    assert path_problems(Path("a")) == path_problems(None) == text_problems("a") == text_problems(None) == []


@pytest.mark.parametrize(
    ("problems", "said"),
    [
        (outcome_problems(Half(selected={"k": float("nan")}, notes="x")), ["nan", "notes must be a list"]),
        (prediction_problems(torch.ones(2, 3, dtype=torch.int64), Classes(("a", "b")), 4), ["(4, 2)", "int64"]),
        (ranking_problems(torch.zeros(2, 3, dtype=torch.int64), 2, 3), ["each row"]),
        (observation_problems(Observation(arrays={"a": np.zeros(2)}), 3), ["one row for each of 3"]),
        (loss_problems(torch.ones(3), CPU), ["shape (3,)", "without a gradient"]),
        (views_problems(ViewSpec((ViewGroup(count=0, scale=-1),))), ["count", "scale"]),
        (state_problems({"a": {"b": object()}}), ["state_dict()['a']['b']"]),
        (image_problems(np.zeros((4, 5))), ["shape (4, 5) and type float64"]),
    ],
)
def test_everything_that_is_wrong_is_listed(problems, said):
    assert len(problems) == len(said)
    for problem, words in zip(problems, said, strict=True):
        assert words in problem
