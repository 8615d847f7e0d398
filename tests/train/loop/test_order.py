"""The order of the samples, against rules that are written down as loops."""

from __future__ import annotations

import itertools

import pytest
import torch

from medssl.train.loop.order import Order
from medssl.train.loop.seeding import derive_seed


def steps_of(order: Order, epochs: int = 3) -> list[tuple[list[int], list[int]]]:
    found = (order.at(step) for step in range(epochs * order.steps))
    return [(step.positions.tolist(), step.passes.tolist()) for step in found]


@pytest.mark.parametrize(("samples", "batch"), [(48, 16), (50, 16), (7, 7), (9, 2)])
def test_an_epoch_is_one_pass_over_all_samples(samples, batch):
    order = Order(samples, batch, seed=3)
    assert order.batch_size == batch
    assert order.steps == samples // batch
    for epoch in range(3):
        generator = torch.Generator().manual_seed(derive_seed(3, "order", epoch))
        expected = torch.randperm(samples, generator=generator).tolist()
        for i in range(order.steps):
            step = order.at(epoch * order.steps + i)
            assert step.positions.tolist() == expected[i * batch : (i + 1) * batch]
            assert step.passes.tolist() == [epoch] * batch


@pytest.mark.parametrize("labelled", [[5, 1], [*range(0, 30, 3)], [*range(3, 20)], [*range(40)]])
def test_labelled_samples_alone_appear_once_in_each_pass(labelled):
    order = Order(48, 16, 0, torch.tensor(labelled), 1.0)
    found = steps_of(order)
    size = min(16, len(labelled))
    assert order.batch_size == size
    assert len(found) == 9
    passes = [number for _, numbers in found for number in numbers]
    assert passes == sorted(passes)
    assert set(passes) == set(range(-(-9 // (len(labelled) // size))))
    for number in set(passes):
        of_pass = [at for positions, numbers in found if numbers[0] == number for at in positions]
        assert len(set(of_pass)) == len(of_pass)
        assert set(of_pass) <= set(labelled)
    assert {at for positions, _ in found for at in positions} == set(labelled)


@pytest.mark.parametrize(("share", "known"), [(1 / 8, 2), (0.5, 6), (0.001, 1)])
def test_a_share_of_a_batch_is_labelled(share, known):
    labelled = [2, 3, 5, 7, 11, 13]
    order = Order(48, 16, 1, torch.tensor(labelled), share)
    rest = 16 - max(1, round(16 * share))
    assert order.batch_size == rest + known
    for positions, _ in steps_of(order):
        assert len(positions) == rest + known
        assert set(positions[rest:]) <= set(labelled)
        assert len(set(positions[rest:])) == known
        assert len(set(positions[:rest])) == rest
    drawn = [at for positions, _ in steps_of(order, epochs=12) for at in positions[:rest]]
    assert set(drawn) == set(range(48))


def test_a_sample_never_has_the_same_views_twice():
    order = Order(20, 8, 0, torch.tensor([1, 4, 6]), 0.25)
    seen = [pair for positions, passes in steps_of(order, epochs=20) for pair in zip(positions, passes, strict=True)]
    assert len(set(seen)) == len(seen)


def test_a_step_does_not_depend_on_the_steps_before():
    def order() -> Order:
        return Order(30, 8, 5, torch.tensor([*range(0, 30, 4)]), 0.5)

    straight = steps_of(order())
    for number, expected in enumerate(straight):
        alone = order().at(number)
        assert (alone.positions.tolist(), alone.passes.tolist()) == expected


def test_seeds_differ():
    orders = [steps_of(Order(30, 8, seed)) for seed in (0, 1, 2)]
    assert all(one != other for one, other in itertools.combinations(orders, 2))
