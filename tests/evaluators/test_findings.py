"""Evaluators of findings against scikit-learn on the samples of which each is known; unknown is never absent."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.neighbors import KNeighborsRegressor
from sklearn.preprocessing import StandardScaler
from torch.nn import functional as F

from medssl.contracts import Features, Findings, Quantity
from medssl.errors import DataError
from medssl_evaluators._scores import score
from medssl_evaluators._stacked import StackedHeads
from medssl_evaluators.calibration import Calibration
from medssl_evaluators.knn import KNN
from medssl_evaluators.linear import Linear
from medssl_evaluators.mlp import MLP

TARGET = Findings(("effusion", "mass", "hernia"))


def findings(n: int, seed: int, unknown: float = 0.3) -> Features:
    """Three findings, each along a direction of its own, of rates 0.4, 0.3 and 0.2; some of each unknown."""
    rng = torch.Generator().manual_seed(seed)
    y = (torch.rand(n, 3, generator=rng) < torch.tensor([0.4, 0.3, 0.2])).float()
    x = torch.randn(n, 12, generator=rng)
    x[:, :3] += 1.5 * y
    hidden = torch.rand(n, 3, generator=rng) < unknown
    return Features(x=x, y=y.masked_fill(hidden, torch.nan), target=TARGET)


def ages(n: int, seed: int) -> Features:
    rng = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 12, generator=rng)
    y = 60 + 8 * x[:, 0] - 4 * x[:, 1] + 3 * torch.randn(n, generator=rng)
    return Features(x=3 * x + 5, y=y, target=Quantity("years"))


def known(part: Features, k: int) -> tuple[np.ndarray, np.ndarray]:
    rows = ~part.y[:, k].isnan()
    return part.x[rows].double().numpy(), part.y[rows, k].long().numpy()


def test_each_linear_probe_equals_scikit_learns_on_the_known_samples() -> None:
    train, val, test = findings(200, 0), findings(80, 1), findings(50, 2)
    found = Linear(Linear.Config(c_values=(0.01, 0.1, 1.0)), 0).fit(train, val)
    for k, name in enumerate(TARGET.names):
        x, y = known(train, k)
        scaler = StandardScaler().fit(x)
        losses, models = {}, {}
        for c in (0.01, 0.1, 1.0):
            models[c] = LogisticRegression(C=c, tol=1e-8, max_iter=10000).fit(scaler.transform(x), y)
            judged, truth = known(val, k)
            losses[c] = log_loss(truth, models[c].predict_proba(scaler.transform(judged)))
        best = min(losses, key=losses.__getitem__)
        assert (
            found.selected["c"][name] == best if isinstance(found.selected["c"], dict) else found.selected["c"] == best
        )
        expected = models[best].predict_proba(scaler.transform(test.x.double().numpy()))[:, 1]
        np.testing.assert_allclose(found.predict(test.x)[:, k], expected, atol=2e-3)
        assert found.selected["val_log_loss"][name] == pytest.approx(losses[best], abs=1e-3)


@pytest.mark.parametrize("weights", ["softmax", "uniform"])
def test_neighbours_vote_only_where_they_know(weights: str) -> None:
    train, val, test = findings(120, 0), findings(40, 1), findings(30, 2)
    predictor = KNN(KNN.Config(ks=(7,), report=(3,), weights=weights, distance="euclidean", temperature=5.0), 0).fit(
        train, val
    )
    for k, outcome in ((7, predictor), (3, predictor.also["k3"])):
        got = outcome.predict(test.x)
        for query, row in zip(test.x.double().numpy(), got.tolist(), strict=True):
            distance = ((train.x.double().numpy() - query) ** 2).sum(axis=1)
            near = np.argsort(distance)[:k]
            own = np.exp(-(distance[near] - distance[near].min()) / 2 / 5.0) if weights == "softmax" else np.ones(k)
            for finding in range(3):
                votes = [(w, float(train.y[i, finding])) for w, i in zip(own, near, strict=True)]
                votes = [(w, y) for w, y in votes if not np.isnan(y)]
                rate = float(train.y[:, finding].nanmean())
                expected = sum(w * y for w, y in votes) / sum(w for w, _ in votes) if votes else rate
                assert row[finding] == pytest.approx(expected, abs=1e-4)


def test_what_is_unknown_never_counts_as_absent() -> None:
    """Most findings that are present are unknown: whoever takes those for absent says that they are rare."""
    train, val, test = (findings(n, seed, unknown=0.0) for seed, n in enumerate((600, 200, 200)))
    for part in (train, val):
        present = part.y == 1
        part.y[present & (torch.rand(part.y.shape, generator=torch.Generator().manual_seed(5)) < 0.7)] = torch.nan
    absent = Features(x=train.x, y=train.y.nan_to_num(0.0), target=TARGET)
    for evaluator in (KNN(KNN.Config(), 0), Linear(Linear.Config(), 0), Calibration(Calibration.Config(), 0)):
        right = evaluator.fit(train, val).predict(test.x)
        wrong = evaluator.fit(absent, val).predict(test.x)
        shown = test.y == 1
        assert right[shown].mean() > wrong[shown].mean() + 0.05


def test_scores_of_findings_equal_scikit_learns() -> None:
    part = findings(90, 3)
    proba = torch.rand(4, 90, 3, generator=torch.Generator().manual_seed(0))
    for each, found in zip(proba, score(proba, part.y), strict=True):
        losses, areas = [], []
        for k in range(3):
            rows = ~part.y[:, k].isnan()
            y, p = part.y[rows, k].numpy(), each[rows, k].double().numpy()
            losses.append(log_loss(y, p))
            areas.append(roc_auc_score(y, p))
        assert found.log_loss == pytest.approx(np.mean(losses), rel=1e-5)
        assert found.auroc == pytest.approx(np.mean(areas), abs=1e-9)


def test_a_finding_with_one_outcome_or_none_known_gets_laplaces_rule() -> None:
    train, val, test = findings(40, 0), findings(20, 1), findings(5, 2)
    train.y[:, 1] = torch.nan
    train.y[:, 2] = 0.0
    predictor = Linear(Linear.Config(), 0).fit(train, val)
    proba = predictor.predict(test.x)
    assert (proba[:, 1] == 0.5).all()
    torch.testing.assert_close(proba[:, 2], torch.full((5,), 1 / 42))
    assert any(note.startswith("mass: It is not known for any training image") for note in predictor.notes)
    assert any(note.startswith("hernia: It is absent in every training image") for note in predictor.notes)


def test_without_a_validation_part_nothing_is_chosen() -> None:
    empty = Features(x=torch.empty(0, 12), y=torch.empty(0, 3), target=TARGET)
    for evaluator in (KNN(KNN.Config(), 0), Linear(Linear.Config(), 0), Calibration(Calibration.Config(), 0)):
        with pytest.raises(DataError, match="the validation part is empty"):
            evaluator.fit(findings(40, 0), empty)


def test_calibration_keeps_the_order_and_lowers_the_validation_log_loss() -> None:
    train, val, test = findings(60, 0), findings(300, 1), findings(50, 2)
    scaled = Calibration(Calibration.Config(c_values=(10.0,)), 0).fit(train, val)
    plain = scaled.also["uncalibrated"]
    for k in range(3):
        assert (scaled.predict(test.x)[:, k].argsort() == plain.predict(test.x)[:, k].argsort()).all()
    losses = [score(each.predict(val.x)[None], val.y)[0].log_loss for each in (scaled, plain)]
    assert losses[0] < losses[1]


def test_gradients_of_the_stacked_heads_are_autograds_of_the_masked_loss() -> None:
    part = findings(16, 4)
    heads = StackedHeads(12, 8, 3, [torch.Generator().manual_seed(0)], part.x.double(), independent=True)
    x, y = part.x.double()[None], part.y.double()[None]
    parameters = [each.clone().requires_grad_() for each in heads.parameters]
    hidden = x @ parameters[0]
    normal = (hidden - hidden.mean(1, keepdim=True)) / (hidden.var(1, correction=0, keepdim=True) + 1e-5).sqrt()
    after = F.leaky_relu(normal * parameters[1] + parameters[2], 0.01)
    logits = after @ parameters[3].mT + parameters[4]
    rows = ~y.isnan()
    F.binary_cross_entropy_with_logits(logits[rows], y[rows]).backward()
    heads.accumulate(x, y)
    for mine, its in zip(heads.gradients, parameters, strict=True):
        torch.testing.assert_close(mine, its.grad)


def test_mlp_learns_findings() -> None:
    train, val, test = findings(400, 0), findings(100, 1), findings(200, 2, unknown=0.0)
    proba = MLP(MLP.Config(epochs=20, hidden=32), 0).fit(train, val).predict(test.x)
    areas = [roc_auc_score(test.y[:, k], proba[:, k]) for k in range(3)]
    assert min(areas) > 0.75


def test_ridge_and_neighbours_of_a_quantity_equal_scikit_learns() -> None:
    train, val, test = ages(150, 0), ages(60, 1), ages(40, 2)
    for few in (train, Features(x=train.x[:8], y=train.y[:8], target=train.target)):
        found = Linear(Linear.Config(c_values=(0.001, 0.01, 0.1)), 0).fit(few, val)
        scaler = StandardScaler().fit(few.x.double().numpy())
        errors = {}
        for c in (0.001, 0.01, 0.1):
            spread = float(few.y.double().std(correction=0))
            model = Ridge(alpha=1 / c).fit(scaler.transform(few.x.double().numpy()), (few.y.double().numpy()) / spread)
            said = [model.predict(scaler.transform(p.x.double().numpy())) * spread for p in (val, test)]
            errors[c] = ((said[0] - val.y.numpy()) ** 2).mean(), said[1]
        best = min(errors, key=lambda c: errors[c][0])
        assert found.selected["c"] == best
        assert found.selected["chosen_by"] == "squared_error"
        np.testing.assert_allclose(found.predict(test.x)[:, 0], errors[best][1], rtol=1e-4)
    options = {"ks": (5,), "report": (), "distance": "euclidean", "weights": "uniform"}
    nearest = KNN(KNN.Config(**options), 0).fit(train, val).predict(test.x)[:, 0]
    oracle = KNeighborsRegressor(5).fit(train.x.numpy(), train.y.numpy())
    np.testing.assert_allclose(nearest, oracle.predict(test.x.numpy()), rtol=1e-4)
