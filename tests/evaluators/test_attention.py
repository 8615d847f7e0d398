"""Gated attention pooling: equations 8 and 9 in a loop, and one telling image among many."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from sklearn.metrics import roc_auc_score

from medssl.contracts import Classes, Features, Findings, Grades, Quantity
from medssl_evaluators._bags import Bags, Pooling
from medssl_evaluators.attention import Attention

FEW = {"epochs": 15, "min_steps": 1, "learning_rates": (3e-3,)}


def needles(groups: int, seed: int, images: int = 8) -> Features:
    """Groups of noise; in half of them one image is bright along one axis."""
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(groups * images, 6, generator=draw)
    number = torch.arange(groups * images) // images
    label = torch.arange(groups) % 2
    x[torch.arange(groups) * images + torch.randint(images, (groups,), generator=draw), 2] += 6 * label
    return Features(x=x, y=label[number], target=Classes(("no", "yes")), groups=number * 3 + 1)


def fit(train: Features, val: Features, seed: int = 0, **options: object) -> object:
    return Attention(Attention.Config(**{**FEW, **options}), seed).fit(train, val)


@torch.no_grad()
def test_the_pooling_is_equations_8_and_9() -> None:
    torch.manual_seed(0)
    network, x = Pooling(4, 3, 2).drawn(torch.Generator().manual_seed(0)), torch.randn(7, 4)
    place = torch.tensor([0, 1, 0, 2, 1, 1, 0])
    found = network(x, place, 3)
    v, u = (layer.weight.double() for layer in (network.tangent, network.gate))
    for group in range(3):
        rows = x[place == group].double()
        w, b, c = network.weigh.weight[0].double(), network.tangent.bias, network.gate.bias
        score = [float(w @ (torch.tanh(v @ h + b) * torch.sigmoid(u @ h + c))) for h in rows]
        total = sum(math.exp(each) for each in score)
        z = sum(math.exp(each) / total * h for each, h in zip(score, rows, strict=True))
        expected = network.head.weight.double() @ z + network.head.bias
        assert found[group].tolist() == pytest.approx(expected.tolist(), abs=1e-5)


def test_one_telling_image_of_many_is_found() -> None:
    train, val, test = (needles(n, seed) for n, seed in ((80, 0), (40, 1), (60, 2)))
    predictor = fit(train, val)
    found = predictor.predict_groups(test.x, test.groups)
    assert found.shape == (60, 2)
    truth = torch.arange(60) % 2
    assert roc_auc_score(truth, found[:, 1]) > 0.9
    mean = torch.stack([predictor.predict(test.x)[i * 8 : i * 8 + 8, 1].mean() for i in range(60)])
    assert roc_auc_score(truth, found[:, 1]) > roc_auc_score(truth, mean) - 0.05
    shuffled = torch.randperm(len(test.x), generator=torch.Generator().manual_seed(0))
    again = predictor.predict_groups(test.x[shuffled], test.groups[shuffled])
    torch.testing.assert_close(again, found)


def test_a_group_of_one_image_is_predicted_as_the_image() -> None:
    train, val = needles(30, 0), needles(20, 1)
    predictor = fit(train, val, epochs=2)
    alone = predictor.predict_groups(val.x, torch.arange(len(val.x)))
    torch.testing.assert_close(alone, predictor.predict(val.x))


def test_it_is_seeded_and_comes_back_equal() -> None:
    train, val = needles(30, 0), needles(20, 1)
    one, same, other = (fit(train, val, seed, epochs=3).predict(val.x) for seed in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    predictor = fit(train, val, epochs=3)
    restored = Attention.restore(predictor.keep(), SimpleNamespace(target=train.target))
    assert torch.equal(restored.predict(val.x), one)


def test_values_of_groups_follow_the_rules_and_unknown_is_never_negative() -> None:
    groups, x = torch.tensor([4, 4, 9, 9, 9]), torch.zeros(5, 1)
    nan = math.nan
    findings = torch.tensor([[0.0, 1], [0, nan], [0, 0], [nan, 0], [0, 0]])
    y = Bags.of(Features(x=x, y=findings, target=Findings(("a", "b")), groups=groups)).y
    assert torch.equal(y.isnan(), torch.tensor([[False, False], [True, False]]))
    assert y[0].tolist() == [0, 1]
    assert y[1, 1] == 0
    grades = Features(x=x, y=torch.tensor([0, 2, 1, 1, 0]), target=Grades(("0", "1", "2")), groups=groups)
    assert Bags.of(grades).y.tolist() == [2, 1]
    classes = Features(x=x, y=torch.tensor([0, 1, 1, 1, 1]), target=Classes(("a", "b")), groups=groups)
    assert Bags.of(classes).y.tolist() == [-1, 1]


def test_without_groups_every_image_is_one_and_it_says_so() -> None:
    part = needles(20, 0)
    alone = Features(x=part.x, y=part.y, target=part.target)
    assert "every image is a group of its own" in fit(alone, alone, epochs=1).notes[0]


def test_a_quantity_is_predicted_in_its_unit_from_the_telling_image() -> None:
    def ages(groups: int, seed: int) -> Features:
        part = needles(groups, seed)
        return Features(x=part.x, y=60.0 + 20 * part.y, target=Quantity("years"), groups=part.groups)

    train, val, test = ages(80, 0), ages(40, 1), ages(60, 2)
    predictor = fit(train, val)
    found = predictor.predict_groups(test.x, test.groups)
    assert found.shape == (60, 1)
    truth = 60.0 + 20 * (torch.arange(60) % 2)
    error = float((found[:, 0] - truth).square().mean())
    assert error < 60  # always saying the mean has 100
    groups = predictor.predict_groups(val.x, val.groups)[:, 0] - (60.0 + 20 * (torch.arange(40) % 2))
    assert predictor.selected["val_group_squared_error"] == pytest.approx(float(groups.square().mean()), rel=1e-3)
    restored = Attention.restore(predictor.keep(), SimpleNamespace(target=train.target))
    assert torch.equal(restored.predict(test.x), predictor.predict(test.x))


def test_the_quantity_of_a_group_is_the_mean_of_its_images() -> None:
    y = torch.tensor([10.0, 20, 7, math.nan, 9])
    part = Features(x=torch.zeros(5, 1), y=y, target=Quantity("kg"), groups=torch.tensor([4, 4, 9, 9, 9]))
    assert Bags.of(part).y.tolist() == [15, 8]
