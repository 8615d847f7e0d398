"""Metrics of decisions, curves and calibration against scikit-learn, statsmodels, dcurves, netcal and plain loops."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import brentq, minimize
from sklearn import metrics as sk

from medssl.contracts.targets import Classes, Findings, Grades
from medssl.evaluation.metrics import Decided, Scored, prediction_metrics
from medssl.evaluation.metrics.calibration_fit import Logistic, logits
from medssl.evaluation.metrics.problems import problem_names, problem_outcomes
from medssl.evaluation.operating import OperatingPoints, choose_operating_points
from medssl.evaluation.scoring import score
from medssl.recipe.settings import EvaluateSettings

TWO, THREE, GRADES, FINDINGS = (
    Classes(("no", "yes")),
    Classes(("a", "b", "c")),
    Grades(("low", "mid", "high")),
    Findings(("x", "y", "z")),
)
TARGETS = (TWO, THREE, GRADES, FINDINGS)
THRESHOLD, AT, MISS, ALARM = 0.35, 0.3, 5.0, 1.0


def made(target, n, seed, *, levels=None, missing=()):
    """Truth and a prediction that knows a little of it; ``missing`` classes have no sample."""
    rng = np.random.default_rng(seed)
    o = target.outputs
    if isinstance(target, Findings):
        y = (rng.random((n, o)) < 0.3).astype(np.float32)
        p = np.clip(0.3 * y + 0.7 * rng.random((n, o)), 0, 1)
        p = np.round(p * levels) / levels if levels else p
        y[rng.random((n, o)) < 0.2] = np.nan
        y[np.isnan(y).all(axis=1), 0] = 0
        for k in missing:
            y[:, k] = 0
        return y, p
    y = rng.choice([k for k in range(o) if k not in missing], n)
    weight = rng.random((n, o)) ** 3 + 0.4 * np.eye(o)[y]
    weight = np.floor(levels * weight) + 1e-3 if levels else weight
    return y, weight / weight.sum(axis=1, keepdims=True)


def decided(target, prediction):
    _, scores = problem_outcomes(target, None, prediction)
    called = (scores >= THRESHOLD).astype(float)
    return Decided(positive=called, benefit_at=np.full(scores.shape, AT), miss=MISS, alarm=ALARM)


def fitted(p, y, *, slope):
    """The maximum of the likelihood of a logistic model of the logits, by a general optimiser."""
    x = logits(p)
    if not slope:
        return brentq(lambda a: (y - 1 / (1 + np.exp(-(a + x)))).sum(), -80, 80, xtol=1e-14)

    def loss(ab):
        eta = ab[0] + ab[1] * x
        return np.logaddexp(0, eta).sum() - (y * eta).sum()

    def gradient(ab):
        rest = 1 / (1 + np.exp(-(ab[0] + ab[1] * x))) - y
        return np.array([rest.sum(), (rest * x).sum()])

    return minimize(loss, [0.0, 1.0], jac=gradient, method="BFGS", options={"gtol": 1e-10}).x[1]


def classwise_ece(p, y, bins=15):
    total, edges = 0.0, np.linspace(0, 1, bins + 1)
    for m in range(bins):
        inside = (p > edges[m]) & (p <= edges[m + 1]) | ((m == 0) & (p == 0))
        total += abs((y[inside] - p[inside]).sum())
    return total / len(y)


def one(p, y):
    """Every metric of one problem, by scikit-learn or from its definition."""
    called = (p >= THRESHOLD).astype(int)
    tp, fp = ((called == 1) & (y == 1)).sum(), ((called == 1) & (y == 0)).sum()
    fn, tn = (y == 1).sum() - tp, (y == 0).sum() - fp
    false, true, _ = sk.roc_curve(y, p, drop_intermediate=False)
    at = p >= AT
    nan = float("nan")
    return {
        "average_precision": sk.average_precision_score(y, p),
        "auroc": sk.roc_auc_score(y, p),
        "sensitivity": sk.recall_score(y, called),
        "specificity": sk.recall_score(y, called, pos_label=0),
        "ppv": sk.precision_score(y, called) if tp + fp else nan,
        "npv": sk.precision_score(y, called, pos_label=0) if tn + fn else nan,
        "f1": sk.f1_score(y, called),
        "lr_positive": (tp / (tp + fn)) / (fp / (fp + tn)) if fp else nan,
        "lr_negative": (fn / (tp + fn)) / (tn / (fp + tn)) if tn else nan,
        "expected_cost": (MISS * fn + ALARM * fp) / min(MISS * (tp + fn), ALARM * (fp + tn)),
        "net_benefit": ((at & (y == 1)).sum() - (at & (y == 0)).sum() * AT / (1 - AT)) / len(y),
        "sensitivity_at_specificity": true[1 - false >= 0.9 - 1e-9].max(),
        "specificity_at_sensitivity": (1 - false)[true >= 0.95 - 1e-9].max(),
        "brier_scaled": 1 - np.square(p - y).mean() / (y.mean() * (1 - y.mean())),
        "ece_classwise": classwise_ece(p, y),
        "calibration_intercept": fitted(p, y, slope=False),
    }


def oracle(target, y, prediction, names=None):
    outcomes, scores = problem_outcomes(target, y, prediction)
    tables = []
    for k, name in enumerate(problem_names(target)):
        known = ~np.isnan(outcomes[:, k])
        truth = outcomes[known, k].astype(int)
        if names is not None and name not in names:
            continue
        if len(set(truth.tolist())) == 2:
            tables.append(one(scores[known, k], truth))
        elif names is not None:
            return dict.fromkeys(one(np.array([0.1, 0.9]), np.array([0, 1])), np.nan)
    found = {name: np.mean([table[name] for table in tables]) for name in tables[0]}
    for name in ("lr_positive", "lr_negative"):
        with np.errstate(divide="ignore"):
            found[name] = np.exp(np.mean(np.log([table[name] for table in tables])))
    return found


def measured(target, y, prediction, weights=None):
    scored = Scored(target, y, prediction, decided(target, prediction))
    drawn = scored.as_is() if weights is None else scored.resampled(weights)
    return {metric.name: metric.values(drawn) for metric in prediction_metrics(target)}


@pytest.mark.parametrize("levels", [None, 5], ids=["distinct", "ties"])
@pytest.mark.parametrize("missing", [(), (2,)], ids=["all classes", "one is missing"])
@pytest.mark.parametrize("target", TARGETS, ids=lambda target: f"{target.outputs} {target.kind}")
def test_values_equal_their_references(target, missing, levels):
    if target is TWO and missing:
        return
    for seed in range(4):
        y, prediction = made(target, 150, seed, levels=levels, missing=missing)
        found = measured(target, y, prediction)
        for name, value in oracle(target, y, prediction).items():
            assert found[name][0] == pytest.approx(value, abs=1e-9, nan_ok=True), name


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: f"{target.outputs} {target.kind}")
@pytest.mark.parametrize("levels", [None, 5], ids=["distinct", "ties"])
def test_resamples_equal_a_loop(target, levels):
    y, prediction = made(target, 90, 1, levels=levels)
    unit = np.arange(90) // 3
    drawn = np.random.default_rng(0).integers(0, 30, size=(8, 30))
    weights = np.stack([np.bincount(row, minlength=30) for row in drawn]).T[unit].astype(float)
    found = measured(target, y, prediction, weights)
    outcomes, _ = problem_outcomes(target, y, prediction)
    found_in = [set(column[~np.isnan(column)]) for column in outcomes.T]
    both = [name for name, own in zip(problem_names(target), found_in, strict=True) if len(own) == 2]
    for b in range(weights.shape[1]):
        rows = np.repeat(np.arange(90), weights[:, b].astype(int))
        for name, value in oracle(target, y[rows], prediction[rows], both).items():
            assert found[name][b] == pytest.approx(value, abs=1e-9, nan_ok=True), (name, b)


@pytest.mark.parametrize("n", [40, 400, 3000])
@pytest.mark.parametrize("levels", [None, 7], ids=["distinct", "ties"])
def test_slopes_equal_an_optimisers(n, levels):
    y, prediction = made(TWO, n, 3, levels=levels)
    p = prediction[:, 1]
    weights = np.random.default_rng(0).poisson(1, size=(n, 5)).astype(float)
    slopes, intercepts = Logistic(logits(p), y == 1).fit(weights)
    for b in range(5):
        rows = np.repeat(np.arange(n), weights[:, b].astype(int))
        assert slopes[b] == pytest.approx(fitted(p[rows], y[rows], slope=True), abs=1e-6)
        assert intercepts[b] == pytest.approx(fitted(p[rows], y[rows], slope=False), abs=1e-9)


def test_slopes_solve_the_equations_of_the_maximum_to_1e_9():
    y, prediction = made(TWO, 4000, 3)
    x = logits(prediction[:, 1])
    model = Logistic(x, y == 1)
    assert len(model.nodes) < 1000
    weights = np.random.default_rng(0).poisson(1, size=(4000, 6)).astype(float)
    found = model.fit(weights)[0]
    exact = Logistic.__new__(Logistic)
    exact.__dict__ |= model.__dict__ | {"nodes": model.x, "_moves": None}
    assert found == pytest.approx(exact.fit(weights)[0], abs=1e-9)


def test_slope_and_intercept_equal_statsmodels():
    sm = pytest.importorskip("statsmodels.api")
    y, prediction = made(TWO, 300, 5)
    x = logits(prediction[:, 1])
    slope = sm.GLM(y, sm.add_constant(x), family=sm.families.Binomial()).fit(tol=1e-14).params[1]
    intercept = sm.GLM(y, np.ones_like(x), family=sm.families.Binomial(), offset=x).fit(tol=1e-14).params[0]
    found = measured(TWO, y, prediction)
    assert found["calibration_slope"][0] == pytest.approx(slope, abs=1e-9)
    assert found["calibration_intercept"][0] == pytest.approx(intercept, abs=1e-9)


def test_class_wise_ece_equals_netcals():
    netcal = pytest.importorskip("netcal.metrics")
    y, prediction = made(THREE, 500, 2)
    expected = np.mean([netcal.ECE(15).measure(prediction[:, k], (y == k).astype(int)) for k in range(3)])
    assert measured(THREE, y, prediction)["ece_classwise"][0] == pytest.approx(expected, abs=1e-9)


def test_perfect_separation_has_no_slope():
    y = np.array([0, 0, 0, 1, 1, 1])
    p = np.array([0.1, 0.2, 0.3, 0.6, 0.7, 0.8])
    found = measured(TWO, y, np.stack([1 - p, p], axis=1))
    assert np.isnan(found["calibration_slope"][0])
    assert np.isfinite(found["calibration_intercept"][0])


def test_probabilities_of_0_and_1_have_finite_scores():
    y = np.array([0, 1, 0, 1, 1, 0])
    p = np.array([0.0, 1.0, 1.0, 0.0, 0.4, 0.6])
    found = measured(TWO, y, np.stack([1 - p, p], axis=1))
    assert found["log_loss"][0] == pytest.approx(sk.log_loss(y, p))
    assert np.isfinite(found["calibration_intercept"][0])
    assert np.isfinite(found["calibration_slope"][0])


def test_a_test_part_without_positives_has_no_metric_of_positives():
    _, prediction = made(TWO, 30, 0)
    y = np.zeros(30, dtype=int)
    points = chosen(TWO)
    found = score(TWO, y, prediction, None, EvaluateSettings(bootstrap=10), 0, points)
    for name in ("auroc", "average_precision", "sensitivity", "calibration_slope"):
        assert found[name] == {"value": None, "low": None, "high": None}, name
    assert found["accuracy"]["value"] is not None


def chosen(target, rule="youden"):
    y, prediction = made(target, 200, 9)
    return choose_operating_points(target, y, prediction, rule, y)


def test_a_subgroup_of_three_patients_can_be_scored():
    _, prediction = made(TWO, 3, 0)
    found = score(TWO, np.array([0, 1, 1]), prediction, np.arange(3), EvaluateSettings(bootstrap=20), 0, chosen(TWO))
    assert found["n_groups"] == 3
    assert found["sensitivity"]["value"] is not None


def test_without_operating_points_there_are_no_decisions():
    y, prediction = made(TWO, 50, 0)
    found = score(TWO, y, prediction, None, EvaluateSettings(bootstrap=5), 0)
    assert "sensitivity" not in found
    assert "net_benefit" not in found
    assert "auroc" in found


def test_chance_of_the_average_precision_is_the_prevalence():
    y, prediction = made(TWO, 50, 0)
    found = score(TWO, y, prediction, None, EvaluateSettings(bootstrap=5), 0)
    assert found["average_precision"]["chance"] == pytest.approx(y.mean())


def test_clinical_metrics_lead_for_two_classes_only():
    names = [metric.name for metric in prediction_metrics(TWO)]
    assert names[:5] == ["auroc", "brier", "sensitivity", "specificity", "net_benefit"]
    assert prediction_metrics(THREE)[0].name == "accuracy"


@pytest.fixture
def cancers():
    folder = Path(os.environ.get("MEDSSL_DATA", "")) / "predictions" / "decision_curves"
    if "MEDSSL_DATA" not in os.environ or not folder.exists():
        pytest.skip("MEDSSL_DATA names no folder with predictions/")
    table = np.genfromtxt(folder / "df_binary.csv", delimiter=",", names=True, dtype=None, encoding="utf-8")
    y = np.array([str(value) in ("1", "TRUE", "True") for value in table["cancer"]], dtype=np.int64)
    return y, table["cancerpredmarker"].astype(float)


def test_net_benefit_of_published_risks_is_that_of_dcurves(cancers):
    y, risk = cancers
    prediction = np.stack([1 - risk, risk], axis=1)
    points = OperatingPoints.from_dict(
        {
            "rule": "youden",
            "decision": "",
            "priors": None,
            "points": {
                "yes": {
                    "threshold": 0.25, "sensitivity": 0.5, "specificity": 0.5, "positives": 1, "negatives": 1,
                    "net_benefit_at": 0.25, "reason": None,
                }
            },
        }
    )  # fmt: skip
    found = score(TWO, y, prediction, None, EvaluateSettings(bootstrap=0), 0, points)
    assert found["net_benefit"]["value"] == pytest.approx(0.064, abs=1e-9)


@pytest.mark.parametrize("target", [TWO, THREE], ids=["two", "three"])
def test_a_likelihood_ratio_of_zero_can_be_compared(target):
    y, p = made(target, 40, 3)
    p = np.maximum(p, np.where(np.eye(target.outputs)[y] > 0, 0.4, 0.0))  # no positive is missed
    scored = Scored(target, y, p, decided(target, p))
    metric = next(metric for metric in prediction_metrics(target) if metric.name == "lr_negative")
    assert metric.values(scored.as_is())[0] == 0
    np.testing.assert_array_equal(metric.contributions(scored), np.zeros(40))
