"""Subgroups: their names, scores against scoring the rows alone, and counts only where there are few groups."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sk

from medssl.contracts.targets import Classes
from medssl.evaluation.subgroups import score_subgroups, subgroup_values
from medssl.recipe.settings import EvaluateSettings

TARGET = Classes(("a", "b"))


def test_texts_stay_and_blanks_are_unknown() -> None:
    assert subgroup_values(["M", None, "", "F", float("nan")]) == ["M", "unknown", "unknown", "F", "unknown"]


def test_many_numbers_become_four_ranges_of_equal_size() -> None:
    found = subgroup_values([*range(1, 101), None])
    assert sorted(set(found)) == ["25.75 to 50.5", "50.5 to 75.25", "above 75.25", "unknown", "up to 25.75"]
    assert [found.count(name) for name in dict.fromkeys(found)] == [25, 25, 25, 25, 1]
    assert subgroup_values([3, 1, 2]) == ["3", "1", "2"]


def test_scores_equal_those_of_the_rows_alone_and_few_groups_are_counted_only() -> None:
    rng = np.random.default_rng(0)
    y, p = rng.integers(0, 2, 90), rng.random(90)
    proba, groups = np.stack([1 - p, p], axis=1), np.arange(90) // 3
    site = np.array(["A"] * 60 + ["B"] * 27 + ["C"] * 3)
    settings = EvaluateSettings(bootstrap=50, least_groups=10)
    found = score_subgroups(TARGET, y, proba, groups, {"site": site.tolist()}, settings, 0)["site"]
    assert found["A"]["auroc"]["value"] == pytest.approx(sk.roc_auc_score(y[:60], p[:60]), abs=1e-12)
    assert found["A"]["auroc"]["low"] < found["A"]["auroc"]["value"] < found["A"]["auroc"]["high"]
    assert (found["A"]["n"], found["A"]["n_groups"], found["A"]["bootstrap"]["unit"]) == (60, 20, "group")
    assert found["B"] == {"n": 27, "n_groups": 9}
    assert found["C"] == {"n": 3, "n_groups": 1}
