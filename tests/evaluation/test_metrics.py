"""Every metric against scikit-learn or a plain loop: as it is, under weights, and with unknown outcomes."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics as sk

from medssl.contracts.targets import TARGETS, Classes, Findings, Grades, Quantity
from medssl.errors import DataError
from medssl.evaluation.metrics import (
    METRICS,
    PredictionMetric,
    Scored,
    metric_facts,
    prediction_metrics,
    ranking_metrics,
)
from medssl.evaluation.scoring import score
from medssl.recipe.settings import EvaluateSettings

NONE = EvaluateSettings(bootstrap=0)
ROOMS = (Classes(("a", "b")), Grades(("low", "mid", "high")), Findings(("x", "y", "z")), Quantity("years"))


def made_case(target, n, seed, *, levels=None):
    """Random truth and a prediction that knows a little of it; ``levels`` make ties."""
    rng = np.random.default_rng(seed)
    o = target.outputs
    if isinstance(target, Quantity):
        y = rng.normal(60, 12, n).astype(np.float32)
        return y, (0.6 * y + rng.normal(20, 8, n))[:, None]
    if isinstance(target, Findings):
        y = (rng.random((n, o)) < 0.3).astype(np.float32)
        prediction = np.clip(0.3 * y + 0.7 * rng.random((n, o)), 0, 1)
        prediction = np.round(prediction * levels) / levels if levels else prediction
        y[rng.random((n, o)) < 0.2] = np.nan
        y[np.isnan(y).all(axis=1), 0] = 0
        return y, prediction
    y = rng.integers(0, o, n)
    weight = rng.random((n, o)) ** 3 + 0.4 * np.eye(o)[y]
    weight = np.floor(levels * weight) + 1e-3 if levels else weight
    return y, weight / weight.sum(axis=1, keepdims=True)


def oracle_grades(y, prediction):
    guess = prediction.argmax(axis=1)
    return {
        "kappa_quadratic": sk.cohen_kappa_score(y, guess, weights="quadratic"),
        "mean_absolute_error": sk.mean_absolute_error(y, guess),
        "accuracy": sk.accuracy_score(y, guess),
        "log_loss": sk.log_loss(y, prediction, labels=range(prediction.shape[1])),
    }


def oracle_findings(y, prediction):
    found = {"auroc": [], "average_precision": [], "brier": [], "log_loss": []}
    for column, guess in zip(y.T, prediction.T, strict=True):
        known = ~np.isnan(column)
        truth, p = column[known].astype(int), guess[known]
        if len(set(truth)) == 2:
            found["auroc"].append(sk.roc_auc_score(truth, p))
            found["average_precision"].append(sk.average_precision_score(truth, p))
        if len(truth):
            found["brier"].append(sk.mean_squared_error(truth, p))
            found["log_loss"].append(sk.log_loss(truth, p, labels=[0, 1]))
    return {name: np.mean(values) for name, values in found.items()}


def oracle_quantity(y, prediction):
    y, guess = y.astype(np.float64), prediction[:, 0]
    covariance = np.cov(y, guess, bias=True)
    return {
        "mean_absolute_error": sk.mean_absolute_error(y, guess),
        "rmse": np.sqrt(sk.mean_squared_error(y, guess)),
        "r2": sk.r2_score(y, guess),
        "concordance": 2 * covariance[0, 1] / (covariance[0, 0] + covariance[1, 1] + (y.mean() - guess.mean()) ** 2),
    }


ORACLES = {"grades": oracle_grades, "findings": oracle_findings, "quantity": oracle_quantity}


def measured(target, y, prediction, weights=None):
    """The metrics by name, under weights ``(n,)``."""
    scored = Scored(target, y, prediction)
    drawn = scored.as_is() if weights is None else scored.resampled(weights[:, None].astype(float))
    return {metric.name: float(metric.values(drawn)[0]) for metric in prediction_metrics(target)}


@pytest.mark.parametrize("levels", [None, 4], ids=["distinct", "ties"])
@pytest.mark.parametrize("target", ROOMS[1:], ids=lambda target: target.kind)
def test_values_equal_scikit_learns(target, levels):
    for seed in range(8):
        y, prediction = made_case(target, 120, seed, levels=levels)
        found = measured(target, y, prediction)
        for name, value in ORACLES[target.kind](y, prediction).items():
            assert found[name] == pytest.approx(value, abs=1e-9), name


@pytest.mark.parametrize("levels", [None, 4], ids=["distinct", "ties"])
@pytest.mark.parametrize("target", ROOMS, ids=lambda target: target.kind)
def test_whole_weights_are_repetitions(target, levels):
    for seed in range(5):
        y, prediction = made_case(target, 150, seed, levels=levels)
        weights = np.random.default_rng(seed).integers(0, 4, len(y))
        rows = np.repeat(np.arange(len(y)), weights)
        repeated = measured(target, y[rows], prediction[rows])
        assert measured(target, y, prediction, weights) == pytest.approx(repeated, nan_ok=True)
        if target.kind in ORACLES:
            found = measured(target, y, prediction, weights)
            for name, value in ORACLES[target.kind](y[rows], prediction[rows]).items():
                assert found[name] == pytest.approx(value, abs=1e-9), name


@pytest.mark.parametrize("grouped", [False, True], ids=["samples", "groups"])
@pytest.mark.parametrize("target", ROOMS[1:], ids=lambda target: target.kind)
def test_intervals_equal_a_loop_over_the_same_resamples(target, grouped):
    y, prediction = made_case(target, 60, 3)
    groups = np.arange(60) // 4 if grouped else None
    members = [np.flatnonzero(groups == g) if grouped else np.array([g]) for g in range(15 if grouped else 60)]
    found = score(target, y, prediction, groups, EvaluateSettings(bootstrap=40, confidence=0.9), 5)
    tables = []
    for draw in np.random.default_rng(5).integers(0, len(members), size=(40, len(members))):
        rows = np.concatenate([members[unit] for unit in draw])
        tables.append(ORACLES[target.kind](y[rows], prediction[rows]))
    for name in tables[0]:
        low, high = np.quantile([table[name] for table in tables], (0.05, 0.95))
        assert (found[name]["low"], found[name]["high"]) == pytest.approx((low, high), abs=1e-9), name


def test_a_mean_over_findings_has_each_finding_with_its_interval():
    target = ROOMS[2]
    y, prediction = made_case(target, 200, 0)
    found = score(target, y, prediction, None, EvaluateSettings(bootstrap=50), 0)
    for name in ("auroc", "average_precision", "brier", "log_loss"):
        parts = found[name]["outputs"]
        assert set(parts) == set(target.names)
        assert np.mean([part["value"] for part in parts.values()]) == pytest.approx(found[name]["value"])
        assert all(part["low"] <= part["value"] <= part["high"] for part in parts.values())
    alone = score(Findings(("y",)), y[:, 1:2], prediction[:, 1:2], None, NONE, 0)
    assert found["auroc"]["outputs"]["y"]["value"] == pytest.approx(alone["auroc"]["value"])
    assert sum(found["outcomes"]["x"].values()) == 200


@pytest.mark.parametrize("name", ["f1_macro", "balanced_accuracy", "auroc"])
def test_a_mean_over_classes_has_each_class(name):
    target = Classes(("a", "b", "c"))
    y, prediction = made_case(target, 100, 1)
    found = score(target, y, prediction, None, NONE, 0)[name]
    assert set(found["outputs"]) == {"a", "b", "c"}
    assert np.mean([part["value"] for part in found["outputs"].values()]) == pytest.approx(found["value"])


def test_what_is_unknown_changes_nothing():
    target = ROOMS[2]
    y, prediction = made_case(target, 80, 0)
    groups = np.arange(80) // 2
    settings = EvaluateSettings(bootstrap=20)
    y[:4] = np.nan
    found = score(target, y, prediction, groups, settings, 0)
    assert (found["n"], found["n_unknown"], found["n_groups"]) == (76, 4, 38)
    rest = score(target, y[4:], prediction[4:], groups[4:], settings, 0)
    assert {**rest, "n_unknown": 4} == found
    other = np.where(np.isnan(y), 1 - prediction, prediction)  # a prediction of an unknown outcome is not looked at
    assert score(target, y, other, groups, settings, 0) == found
    with pytest.raises(DataError, match="no sample with a known target"):
        score(target, np.full_like(y, np.nan), prediction, groups, settings, 0)


def test_a_finding_with_a_single_outcome_is_left_out_of_the_areas():
    target = ROOMS[2]
    y, prediction = made_case(target, 100, 0)
    y[:, 1] = 0
    found = score(target, y, prediction, None, NONE, 0)
    assert set(found["auroc"]["outputs"]) == set(found["average_precision"]["outputs"]) == {"x", "z"}
    assert set(found["brier"]["outputs"]) == {"x", "y", "z"}


def test_a_quantity_of_one_value_has_no_explained_variance():
    target = ROOMS[3]
    prediction = np.random.default_rng(0).normal(size=(20, 1))
    found = score(target, np.full(20, 70.1, dtype=np.float32), prediction, None, EvaluateSettings(bootstrap=10), 0)
    assert found["r2"] == {"value": None, "low": None, "high": None}
    assert found["bootstrap"]["skipped"]["r2"] == 10
    same = score(target, np.full(20, 3.0), np.full((20, 1), 3.0), None, NONE, 0)
    assert same["concordance"]["value"] is None
    assert same["mean_absolute_error"]["value"] == 0


def test_certainty_that_is_wrong_costs_much_and_not_infinitely_much():
    proba = np.array([[1.0, 0.0], [0.0, 1.0]])
    found = score(ROOMS[0], np.array([1, 1]), proba, None, NONE, 0)
    assert found["log_loss"]["value"] == pytest.approx(sk.log_loss([1, 1], proba, labels=[0, 1]))
    assert found["log_loss"]["value"] == pytest.approx(-np.log(np.finfo(float).eps) / 2)


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: f"{metric.name}-{metric.targets[0]}")
def test_a_metric_says_what_it_is(metric):
    assert metric.title
    assert metric.source
    assert set(metric.targets) <= set(TARGETS)
    assert (type(metric).__doc__ or "").strip()
    if isinstance(metric, PredictionMetric) and metric.test is None:
        with pytest.raises(NotImplementedError, match="no paired test"):
            metric.contributions(None)


def test_names_are_unique_among_the_metrics_of_a_target():
    for target in ROOMS:
        names = [metric.name for metric in (*prediction_metrics(target), *ranking_metrics(target))]
        assert len(set(names)) == len(names)
        assert sorted(metric_facts(target)) == sorted(m.name for m in METRICS if target.kind in m.targets)
        assert [name for name in metric_facts(target) if name in names[: len(names)]] == names
    facts = metric_facts(ROOMS[3])["mean_absolute_error"]
    assert (facts["unit"], facts["direction"]) == ("years", "lower")


# ------------------------------------------------------------------------------------------------ published predictions


@pytest.fixture
def published():
    folder = Path(os.environ.get("MEDSSL_DATA", "")) / "predictions"
    if "MEDSSL_DATA" not in os.environ or not folder.exists():
        pytest.skip("MEDSSL_DATA names no folder with predictions/")
    return folder


@pytest.mark.parametrize("name", ["pathmnist", "pneumoniamnist", "adrenalmnist"])
def test_published_predictions_have_the_values_of_the_reference(published, name):
    folder = published / "medmnist"
    expected = json.loads((folder / "reference_sklearn.json").read_text())[name]
    raw = np.exp(np.load(folder / name / "scores.npy").astype(np.float64))
    y = np.load(folder / name / "targets.npy").reshape(-1).astype(np.int64)
    target = Classes(tuple(f"c{i}" for i in range(raw.shape[1])))
    assert score(target, y, raw, None, NONE, 0)["auroc"]["value"] == pytest.approx(expected["auc"], abs=1e-6)
    found = score(target, y, raw / raw.sum(axis=1, keepdims=True), None, NONE, 0)
    names = {
        "accuracy": "accuracy",
        "balanced_accuracy": "balanced_accuracy",
        "f1_macro": "macro_f1",
        "mcc": "mcc",
        "log_loss": "log_loss",
        "brier": "brier_multiclass" if target.outputs > 2 else "brier_binary",
        "ece": "ece_15_equal_width_top_label",
        "auroc": "auc_after_renormalising_rows",
    }
    for ours, theirs in names.items():
        assert found[ours]["value"] == pytest.approx(expected[theirs], abs=1e-6), ours  # the reference has six digits
    assert found["confusion_matrix"] == expected["confusion"]
    # the reference has six digits, so scikit-learn computes these again
    p, decided, present = raw / raw.sum(axis=1, keepdims=True), raw.argmax(axis=1), range(raw.shape[1])
    again = {
        "accuracy": sk.accuracy_score(y, decided),
        "balanced_accuracy": sk.balanced_accuracy_score(y, decided),
        "f1_macro": sk.f1_score(y, decided, average="macro"),
        "mcc": sk.matthews_corrcoef(y, decided),
        "log_loss": sk.log_loss(y, p),
        "auroc": np.mean([sk.roc_auc_score(y == c, p[:, c]) for c in (present if len(present) > 2 else [1])]),
    }
    assert {ours: found[ours]["value"] for ours in again} == pytest.approx(again, abs=1e-9)


def test_published_risks_of_a_cancer_have_the_values_of_the_reference(published):
    with (published / "decision_curves" / "df_binary.csv").open() as file:
        rows = list(csv.DictReader(file))
    y = np.array([row["cancer"] in ("1", "TRUE", "True") for row in rows], dtype=np.int64)
    risk = np.array([float(row["cancerpredmarker"]) for row in rows])
    found = score(Classes(("no", "yes")), y, np.stack([1 - risk, risk], axis=1), None, NONE, 0)
    assert found["auroc"]["value"] == pytest.approx(0.860628, abs=1e-6)
    assert found["brier"]["value"] == pytest.approx(0.084929, abs=1e-6)
