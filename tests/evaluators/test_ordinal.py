"""The ordinal probe against statsmodels' OrderedModel, scipy in float64, and scikit-learn for two grades."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.metrics import cohen_kappa_score, log_loss

from medssl.contracts import Features, Grades
from medssl.errors import DataError
from medssl.tools import balanced_weights
from medssl_evaluators._cumulative import cumulative_log_proba, fit_cumulative
from medssl_evaluators.linear import Linear
from medssl_evaluators.ordinal import Ordinal

CUTS = torch.tensor([-1.5, -0.2, 0.4, 2.0])


def graded(n: int, seed: int, *, features: int = 6, grades: int = 5, spread: float = 1.0) -> Features:
    """Grades drawn from a proportional-odds model of correlated features of different scales."""
    draw = torch.Generator().manual_seed(seed)
    hidden = torch.randn(n, features, generator=draw)
    score = 1.5 * hidden[:, 0] - hidden[:, 1]
    noise = torch.rand(n, generator=draw).clamp(1e-4, 1 - 1e-4).logit()
    y = torch.bucketize(score + spread * noise, CUTS[: grades - 1])
    turn = torch.randn(features, features, generator=torch.Generator().manual_seed(9)) * torch.logspace(0, -1, features)
    return Features(x=hidden @ turn.T + 3, y=y, target=Grades(tuple(map(str, range(grades)))))


def fit(train: Features, val: Features, **options: object) -> object:
    return Ordinal(Ordinal.Config(**options), 0).fit(train, val)


def standard(train: Features, x: torch.Tensor) -> np.ndarray:
    own = train.x.double().numpy()
    return (x.double().numpy() - own.mean(axis=0)) / own.std(axis=0)


def oracle(train: Features, x: torch.Tensor, c: float, weights: np.ndarray | None = None) -> np.ndarray:
    """Minimise C times the summed loss and half the squared weights with scipy."""
    z, y, k = standard(train, train.x), train.y.numpy(), train.target.outputs
    weights = np.ones(len(y)) if weights is None else weights

    def edges(values: np.ndarray) -> np.ndarray:
        cuts = values[0] + np.concatenate([[0], np.exp(values[1:]).cumsum()])
        return np.concatenate([[-np.inf], cuts, [np.inf]])

    def loss(free: np.ndarray) -> float:
        w, ends = free[: z.shape[1]], edges(free[z.shape[1] :])
        proba = expit(ends[y + 1] - z @ w) - expit(ends[y] - z @ w)
        return float(-c * (weights * np.log(proba)).sum() + 0.5 * w @ w)

    start = np.concatenate([np.zeros(z.shape[1]), [-1.0], np.zeros(k - 2)])
    found = minimize(loss, start, method="BFGS", options={"gtol": 1e-5}).x
    ends = edges(found[z.shape[1] :])
    return np.diff(expit(ends[None] - (standard(train, x) @ found[: z.shape[1]])[:, None]), axis=1)


@pytest.mark.parametrize(("c", "balanced"), [(0.01, False), (1.0, True)])
def test_probabilities_equal_scipys_optimum(c: float, balanced: bool) -> None:
    train, test = graded(40, 0, features=3, grades=4), graded(30, 1, features=3, grades=4)
    weights = balanced_weights(train.y).double().numpy() if balanced else None
    found = fit(train, train, c_values=(c,), class_weight="balanced" if balanced else "none").predict(test.x)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found, oracle(train, test.x, c, weights), atol=2e-5)


def test_without_a_penalty_it_is_the_ordered_model_of_statsmodels() -> None:
    ordered = pytest.importorskip("statsmodels.miscmodels.ordinal_model").OrderedModel
    train, test = graded(400, 0), graded(50, 1)
    model = ordered(train.y.numpy(), standard(train, train.x), distr="logit")
    fitted = model.fit(method="bfgs", maxiter=500, gtol=1e-8, disp=False)
    expected = model.predict(fitted.params, exog=standard(train, test.x))
    np.testing.assert_allclose(fit(train, train, c_values=(1e8,)).predict(test.x), expected, atol=1e-4)


def test_two_grades_are_the_regression_of_the_nominal_probe() -> None:
    train, val = graded(80, 0, grades=2), graded(40, 1, grades=2)
    for c in (0.01, 1.0):
        nominal = Linear(Linear.Config(c_values=(c,)), 0).fit(train, val).predict(val.x)
        torch.testing.assert_close(fit(train, val, c_values=(c,)).predict(val.x), nominal, atol=3e-3, rtol=0)


@pytest.mark.parametrize(("n", "features"), [(40, 60), (200, 30)])
def test_the_gradient_vanishes_and_penalties_solved_together_equal_each_alone(n: int, features: int) -> None:
    part = graded(n, 0, features=features)
    x, penalties = part.x - part.x.mean(dim=0), torch.logspace(-3, 1, 3)
    weights, cuts = fit_cumulative(x, part.y, 5, penalties)
    for i, penalty in enumerate(penalties):
        alone = fit_cumulative(x, part.y, 5, penalty[None])
        torch.testing.assert_close(alone[0][0], weights[i], atol=1e-4, rtol=1e-4)
        w, own = weights[i].clone().requires_grad_(), cuts[i].clone().requires_grad_()
        proba = cumulative_log_proba(x.double() @ w, own)[torch.arange(n), part.y]
        (-proba.mean() + 0.5 * penalty.double() * w.square().sum()).backward()
        assert max(float(w.grad.abs().max()), float(own.grad.abs().max())) < 1e-5
        assert bool((own.diff() > 0).all())


def test_log_probabilities_keep_tiny_values() -> None:
    found = cumulative_log_proba(torch.tensor([-200.0, 0, 200], dtype=torch.float64), torch.tensor([0.0, 1e-9]))
    assert bool(found.isfinite().all())
    assert float(found[0, 2]) == pytest.approx(-200, abs=1e-6)
    torch.testing.assert_close(found.exp().sum(dim=1), torch.ones(3, dtype=torch.float64))


def test_strength_is_chosen_by_the_log_loss_of_the_validation_part() -> None:
    train, val = graded(60, 0, features=40), graded(60, 1, features=40)
    values = (1e-3, 0.1, 10.0)
    losses = [log_loss(val.y, fit(train, val, c_values=(c,)).predict(val.x).numpy(), labels=range(5)) for c in values]
    chosen = fit(train, val, c_values=values)
    assert chosen.selected["c"] == values[int(np.argmin(losses))]
    assert chosen.selected["val_log_loss"] == pytest.approx(min(losses), abs=1e-6)
    with pytest.raises(DataError, match="the validation part is empty"):
        fit(train, Features(x=train.x[:0], y=train.y[:0], target=train.target))


def test_where_the_grades_lie_on_a_line_it_needs_fewer_images_than_the_nominal_probe() -> None:
    train, val, test = graded(80, 0, features=20), graded(80, 1, features=20), graded(2000, 2, features=20)
    scores = [
        cohen_kappa_score(test.y, kind(kind.Config(), 0).fit(train, val).predict(test.x).argmax(1), weights="quadratic")
        for kind in (Ordinal, Linear)
    ]
    assert scores[0] > scores[1]


def test_a_grade_without_a_training_image_has_probability_zero_and_one_grade_is_constant() -> None:
    part = graded(90, 0)
    there = (part.y != 0) & (part.y != 3)
    fewer = Features(x=part.x[there], y=part.y[there], target=part.target)
    head = fit(fewer, part)
    proba = head.predict(part.x)
    assert torch.equal(proba[:, [0, 3]], torch.zeros(90, 2))
    torch.testing.assert_close(proba.sum(dim=1), torch.ones(90))
    torch.testing.assert_close(head.module()(part.x), proba, atol=1e-5, rtol=0)
    one = Features(x=part.x[part.y == 2], y=part.y[part.y == 2], target=part.target)
    assert fit(one, part).predict(part.x)[:, 2].tolist() == [1.0] * 90


def test_it_comes_back_equal_and_its_module_predicts_the_same() -> None:
    train, val = graded(80, 0), graded(40, 1)
    state = torch.get_rng_state()
    head = fit(train, val)
    assert torch.equal(torch.get_rng_state(), state)
    restored = Ordinal.restore(head.keep(), SimpleNamespace(target=train.target))
    assert torch.equal(restored.predict(val.x), head.predict(val.x))
    torch.testing.assert_close(head.module()(val.x), head.predict(val.x), atol=1e-5, rtol=0)
    alone = torch.cat([head.predict(row[None]) for row in val.x])
    torch.testing.assert_close(alone, head.predict(val.x))
