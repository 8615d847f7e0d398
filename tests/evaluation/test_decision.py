"""Decision curves equal dcurves', smooth curves equal statsmodels' lowess, and intervals a loop."""

from __future__ import annotations

import json

import numpy as np
import pytest

from medssl.contracts.targets import Classes, Findings, Quantity
from medssl.evaluation.decision import THRESHOLDS, calibration_grid, curves, net_benefits, smooth_calibration
from medssl.evaluation.metrics import Scored
from medssl.recipe.settings import EvaluateSettings

TWO = Classes(("no", "yes"))


def draw(n, seed=0, *, ties=False):
    rng = np.random.default_rng(seed)
    positive = rng.random(n) < 0.4
    scores = np.clip(0.3 * positive + 0.7 * rng.random(n), 0, 1)
    return (np.round(scores, 2) if ties else scores), positive


def benefit_loop(scores, positive):
    found = []
    for t in THRESHOLDS:
        treated = scores >= t
        found.append((treated & positive).mean() - (treated & ~positive).mean() * t / (1 - t))
    return np.array(found)


@pytest.mark.parametrize("ties", [False, True])
def test_net_benefits_equal_a_loop_under_weights(ties):
    scores, positive = draw(200, ties=ties)
    weights = np.random.default_rng(1).poisson(1, (200, 4)).astype(float)
    model, everyone = net_benefits(scores, positive, weights)
    for b in range(4):
        rows = np.repeat(np.arange(200), weights[:, b].astype(int))
        assert model[:, b] == pytest.approx(benefit_loop(scores[rows], positive[rows]), abs=1e-12)
        assert everyone[:, b] == pytest.approx(benefit_loop(np.ones(len(rows)), positive[rows]), abs=1e-12)


def test_net_benefits_equal_dcurves():
    dcurves = pytest.importorskip("dcurves")
    pandas = pytest.importorskip("pandas")
    scores, positive = draw(300, ties=True)
    table = pandas.DataFrame({"y": positive.astype(int), "model": scores})
    found = dcurves.dca(data=table, outcome="y", modelnames=["model"], thresholds=THRESHOLDS)
    expected = found[found["model"] == "model"].sort_values("threshold")["net_benefit"].to_numpy()
    assert net_benefits(scores, positive, np.ones((300, 1)))[0][:, 0] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("ties", [False, True])
def test_smooth_curve_equals_lowess(ties):
    lowess = pytest.importorskip("statsmodels.nonparametric.smoothers_lowess").lowess
    scores, positive = draw(240, ties=ties)
    grid = calibration_grid(scores)
    expected = lowess(positive.astype(float), scores, frac=0.75, it=0, xvals=grid)
    found = smooth_calibration(scores, positive, grid, np.ones((240, 1)))[:, 0]
    assert found == pytest.approx(np.clip(expected, 0, 1), abs=1e-9)


def test_curves_are_plain_values_with_intervals_of_groups():
    scores, positive = draw(120)
    units = np.arange(120) // 4
    scored = Scored(TWO, positive.astype(int), np.stack([1 - scores, scores], axis=1))
    found = curves(scored, units, EvaluateSettings(bootstrap=40, confidence=0.9), 3)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert list(found) == ["yes"]
    model = found["yes"]["net_benefit"]
    assert model["model"] == pytest.approx(benefit_loop(scores, positive))
    drawn = np.random.default_rng(3).integers(0, 30, size=(40, 30))
    tables = []
    for row in drawn:
        rows = np.concatenate([np.flatnonzero(units == unit) for unit in row])
        tables.append(benefit_loop(scores[rows], positive[rows]))
    low, high = np.quantile(tables, (0.05, 0.95), axis=0)
    assert model["low"] == pytest.approx(low, abs=1e-9)
    assert model["high"] == pytest.approx(high, abs=1e-9)
    bars = found["yes"]["histogram"]
    assert (sum(bars["positive"]), sum(bars["negative"])) == (positive.sum(), (~positive).sum())


def test_findings_have_curves_of_their_known_images():
    y = np.array([[1, 0], [0, 1], [1, np.nan], [0, 0]] * 12)
    prediction = np.random.default_rng(0).random((48, 2))
    found = curves(Scored(Findings(("x", "y")), y, prediction), np.arange(48), EvaluateSettings(), 0)
    assert list(found) == ["x", "y"]
    assert sum(map(sum, found["y"]["histogram"].values())) == 36
    assert found["x"]["net_benefit"]["low"] is None


@pytest.mark.parametrize(
    ("target", "y", "prediction"),
    [
        (Quantity("years"), np.ones(4), np.ones((4, 1))),
        (TWO, np.zeros(4, int), np.full((4, 2), 0.5)),
        (Classes(tuple(f"c{i}" for i in range(20))), np.arange(20), np.full((20, 20), 0.05)),
    ],
    ids=["quantity", "one class", "many classes"],
)
def test_nothing_is_drawn_where_there_is_nothing_to_draw(target, y, prediction):
    assert curves(Scored(target, y, prediction), np.arange(len(y)), EvaluateSettings(bootstrap=0), 0) == {}


def test_three_patients_have_a_histogram_and_no_smooth_curve():
    prediction = np.array([[0.2, 0.8], [0.7, 0.3], [0.4, 0.6]])
    found = curves(Scored(TWO, np.array([1, 0, 1]), prediction), np.arange(3), EvaluateSettings(bootstrap=20), 0)
    assert found["yes"]["smooth"]["predicted"] == []
    assert sum(found["yes"]["histogram"]["positive"]) == 2
