"""The linear probe against scikit-learn's LogisticRegression."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.preprocessing import StandardScaler

from medssl.contracts import Classes, Evaluator, Features, Findings
from medssl.errors import DataError
from medssl_evaluators._logistic import fit_logistic
from medssl_evaluators.linear import Linear

Blobs = Callable[..., Features]


def fit(train: Features, val: Features, **options: object) -> object:
    return Linear(Linear.Config(**options), 0).fit(train, val)


def oracle(train: Features, x: torch.Tensor, c: float) -> np.ndarray:
    """scikit-learn in float64, on its own standardised features; a column for each class in training."""
    scaler = StandardScaler().fit(train.x.double())
    model = LogisticRegression(C=c, tol=1e-8, max_iter=20_000).fit(scaler.transform(train.x.double()), train.y)
    return model.predict_proba(scaler.transform(x.double()))


def mixed(part: Features, seed: int = 9) -> Features:
    """The same samples through one random map, so that features correlate and their scales differ a hundredfold."""
    f = part.x.shape[1]
    turn = torch.randn(f, f, generator=torch.Generator().manual_seed(seed)) * torch.logspace(0, -2, f)
    return Features(x=part.x @ turn.T + 5, y=part.y, target=part.target)


@pytest.mark.parametrize("c", [1e-4, 1e-2, 1.0])
@pytest.mark.parametrize(("n", "classes", "features"), [(200, 2, 30), (200, 5, 30), (40, 3, 100), (500, 25, 30)])
def test_probabilities_equal_scikit_learn(blobs: Blobs, n: int, classes: int, features: int, c: float) -> None:
    train, val, test = (mixed(blobs(m, s, classes=classes, features=features)) for s, m in enumerate((n, 20, 100)))
    proba = fit(train, val, c_values=(c,)).predict(test.x)
    np.testing.assert_allclose(proba, oracle(train, test.x, c), atol=3e-3)


@pytest.mark.parametrize("classes", [3, 25])
def test_strengths_solved_together_equal_each_solved_alone(blobs: Blobs, classes: int) -> None:
    train = mixed(blobs(150, 0, classes=classes, features=30))
    x = train.x - train.x.mean(dim=0)
    penalties = torch.logspace(-5, 1, 12)
    together = fit_logistic(x, train.y, classes, penalties)
    alone = [fit_logistic(x, train.y, classes, penalty[None]) for penalty in penalties]

    def proba(weight: torch.Tensor, intercept: torch.Tensor) -> torch.Tensor:
        return (torch.einsum("nf,skf->snk", x, weight) + intercept[:, None]).softmax(dim=2)

    torch.testing.assert_close(proba(*together), torch.cat([proba(*each) for each in alone]), atol=3e-3, rtol=0)


def test_gradient_vanishes_at_the_solution(blobs: Blobs) -> None:
    part = blobs(100, 0)
    x = part.x - part.x.mean(dim=0)
    weight, intercept = fit_logistic(x, part.y, 3, torch.tensor([0.01]))
    weight, intercept = weight[0].double().requires_grad_(), intercept[0].double().requires_grad_()
    loss = torch.nn.functional.cross_entropy(x.double() @ weight.T + intercept, part.y)
    (loss + 0.01 / 2 * weight.square().sum()).backward()
    assert weight.grad.abs().max() < 1e-4
    assert intercept.grad.abs().max() < 1e-4


def test_shares_the_contract_of_all_evaluators(shared_contract: Callable[[Evaluator, Evaluator], None]) -> None:
    shared_contract(Linear(Linear.Config(), 3), Linear(Linear.Config(), 3))


def test_seed_does_not_matter(blobs: Blobs) -> None:
    train, val = blobs(60, 0), blobs(30, 1)
    probas = [Linear(Linear.Config(), seed).fit(train, val).predict(val.x) for seed in (0, 1)]
    assert torch.equal(*probas)


def test_strength_is_chosen_on_validation(blobs: Blobs) -> None:
    train, val = blobs(60, 0, classes=2), blobs(30, 1, classes=2)
    turned = Features(x=val.x, y=1 - val.y, target=val.target)
    options = {"c_values": (1e-9, 1.0)}
    train.y[:7] = 1  # so that without any weight the prediction is class 1
    assert fit(train, val, **options).selected["c"] == 1.0
    assert fit(train, turned, **options).selected["c"] == 1e-9  # half right beats all wrong


def test_strength_is_chosen_by_the_lowest_log_loss_of_scikit_learn(blobs: Blobs) -> None:
    train, val = blobs(120, 0, distance=0.7), blobs(90, 1, distance=0.7)
    cs = (1e-3, 1e-2, 0.1, 1.0)
    losses = {c: log_loss(val.y, oracle(train, val.x, c)) for c in cs}
    predictor = fit(train, val, c_values=cs)
    assert predictor.selected["c"] == min(losses, key=losses.__getitem__)
    assert predictor.selected["val_log_loss"] == pytest.approx(losses[predictor.selected["c"]], abs=1e-3)


def test_where_all_are_right_the_log_loss_still_chooses_and_other_scores_take_the_simplest(blobs: Blobs) -> None:
    train, val = (blobs(60, seed, distance=20) for seed in range(2))  # any strength gets all of them right
    predictor = fit(train, val, c_values=(1e-3, 1.0, 0.1))
    assert predictor.selected["c"] == 1.0
    assert predictor.selected["tried"] == [1e-3, 0.1, 1.0]
    for by in ("auroc", "balanced_accuracy"):
        assert fit(train, val, c_values=(1e-3, 1.0, 0.1), choose_by=by).selected["c"] == 1e-3


def test_choice_at_the_edge_of_a_given_grid_is_said(blobs: Blobs) -> None:
    train, val = (blobs(60, seed, distance=20) for seed in range(2))
    assert fit(train, val, c_values=(0.1, 1.0)).notes == (
        "The chosen C is the largest that was tried; a better one may be outside the list.",
    )
    assert fit(train, val, c_values=(1.0,)).notes == ()


def test_the_default_grid_is_extended_in_half_decades(blobs: Blobs) -> None:
    train, val = (blobs(60, seed, distance=20) for seed in range(2))
    selected = fit(train, val).selected
    added = selected["tried"][len(Linear.Config().c_values) :]
    assert added == [30.0, 100.0, 300.0, 1e3, 3e3, 1e4][: len(added)]
    assert len(added) >= 1
    assert selected["c"] in selected["tried"][-2:]


def test_the_default_grid_is_extended_downwards_where_weights_only_harm(blobs: Blobs) -> None:
    train, val, test = (blobs(60, seed) for seed in range(3))
    turned = Features(x=val.x, y=(val.y + 1) % 3, target=val.target)
    predictor = fit(train, turned)
    assert predictor.selected["tried"][:7] == [1e-8, 3e-8, 1e-7, 3e-7, 1e-6, 3e-6, 1e-5]
    assert predictor.selected["c"] == 1e-8
    assert predictor.notes == (
        "The best C was at the edge of c_values, so the list was extended by 1e-08, 3e-08, 1e-07, 3e-07, 1e-06, 3e-06.",
        "The chosen C is the smallest that was tried; a better one may be outside the list.",
    )
    torch.testing.assert_close(predictor.predict(test.x), torch.full((60, 3), 1 / 3), atol=1e-3, rtol=0)


def test_scale_and_offset_of_features_do_not_matter(blobs: Blobs) -> None:
    train, val, test = (blobs(n, seed) for seed, n in enumerate((60, 30, 20)))
    scale = torch.logspace(-3, 3, 16)
    moved = [Features(x=part.x * scale + scale, y=part.y, target=part.target) for part in (train, val, test)]
    expected = fit(train, val).predict(test.x)
    torch.testing.assert_close(fit(*moved[:2]).predict(moved[2].x), expected, atol=2e-3, rtol=0)


def test_constant_features_do_no_harm(blobs: Blobs) -> None:
    parts = [blobs(n, seed) for seed, n in enumerate((60, 30, 20))]
    wide = [
        Features(x=torch.cat([p.x, torch.full((len(p), 4), 7.0)], 1), y=p.y, target=Classes(("a", "b", "c")))
        for p in parts
    ]
    expected = fit(*parts[:2], c_values=(0.1,)).predict(parts[2].x)
    found = fit(*wide[:2], c_values=(0.1,)).predict(wide[2].x)
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=0)


def test_class_without_a_training_sample_has_probability_zero(blobs: Blobs) -> None:
    train, test = blobs(60, 0, classes=4, present=3), blobs(20, 2, classes=4)
    train.y[train.y == 1] = 3  # classes 0, 2 and 3
    proba = fit(train, blobs(30, 1, classes=4), c_values=(0.1,)).predict(test.x)
    assert (proba[:, 1] == 0).all()
    np.testing.assert_allclose(proba[:, [0, 2, 3]], oracle(train, test.x, 0.1), atol=3e-3)


def test_single_class_is_predicted_and_said(blobs: Blobs) -> None:
    predictor = fit(blobs(10, 0, present=1), blobs(9, 1))
    assert (predictor.predict(blobs(5, 2).x) == torch.tensor([1.0, 0.0, 0.0])).all()
    assert "only one class (number 0)" in predictor.notes[0]


def test_two_samples_are_enough(blobs: Blobs) -> None:
    proba = fit(blobs(2, 0), blobs(9, 1)).predict(blobs(5, 2).x)
    torch.testing.assert_close(proba.sum(dim=1), torch.ones(5))


def test_several_strengths_need_validation(blobs: Blobs) -> None:
    assert fit(blobs(30, 0), blobs(0, 1), c_values=(1.0,)).selected == {"c": 1.0}
    with pytest.raises(DataError, match="validation part is empty"):
        fit(blobs(30, 0), blobs(0, 1))


@pytest.mark.parametrize("classes", [2, 3])
def test_balanced_weights_equal_scikit_learns(blobs: Blobs, classes: int) -> None:
    train, val = blobs(120, 3, classes=classes, features=6), blobs(40, 4, classes=classes, features=6)
    kept = torch.cat([torch.nonzero(train.y == c).flatten()[: (40, 6, 15)[c]] for c in range(classes)])
    rare = Features(x=train.x[kept], y=train.y[kept], target=train.target)
    probe = fit(rare, val, c_values=(0.1,), class_weight="balanced")
    scaler = StandardScaler().fit(rare.x.numpy())
    model = LogisticRegression(C=0.1, class_weight="balanced", tol=1e-10, max_iter=10_000)
    model.fit(scaler.transform(rare.x.numpy()), rare.y.numpy())
    expected = model.predict_proba(scaler.transform(val.x.numpy()))
    assert probe.predict(val.x).numpy() == pytest.approx(expected, abs=2e-4)
    plain = fit(rare, val, c_values=(0.1,)).predict(val.x).numpy()
    assert np.abs(plain - expected).max() > 0.05


def test_balanced_findings_are_weighted_one_by_one_among_known_images(blobs: Blobs) -> None:
    part = blobs(150, 5, classes=2, features=5)
    draw = torch.Generator().manual_seed(0)
    y = torch.stack([part.y.float(), (torch.rand(len(part), generator=draw) < 0.15).float()], dim=1)
    y[::7, 0], y[::5, 1] = torch.nan, torch.nan
    train = Features(x=part.x, y=y, target=Findings(("a", "b")))
    found = fit(train, train, c_values=(0.3,), class_weight="balanced").predict(part.x).numpy()
    for k in range(2):
        known = ~y[:, k].isnan().numpy()
        scaler = StandardScaler().fit(part.x.numpy()[known])
        model = LogisticRegression(C=0.3, class_weight="balanced", tol=1e-10, max_iter=10_000)
        model.fit(scaler.transform(part.x.numpy()[known]), y[:, k].numpy()[known])
        assert found[:, k] == pytest.approx(model.predict_proba(scaler.transform(part.x.numpy()))[:, 1], abs=2e-4)
