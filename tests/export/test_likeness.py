from __future__ import annotations

import numpy as np
import pytest

from medssl.export.likeness import Likeness
from medssl.results.arrays import PartFeatures


def part(x: np.ndarray) -> PartFeatures:
    ids = tuple(f"i{i}" for i in range(len(x)))
    return PartFeatures(ids=ids, x=x.astype(np.float32), y=np.zeros(len(x), np.int64))


def slow_distance(one: np.ndarray, others: np.ndarray, k: int) -> float:
    cosine = [float(one @ each / np.linalg.norm(one) / np.linalg.norm(each)) for each in others]
    return sorted(1 - value for value in cosine)[k - 1]


def test_distances_equal_a_loop_that_leaves_the_own_group_out():
    rng = np.random.default_rng(0)
    x, new = rng.normal(size=(60, 8)), rng.normal(size=(5, 8))
    groups = {f"i{i}": f"g{i // 4}" for i in range(40)}  # the last twenty have none
    like = Likeness.of(part(x), groups)
    assert like.k == 10
    group = [groups.get(f"i{i}", f"alone{i}") for i in range(60)]
    own = [slow_distance(x[i], x[[j for j in range(60) if group[j] != group[i]]], 10) for i in range(60)]
    np.testing.assert_allclose(like.own, sorted(own), atol=1e-6)
    np.testing.assert_allclose(like.distances(new), [slow_distance(each, x, 10) for each in new], atol=1e-6)
    share = [np.mean(np.sort(own) >= d - 1e-9) for d in like.distances(new)]
    np.testing.assert_allclose(like.shares_beyond(like.distances(new)), share, atol=1e-6)
    nearest = like.nearest(new, 3)
    for row, each in zip(nearest, new, strict=True):
        order = sorted(range(60), key=lambda i: slow_distance(each, x[i : i + 1], 1))
        assert row.tolist() == order[:3]


def test_the_threshold_flags_one_in_twenty_of_its_own_kind_and_all_of_another():
    rng = np.random.default_rng(1)
    centre = np.zeros(16)
    centre[0] = 4
    like = Likeness.of(part(rng.normal(size=(2000, 16)) + centre), {})
    same = like.distances((rng.normal(size=(4000, 16)) + centre).astype(np.float32)) >= like.threshold
    assert 0.035 < same.mean() < 0.07
    other = like.distances((rng.normal(size=(100, 16)) - centre).astype(np.float32)) >= like.threshold
    assert other.all()


@pytest.mark.parametrize("n", [1, 2, 12])
def test_a_part_too_small_for_a_threshold_flags_nothing(n):
    x = np.random.default_rng(0).normal(size=(n, 4))
    like = Likeness.of(part(x), {})
    assert like.threshold == np.inf
    assert not (like.distances(x.astype(np.float32)) >= like.threshold).any()


def test_a_single_group_has_no_distances_of_its_own():
    like = Likeness.of(part(np.eye(5)), {f"i{i}": "only" for i in range(5)})
    assert len(like.own) == 0
    assert like.threshold == np.inf
