"""One seed out of several numbers."""

from __future__ import annotations

import itertools

import torch

from medssl.train.loop.seeding import derive_seed


def test_value_is_fixed_for_ever():
    """A resumed run of an older version must find the same order of samples."""
    assert derive_seed(0, "epoch", 0) == 1796959308831604049


def test_neighbours_do_not_collide():
    seeds = [derive_seed(*parts) for parts in itertools.product(range(20), ("order", "step"), range(50))]
    assert len(set(seeds)) == len(seeds)
    assert len({seed % 2**32 for seed in seeds}) == len(seeds)  # what the CPU generator reads of it


def test_parts_are_kept_apart():
    assert len({derive_seed(1, 23), derive_seed(12, 3), derive_seed("1", 23), derive_seed(123)}) == 4


def test_torch_takes_every_value():
    for i in range(100):
        torch.Generator().manual_seed(derive_seed(i))
