"""K processes compute what one computes: losses, gradients and weights, with a batch that does not divide.

In float64 the differences are those of rounding. In float32 the same code rounds at the seventh digit, and the
differences grow from step to step, so only one epoch is compared, less closely.
"""

from __future__ import annotations

import pytest
import torch

from medssl import discovery

pytestmark = pytest.mark.slow

METHODS = sorted(
    plugin.name
    for plugin in discovery.discover("method")
    if plugin.distribution == "medssl" and discovery.load(plugin).trains
)
EXACT, ROUNDED = 1e-5, 5e-3


def furthest(one, other):
    """The largest difference of two sets of tensors, each over the largest value of its tensor."""
    assert one.keys() == other.keys()
    pairs = [(one[name].double(), other[name].double()) for name in one if one[name].numel()]
    return max((float((a - b).abs().max() / b.abs().max().clamp_min(1e-3)) for a, b in pairs), default=0.0)


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in other) and one.keys() == other.keys()


def require_equal(ranks, alone, tolerance):
    for rank in ranks:
        assert len(rank["losses"]) == len(alone["losses"]) > 2
        torch.testing.assert_close(
            torch.tensor(rank["losses"]), torch.tensor(alone["losses"]), rtol=tolerance, atol=tolerance
        )
        assert rank["gradients"]
        assert furthest(rank["gradients"], alone["gradients"]) < tolerance
        assert furthest(rank["state"], alone["state"]) < tolerance
        assert same(rank["state"], ranks[0]["state"])  # to the bit, so ranks do not drift apart


@pytest.mark.parametrize("name", METHODS)
def test_two_processes_equal_one(together, name):
    (alone,) = together("methods", 1)
    two = together("methods", 2)
    for dtype, tolerance in (("float64", EXACT), ("float32", ROUNDED)):
        require_equal([rank[f"{name} {dtype}"] for rank in two], alone[f"{name} {dtype}"], tolerance)


@pytest.mark.parametrize("name", ["simclr", "byol", "mocov2", "mae", "ibot", "vicregl", "few rows", "joint", "adamw"])
def test_three_processes_equal_one(together, name):
    (alone,) = together("variants", 1)
    require_equal([rank[name] for rank in together("variants", 3)], alone[name], EXACT)


def test_statistics_of_each_device_alone_are_another_training_with_equal_ranks(together):
    (alone,) = together("variants", 1)
    three = [rank["each"] for rank in together("variants", 3)]
    assert all(same(rank["state"], three[0]["state"]) for rank in three)  # running statistics are averaged
    assert furthest(three[0]["state"], alone["each"]["state"]) > 10 * EXACT


def test_dropout_leaves_ranks_equal(together):
    three = [rank["dropout"] for rank in together("variants", 3)]
    assert all(same(rank["state"], three[0]["state"]) and rank["losses"] == three[0]["losses"] for rank in three)


def test_only_rank_0_validates_and_writes(together):
    (alone,) = together("variants", 1)
    three = [rank["simclr"] for rank in together("variants", 3)]
    assert [rank["files"] for rank in three] == [alone["simclr"]["files"], [], []]
    assert "state.pt" in alone["simclr"]["files"]
    for record, expected in zip(three[0]["history"], alone["simclr"]["history"], strict=True):
        assert record["validation"] == pytest.approx(expected["validation"], rel=EXACT)
        assert record["images"] == expected["images"]
        assert record["feature_std"] == pytest.approx(expected["feature_std"], rel=1e-4)
    assert three[1]["history"][-1]["validation"] == three[0]["history"][-1]["validation"]


@pytest.mark.parametrize(("first", "then"), [(2, 1), (1, 2), (2, 3)])
def test_a_resumed_training_may_have_another_number_of_ranks(tmp_path, do, together, first, then):
    (alone,) = together("variants", 1)
    do("begin", tmp_path, first)
    resumed = do("rest", tmp_path, then)
    assert all(furthest(rank["state"], alone["mocov2"]["state"]) < EXACT for rank in resumed)
    assert all(len(rank["losses"]) == 6 for rank in resumed)  # of nine steps
