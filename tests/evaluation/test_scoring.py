"""Metrics against scikit-learn, and the bootstrap against a loop over the same resamples."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable

import numpy as np
import pytest
from sklearn import metrics as sk

from medssl.contracts.targets import Classes
from medssl.errors import DataError, PluginError
from medssl.evaluation import scoring
from medssl.recipe.settings import EvaluateSettings

NONE = EvaluateSettings(bootstrap=0)
METRICS = ("accuracy", "f1_weighted", "f1_macro", "balanced_accuracy", "mcc", "ece", "brier", "log_loss", "auroc")


def score(proba, labels, groups, settings, seed):
    """Score classes that are numbered."""
    target = Classes(tuple(f"c{i}" for i in range(proba.shape[1])))
    return scoring.score(target, labels, proba, groups, settings, seed)


def loop_ece(proba: np.ndarray, labels: np.ndarray, bins: int = 15) -> float:
    """Guo et al. 2017, equation 3, sample by sample."""
    sums = [[0, 0.0, 0.0] for _ in range(bins)]
    edges = np.linspace(0, 1, bins + 1)
    for row, label in zip(proba, labels, strict=True):
        confidence = float(max(row))
        which = next(m for m in range(bins) if edges[m] < confidence <= edges[m + 1])
        sums[which][0] += 1
        sums[which][1] += float(np.argmax(row) == label)
        sums[which][2] += confidence
    return sum(abs(right - confidence) for _, right, confidence in sums) / len(labels)


def oracle(proba: np.ndarray, labels: np.ndarray, classes: np.ndarray | None = None) -> dict[str, float]:
    """scikit-learn's values; ``classes`` are those that must be present for a mean over classes."""
    predicted, k = proba.argmax(axis=1), proba.shape[1]
    classes = np.unique(labels) if classes is None else classes
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # predicted classes without a label: averaged over the others, as documented
        found = {
            "accuracy": sk.accuracy_score(labels, predicted),
            "f1_weighted": sk.f1_score(labels, predicted, average="weighted"),
            "f1_macro": sk.f1_score(labels, predicted, average="macro", labels=classes),
            "balanced_accuracy": sk.balanced_accuracy_score(labels, predicted),
            "mcc": sk.matthews_corrcoef(labels, predicted),
            "ece": loop_ece(proba, labels),
            "brier": np.square(proba - np.eye(k)[labels]).sum(axis=1).mean() / (2 if k == 2 else 1),
            "log_loss": sk.log_loss(labels, proba, labels=range(k)),
            "auroc": np.nan,
        }
    if not set(classes) <= set(labels):
        found |= {"f1_macro": np.nan, "balanced_accuracy": np.nan}
    elif len(classes) > 1:
        ranked = [1] if k == 2 else classes
        found["auroc"] = np.mean([sk.roc_auc_score(labels == c, proba[:, c]) for c in ranked])
    return found


def case(n: int, k: int, seed: int, *, levels: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Random labels and probabilities that know a little about them; ``levels`` votes make ties, as kNN does."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, k, n)
    weight = rng.random((n, k)) ** 3 + 0.4 * np.eye(k)[labels]
    if levels:
        weight = np.floor(levels * weight / weight.sum(axis=1, keepdims=True)) + 1e-3
    return weight / weight.sum(axis=1, keepdims=True), labels


@pytest.mark.parametrize("levels", [None, 5])
@pytest.mark.parametrize(("n", "k"), [(2, 2), (50, 2), (300, 2), (40, 3), (500, 8)])
def test_values_equal_scikit_learn(n: int, k: int, levels: int | None) -> None:
    for seed in range(5):
        proba, labels = case(n, k, seed, levels=levels)
        found = score(proba, labels, None, NONE, 0)
        for name, value in oracle(proba, labels).items():
            assert found[name]["value"] == (None if np.isnan(value) else pytest.approx(value, abs=1e-9)), name


@pytest.mark.parametrize("present", [[0, 2], [1, 3], [0, 1, 3]])
def test_values_equal_scikit_learn_when_classes_are_missing(present: list[int]) -> None:
    proba, labels = case(200, 4, 0)
    labels = np.array(present)[labels % len(present)]
    found = score(proba, labels, None, NONE, 0)
    for name, value in oracle(proba, labels).items():
        assert found[name]["value"] == pytest.approx(value, abs=1e-9), name


def test_multi_class_auroc_equals_scikit_learn_one_against_rest() -> None:
    proba, labels = case(200, 5, 3)
    expected = sk.roc_auc_score(labels, proba, multi_class="ovr", average="macro")
    assert score(proba, labels, None, NONE, 0)["auroc"]["value"] == pytest.approx(expected, abs=1e-9)


def test_confusion_matrix_equals_scikit_learn_with_true_classes_as_rows() -> None:
    proba, labels = case(100, 4, 1)
    found = score(proba, labels, None, NONE, 0)["confusion_matrix"]
    assert found == sk.confusion_matrix(labels, proba.argmax(axis=1), labels=range(4)).tolist()


def test_hand_values() -> None:
    proba = np.array([[0.9, 0.1], [0.6, 0.4], [0.3, 0.7], [0.8, 0.2]])
    found = score(proba, np.array([0, 0, 1, 1]), None, NONE, 0)
    assert found["accuracy"]["value"] == 0.75
    assert found["auroc"]["value"] == 0.75  # of the pairs (0.7, 0.2) over (0.1, 0.4), only 0.2 < 0.4 is wrong
    assert found["ece"]["value"] == pytest.approx((0.1 + 0.4 + 0.3 + 0.8) / 4)
    assert found["confusion_matrix"] == [[2, 0], [1, 1]]


def test_confidence_on_the_edge_of_a_bin_belongs_to_the_lower_one() -> None:
    proba, labels = np.array([[0.6, 0.4], [0.65, 0.35]]), np.array([0, 1])  # 0.6 = 9/15
    assert score(proba, labels, None, NONE, 0)["ece"]["value"] == pytest.approx((0.4 + 0.65) / 2)


def test_a_single_class_has_no_auroc_and_counts_every_resample_as_skipped() -> None:
    proba, _ = case(20, 2, 0)
    found = score(proba, np.ones(20, dtype=int), None, EvaluateSettings(bootstrap=10), 0)
    assert found["auroc"] == {"value": None, "low": None, "high": None}
    skipped = found["bootstrap"]["skipped"]
    assert skipped["auroc"] == 10
    assert not set(skipped) & {"accuracy", "f1_weighted", "brier", "log_loss", "ece"}
    assert 0 <= found["accuracy"]["low"] <= found["accuracy"]["value"] <= found["accuracy"]["high"] <= 1


def loop_interval(
    proba: np.ndarray, labels: np.ndarray, groups: np.ndarray | None, settings: EvaluateSettings, seed: int
) -> dict[str, tuple[float, float]]:
    """Draw units one resample at a time and score the drawn samples with scikit-learn."""
    members = [np.array([i]) for i in range(len(labels))]
    if groups is not None:
        members = [np.flatnonzero(groups == g) for g in np.unique(groups)]
    draws = np.random.default_rng(seed).integers(0, len(members), size=(settings.bootstrap, len(members)))
    tables = []
    for draw in draws:
        rows = np.concatenate([members[unit] for unit in draw])
        tables.append(oracle(proba[rows], labels[rows], classes=np.unique(labels)))
    tail = (1 - settings.confidence) / 2
    found = {}
    for name in METRICS:
        values = np.array([table[name] for table in tables])
        low, high = np.quantile(values[~np.isnan(values)], [tail, 1 - tail])
        found[name] = (low, high)
    found["skipped"] = int(np.isnan([table["auroc"] for table in tables]).sum())
    return found


@pytest.mark.parametrize("grouped", [False, True], ids=["samples", "groups"])
@pytest.mark.parametrize(("n", "k", "levels"), [(12, 2, None), (60, 2, 4), (40, 4, None)])
def test_interval_equals_a_loop_over_the_same_resamples(n: int, k: int, levels: int | None, grouped: bool) -> None:
    proba, labels = case(n, k, 7, levels=levels)
    groups = np.random.default_rng(0).integers(0, n // 3, n).astype(str) if grouped else None
    settings = EvaluateSettings(bootstrap=20, confidence=0.9)
    found, expected = score(proba, labels, groups, settings, 5), loop_interval(proba, labels, groups, settings, 5)
    assert found["bootstrap"]["skipped"].get("auroc", 0) == expected.pop("skipped")
    for name, (low, high) in expected.items():
        assert found[name]["low"] == pytest.approx(low, abs=1e-9), name
        assert found[name]["high"] == pytest.approx(high, abs=1e-9), name


def test_resamples_do_not_depend_on_how_many_are_held_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    proba, labels = case(30, 3, 0)
    whole = score(proba, labels, None, EvaluateSettings(bootstrap=50), 1)
    monkeypatch.setattr(scoring, "_CHUNK", 30 * 7)
    narrow = score(proba, labels, None, EvaluateSettings(bootstrap=50), 1)
    for name in METRICS:
        for key in ("value", "low", "high"):  # equal but for the order of a matrix product's sums
            assert narrow[name][key] == pytest.approx(whole[name][key], abs=1e-14), name


def test_resampling_groups_widens_the_interval_of_samples_that_agree_within_groups() -> None:
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(20), 10)
    right = np.repeat(rng.random(20) < 0.7, 10)  # a patient's images are all right or all wrong
    labels = rng.integers(0, 2, 200)
    proba = np.eye(2)[np.where(right, labels, 1 - labels)] * 0.8 + 0.1

    def width(groups: np.ndarray | None) -> float:
        found = score(proba, labels, groups, EvaluateSettings(bootstrap=500), 0)["accuracy"]
        return found["high"] - found["low"]

    assert width(groups) > 2 * width(None)


def test_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    covered = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        labels = rng.integers(0, 2, 100)
        right = rng.random(100) < 0.8
        proba = np.eye(2)[np.where(right, labels, 1 - labels)]
        found = score(proba, labels, None, EvaluateSettings(bootstrap=200, confidence=0.9), seed)["accuracy"]
        covered += found["low"] <= 0.8 <= found["high"]
    assert 80 <= covered <= 97


def test_equal_seeds_give_equal_results_and_other_seeds_others() -> None:
    proba, labels = case(80, 3, 0)
    settings = EvaluateSettings(bootstrap=100)
    first = score(proba, labels, None, settings, 1)
    assert score(proba, labels, None, settings, 1) == first
    assert score(proba, labels, None, settings, 2)["accuracy"] != first["accuracy"]


def test_details_say_what_was_drawn() -> None:
    proba, labels = case(30, 2, 0)
    groups = np.arange(30) // 3
    found = score(proba, labels, groups, EvaluateSettings(bootstrap=20), 0)
    assert (found["n"], found["n_groups"]) == (30, 10)
    assert found["bootstrap"].pop("skipped").keys() <= {"calibration_slope"}  # ten groups: some resamples are separable
    assert found["bootstrap"] == {"resamples": 20, "confidence": 0.95, "unit": "group"}
    alone = score(proba, labels, None, EvaluateSettings(bootstrap=20), 0)
    assert (alone["n_groups"], alone["bootstrap"]["unit"]) == (None, "sample")


@pytest.mark.parametrize("groups", [None, np.zeros(30, dtype=int)], ids=["no resamples", "one group"])
def test_bounds_are_none_without_anything_to_draw(groups: np.ndarray | None) -> None:
    proba, labels = case(30, 3, 0)
    settings = NONE if groups is None else EvaluateSettings(bootstrap=20)
    found = score(proba, labels, groups, settings, 0)
    assert all(found[name]["low"] is None and found[name]["high"] is None for name in METRICS)
    assert found["bootstrap"]["resamples"] == 0
    assert found["accuracy"]["value"] == pytest.approx((proba.argmax(axis=1) == labels).mean())


def test_result_is_plain_json() -> None:
    proba, labels = case(30, 3, 0)
    found = score(proba.astype(np.float32), labels, np.arange(30), EvaluateSettings(bootstrap=5), 0)
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def spoil(change: Callable[[np.ndarray], object]) -> np.ndarray:
    proba, _ = case(10, 3, 0)
    change(proba)
    return proba


@pytest.mark.parametrize(
    ("proba", "message"),
    [
        (spoil(lambda p: p.__setitem__((0, 0), np.nan)), "not valid"),
        (spoil(lambda p: p.__imul__(2)), "not valid"),
        (spoil(lambda p: p.__setitem__(0, [1.5, -0.5, 0])), "not valid"),
        (np.full((9, 3), 1 / 3), r"shape \(9, 3\).*\(10, 3\)"),
    ],
    ids=["nan", "sum of two", "negative", "too few rows"],
)
def test_what_is_no_prediction_is_refused(proba: np.ndarray, message: str) -> None:
    with pytest.raises(PluginError, match=message):
        score(proba, np.arange(10) % 3, None, NONE, 0)


def test_an_empty_test_part_is_refused() -> None:
    with pytest.raises(DataError, match="no sample with a known target"):
        score(np.empty((0, 2)), np.empty(0, dtype=int), None, NONE, 0)


def test_the_interval_of_macro_f1_leaves_out_resamples_that_lack_a_class() -> None:
    """Against a bootstrap by hand: a class that a resample lacks would count as 0 there and pull the interval down."""
    y = np.array([0] * 40 + [1] * 38 + [2] * 2)
    predicted = np.where(np.arange(80) % 8 == 0, (y + 1) % 3, y)
    predicted[-2:] = 2
    found = score(np.eye(3)[predicted] * 0.7 + 0.1, y, None, EvaluateSettings(), 0)
    generator, complete, naive = np.random.default_rng(0), [], []
    for _ in range(1000):
        drawn = generator.integers(0, 80, 80)
        value = sk.f1_score(y[drawn], predicted[drawn], average="macro", labels=[0, 1, 2], zero_division=0)
        naive.append(value)
        if len(np.unique(y[drawn])) == 3:
            complete.append(value)
    low, high = np.quantile(complete, (0.025, 0.975))
    assert found["f1_macro"]["low"] == pytest.approx(low, abs=0.03)
    assert found["f1_macro"]["high"] == pytest.approx(high, abs=0.03)
    assert np.quantile(naive, 0.025) < low - 0.05
    assert found["f1_macro"]["low"] < found["f1_macro"]["value"] < found["f1_macro"]["high"]


def test_many_classes_have_no_intervals_of_one_class_against_the_rest_and_no_matrix() -> None:
    k, generator = 120, np.random.default_rng(0)
    y = np.arange(6 * k) % k
    proba = generator.dirichlet(np.ones(k), len(y))
    proba[np.arange(len(y)), y] += 0.02
    proba /= proba.sum(axis=1, keepdims=True)
    target = Classes(tuple(f"class {i}" for i in range(k)))
    found = scoring.score(target, y, proba, np.arange(len(y)) // 3, EvaluateSettings(bootstrap=40), 0)
    assert found["auroc"]["value"] == pytest.approx(sk.roc_auc_score(y, proba, multi_class="ovr"), abs=1e-12)
    assert len(found["auroc"]["outputs"]) == k
    assert found["auroc"]["low"] is found["average_precision"]["high"] is None
    assert found["accuracy"]["low"] < found["accuracy"]["value"] < found["accuracy"]["high"]
    assert not {"confusion_matrix", "calibration_slope", "brier_scaled", "sensitivity_at_specificity"} & set(found)
    few = scoring.measure(scoring.Scored(target, y, proba), scoring.prediction_metrics(target), np.ones((len(y), 3)))
    assert np.isnan(few["auroc"]).all()
    assert few["accuracy"] == pytest.approx(found["accuracy"]["value"])
