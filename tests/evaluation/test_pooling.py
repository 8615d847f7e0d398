"""Pooling against loops over groups, the rules for mixed groups, and scores against scikit-learn."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from sklearn import metrics as sk

from medssl.contracts.targets import Classes, Findings, Grades, Quantity
from medssl.evaluation.pooling import (
    LEAST_GROUPS,
    POOLINGS,
    PoolingChoice,
    choose_group_points,
    choose_pooling,
    group_truth,
    pool_groups,
    score_groups,
)
from medssl.recipe.settings import EvaluateSettings

CLASSES, FINDINGS, GRADES = Classes(("a", "b", "c")), Findings(("x", "y")), Grades(("0", "1", "2", "3"))
NONE = EvaluateSettings(bootstrap=0)


def drawn(outputs: int, *, n: int = 40, groups: int = 12, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    units = np.concatenate([np.arange(groups), rng.integers(0, groups, n - groups)])
    rng.shuffle(units)
    proba = rng.random((n, outputs)) ** 2
    return proba / proba.sum(axis=1, keepdims=True), units


def loop(values: list[float], name: str) -> float:
    """One output of one group."""
    if name == "mean":
        return sum(values) / len(values)
    if name == "max":
        return max(values)
    if name == "top-k":
        best = sorted(values, reverse=True)[:3]
        return sum(best) / len(best)
    absent = 1.0
    for value in values:
        absent *= 1 - value
    return 1 - absent


@pytest.mark.parametrize("name", POOLINGS)
def test_findings_are_pooled_one_by_one(name: str) -> None:
    proba, units = drawn(2)
    wanted = [[loop(proba[units == g, k].tolist(), name) for k in range(2)] for g in range(12)]
    np.testing.assert_allclose(pool_groups(FINDINGS, proba, units, name), wanted, atol=1e-12)


@pytest.mark.parametrize("name", POOLINGS)
def test_classes_are_pooled_and_divided_by_their_sum(name: str) -> None:
    proba, units = drawn(3)
    found = pool_groups(CLASSES, proba, units, name)
    for g in range(12):
        row = np.array([loop(proba[units == g, k].tolist(), name) for k in range(3)])
        np.testing.assert_allclose(found[g], row / row.sum(), atol=1e-12)


def test_noisy_or_of_grades_is_the_distribution_of_the_highest_of_independent_images() -> None:
    proba, units = drawn(4, n=9, groups=3)
    found = pool_groups(GRADES, proba, units, "noisy-or")
    for g in range(3):
        rows, wanted = proba[units == g], np.zeros(4)
        for grades in product(range(4), repeat=len(rows)):  # every combination of the images' grades
            wanted[max(grades)] += np.prod([row[grade] for row, grade in zip(rows, grades, strict=True)])
        np.testing.assert_allclose(found[g], wanted, atol=1e-12)


@pytest.mark.parametrize("name", POOLINGS)
def test_pooled_grades_are_probabilities(name: str) -> None:
    proba, units = drawn(4, seed=3)
    found = pool_groups(GRADES, proba.astype(np.float32), units, name)
    assert GRADES.prediction_error(found) is None
    assert (found >= 0).all()
    if name == "mean":
        np.testing.assert_allclose(found, [proba[units == g].mean(axis=0) for g in range(12)], atol=1e-6)


@pytest.mark.parametrize("name", POOLINGS)
def test_a_group_of_one_image_keeps_its_prediction(name: str) -> None:
    for target in (CLASSES, FINDINGS, GRADES):
        proba, _ = drawn(target.outputs)
        np.testing.assert_allclose(pool_groups(target, proba, np.arange(40), name), proba, atol=1e-12)


def test_a_quantity_is_averaged_whatever_is_asked() -> None:
    values, units = np.array([[1.0], [2.0], [6.0]]), np.array([0, 1, 1])
    assert pool_groups(Quantity("years"), values, units, "max").tolist() == [[1.0], [4.0]]


def test_a_finding_is_present_if_any_image_has_it_and_unknown_is_never_negative() -> None:
    nan = np.nan
    y = np.array([[1, 0], [0, 0], [0, nan], [nan, nan], [1, nan], [0, 0]], dtype=np.float32)
    found = group_truth(FINDINGS, y, np.array([0, 0, 1, 1, 2, 3]))
    np.testing.assert_array_equal(found.y, [[1, 0], [nan, nan], [1, nan], [0, 0]])
    assert (found.mixed, found.excluded) == (1, 0)


def test_grades_take_the_highest_and_mixed_classes_are_left_out_and_counted() -> None:
    y, units = np.array([0, 2, 1, 1, 2]), np.array([0, 0, 1, 1, 2])
    grades, classes = group_truth(GRADES, y, units), group_truth(CLASSES, y, units)
    assert (grades.y.tolist(), grades.mixed, grades.excluded) == ([2, 1, 2], 1, 0)
    assert (classes.y.tolist(), classes.mixed, classes.excluded) == ([-1, 1, 2], 1, 1)


def test_scores_of_groups_equal_scikit_learn() -> None:
    proba, units = drawn(3, n=120, groups=30, seed=1)
    label = np.random.default_rng(2).integers(0, 3, 30)
    y = label[units]
    y[0] = (y[0] + 1) % 3  # one group with two classes
    assert (units == units[0]).sum() > 1
    found = score_groups(CLASSES, y, proba, units + 7, PoolingChoice("mean", "setting"), NONE, 0)
    assert found is not None
    kept = [g for g in range(30) if g != units[0]]
    pooled = np.array([proba[units == g].mean(axis=0) for g in kept])
    assert found["log_loss"]["value"] == pytest.approx(sk.log_loss(label[kept], pooled), abs=1e-12)
    expected = sk.accuracy_score(label[kept], pooled.argmax(axis=1))
    assert found["accuracy"]["value"] == pytest.approx(expected, abs=1e-12)
    assert (found["n"], found["n_unknown"], found["labels"]["excluded"]) == (29, 1, 1)
    assert found["bootstrap"]["unit"] == "group"


def test_there_are_no_scores_of_groups_of_one_image() -> None:
    proba, _ = drawn(3)
    y = np.zeros(40, dtype=np.int64)
    assert score_groups(CLASSES, y, proba, np.arange(40), PoolingChoice("mean", "default"), NONE, 0) is None


def test_the_pooling_with_the_smallest_validation_loss_is_chosen() -> None:
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(60), 5)
    present = rng.random((60, 2)) < 0.5
    y = np.zeros((300, 2), dtype=np.float32)
    y[::5] = present  # one image of five shows the finding
    proba = np.where(y > 0, 0.9, 0.03)
    choice = choose_pooling(FINDINGS, y, proba, groups)
    losses = {}
    for name in POOLINGS:
        pooled = pool_groups(FINDINGS, proba, groups, name)
        each = [sk.log_loss(present[:, k], pooled[:, k]) for k in range(2)]
        losses[name] = np.mean(each)
    assert choice.tried == pytest.approx(losses, abs=1e-9)
    assert choice.name == min(losses, key=losses.__getitem__) != "mean"
    assert choice.to_dict()["chosen_by"] == "log_loss"


def test_the_mean_is_taken_where_there_is_nothing_to_choose_from() -> None:
    proba, units = drawn(3, groups=LEAST_GROUPS - 1)
    y = np.arange(LEAST_GROUPS - 1)[units] % 3
    assert choose_pooling(CLASSES, y, proba, units).to_dict() == {
        "name": "mean", "chosen_by": "default", "val_groups": LEAST_GROUPS - 1, "tried": {},
    }  # fmt: skip
    assert choose_pooling(CLASSES, y[:0], proba[:0], units[:0]).chosen_by == "default"
    assert choose_pooling(CLASSES, y, proba, units, wanted="max").name == "max"


def test_equal_losses_choose_the_first() -> None:
    groups = np.repeat(np.arange(20), 2)
    proba = np.tile([[0.3, 0.7]], (40, 1))  # equal predictions: mean, top-k and max are equal
    choice = choose_pooling(FINDINGS, np.zeros((40, 2), dtype=np.float32), proba, groups)
    assert choice.name == "mean"


@pytest.mark.parametrize("name", POOLINGS)
def test_thresholds_of_groups_are_chosen_from_their_pooled_values(name: str) -> None:
    """Against a loop over groups and all thresholds, and scikit-learn on the decisions of the test groups."""
    target = Classes(("healthy", "ill"))
    rng = np.random.default_rng(5)

    def part(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        proba, units = drawn(2, n=90, groups=30, seed=seed)
        ill = rng.random(30) < 0.4
        proba[:, 1] = np.clip(proba[:, 1] + 0.3 * ill[units], 0.01, 0.99)
        proba[:, 0] = 1 - proba[:, 1]
        return ill[units].astype(int), proba, units

    def pooled(proba: np.ndarray, units: np.ndarray) -> np.ndarray:
        rows = np.array([[loop(proba[units == g, k].tolist(), name) for k in range(2)] for g in range(30)])
        return rows[:, 1] / rows.sum(axis=1)

    val, test = part(1), part(2)
    points = choose_group_points(target, val, (val[0], val[2]), PoolingChoice(name, "setting"), "youden")
    assert points is not None
    (point,) = points.points.values()
    score, ill = pooled(val[1], val[2]), np.array([val[0][val[2] == g][0] for g in range(30)])
    assert (point.positives, point.negatives) == (ill.sum(), 30 - ill.sum())
    merit = [
        ((score >= t) & (ill == 1)).sum() / ill.sum() + ((score < t) & (ill == 0)).sum() / (ill == 0).sum()
        for t in score
    ]
    assert point.sensitivity + point.specificity == pytest.approx(max(merit))

    found = score_groups(target, *test, PoolingChoice(name, "setting"), NONE, 0, points=points)
    assert found is not None
    truth = np.array([test[0][test[2] == g][0] for g in range(30)])
    called = pooled(test[1], test[2]) >= point.threshold
    assert found["sensitivity"]["value"] == pytest.approx(sk.recall_score(truth, called))
    assert found["specificity"]["value"] == pytest.approx(sk.recall_score(truth, called, pos_label=0))
    assert found["operating_points"] == points.to_dict()


def test_there_are_no_thresholds_of_groups_without_validation_groups_or_with_unknown_own_predictions() -> None:
    target, none = Classes(("healthy", "ill")), np.empty(0, dtype=int)
    train = np.array([0, 1]), np.array([0, 1])
    found = choose_group_points(
        target, (none, np.empty((0, 2)), none), train, PoolingChoice("mean", "default"), "youden"
    )
    assert found is not None
    assert found.points["ill"].reason == "the validation part has no positive group"
    y, proba, groups = np.array([0, 1]), np.array([[0.6, 0.4], [0.3, 0.7]]), np.array([0, 1])
    assert (
        choose_group_points(target, (y, proba, groups), train, PoolingChoice("learned", "predictor"), "youden") is None
    )
