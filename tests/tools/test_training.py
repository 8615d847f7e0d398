"""Help with training, against loops in float64, values by hand and scikit-learn."""

from __future__ import annotations

import math
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss
from sklearn.utils.class_weight import compute_sample_weight
from torch import nn

from medssl.contracts.targets import Classes, Findings, Grades, Quantity
from medssl.tools import (
    KeepBest,
    activation,
    balanced_chances,
    balanced_weights,
    batches,
    evaluation_mode,
    halving,
    loss_scaler,
    parameter_groups,
    seeded,
    target_loss,
    train,
    warmup_cosine,
)


@pytest.fixture
def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2)).double()


def test_biases_and_normalisation_are_not_decayed(network):
    decayed, plain = parameter_groups([network], 0.3)
    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.3, 0.0)
    assert {id(p) for p in decayed["params"]} == {id(network[0].weight), id(network[3].weight)}
    assert all(p.ndim == 1 for p in plain["params"])
    assert len(decayed["params"]) + len(plain["params"]) == len(list(network.parameters()))


def test_shared_parameters_count_once_and_frozen_ones_not_at_all(network):
    head = nn.Sequential(network, nn.Linear(2, 2))
    network[0].weight.requires_grad_(False)
    found = [p for group in parameter_groups([network, head], 0.1) for p in group["params"]]
    assert len(found) == len({id(p) for p in found}) == len(list(head.parameters())) - 1


def test_no_group_is_empty():
    assert len(parameter_groups([nn.Linear(2, 2, bias=False)], 0.1)) == 1


def test_schedule_has_the_values_by_hand():
    cosine = [warmup_cosine(step, 8, 2, "cosine") for step in range(8)]
    by_hand = [0.5, 1.0, 1.0] + [0.5 * (1 + math.cos(math.pi * k / 6)) for k in (1, 2, 3, 4, 5)]
    assert cosine == pytest.approx(by_hand)
    assert cosine[5] == pytest.approx(0.5)  # half-way through the decay
    assert [warmup_cosine(step, 4, 0, "constant") for step in range(4)] == [1, 1, 1, 1]
    assert [warmup_cosine(step, 4, 4, "constant") for step in range(4)] == [0.25, 0.5, 0.75, 1]


def test_schedule_without_warm_up_starts_at_the_peak_and_ends_above_zero():
    assert warmup_cosine(0, 100, 0, "cosine") == 1
    assert 0 < warmup_cosine(99, 100, 0, "cosine") < 1e-3


def test_warm_up_longer_than_the_run_never_leaves_it():
    assert [warmup_cosine(step, 2, 4, "cosine") for step in range(2)] == [0.25, 0.5]


def test_halving_equals_torchs_step_schedule_that_starts_late():
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.3)
    steps = torch.optim.lr_scheduler.StepLR(optimizer, step_size=4, gamma=0.5)
    for epoch in range(20):
        assert optimizer.param_groups[0]["lr"] == 0.3 * halving(epoch, every=4, hold=3)
        optimizer.step()
        if epoch >= 3:
            steps.step()


def test_seeded_leaves_the_global_generator_as_it_was():
    before = torch.get_rng_state()
    with seeded(3, torch.device("cpu")):
        first = torch.rand(4)
    with seeded(3, torch.device("cpu")):
        assert torch.equal(torch.rand(4), first)
    assert torch.equal(torch.get_rng_state(), before)


def test_evaluation_mode_puts_each_part_back_into_its_own_mode():
    network = nn.Sequential(nn.Dropout(), nn.BatchNorm1d(2).eval())
    with evaluation_mode(network):
        assert not any(part.training for part in network.modules())
    assert [part.training for part in network] == [True, False]


@pytest.mark.parametrize(("n", "size", "count"), [(10, 4, 2), (8, 4, 2), (3, 4, 1), (1, 4, 1)])
def test_batches_hold_different_samples_and_leave_out_the_rest(n, size, count):
    generator = torch.Generator().manual_seed(0)
    first, second = list(batches(n, size, generator)), list(batches(n, size, generator))
    assert [len(rows) for rows in first] == [min(size, n)] * count
    assert len(torch.cat(first).unique()) == count * min(size, n)
    assert n < 4 or not torch.equal(torch.cat(first), torch.cat(second))


def test_float16_scales_the_loss_and_other_precisions_do_not():
    cuda, cpu = torch.device("cuda"), torch.device("cpu")
    assert loss_scaler(lambda: torch.autocast("cpu", dtype=torch.float16), cpu).is_enabled() is True
    assert loss_scaler(lambda: torch.autocast("cpu", dtype=torch.bfloat16), cpu).is_enabled() is False
    assert loss_scaler(nullcontext, cpu).is_enabled() is False
    assert loss_scaler(nullcontext, cuda).is_enabled() is False


def test_training_takes_the_steps_of_a_loop_by_hand():
    x, y = torch.randn(2, 7, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    network = nn.Linear(1, 1, bias=False).double()
    nn.init.zeros_(network.weight)
    seen = []
    train(
        network,
        [{"params": [network.weight], "lr": 0.1}],
        lambda _epoch, rows: (network(x[rows]) - y[rows]).square().mean(),
        samples=7,
        batch_size=3,
        epochs=2,
        factor=lambda step: 1 / (step + 1),
        seed=5,
        optimizer=torch.optim.SGD,
        after_epoch=seen.append,
    )
    generator = torch.Generator().manual_seed(5)
    weight, step = 0.0, 0
    for _ in range(2):
        order = torch.randperm(7, generator=generator).tolist()
        for start in (0, 3):
            rows = order[start : start + 3]
            slope = sum(2 * (weight * x[i].item() - y[i].item()) * x[i].item() for i in rows) / 3
            step += 1
            weight -= 0.1 / step * slope
    assert network.weight.item() == pytest.approx(weight, rel=1e-12)
    assert seen == [0, 1]


def test_a_network_left_in_evaluation_is_trained_on_in_training_mode():
    network, modes = nn.Sequential(nn.Linear(1, 1), nn.Dropout()), []

    def loss(_epoch, rows):
        modes.append(network.training)
        return network(torch.ones(len(rows), 1)).sum()

    train(
        network,
        [{"params": list(network.parameters()), "lr": 0.1}],
        loss,
        samples=2,
        batch_size=2,
        epochs=2,
        factor=lambda _step: 1.0,
        seed=0,
        after_epoch=lambda _epoch: network.eval(),
    )
    assert modes == [True, True]


def test_the_best_epoch_is_kept_and_the_earlier_among_equals():
    network, kept = nn.Linear(1, 1), KeepBest(lambda one, other: one > other)
    for epoch, score in enumerate([0.2, 0.7, 0.7, 0.1]):
        nn.init.constant_(network.weight, epoch)
        kept.see(epoch, score, network)
    assert (kept.epoch, kept.score) == (1, 0.7)
    assert kept.weights["weight"].item() == 1


CLASSES = (Classes(("a", "b", "c")), Grades(("low", "mid", "high")))


@pytest.mark.parametrize("target", CLASSES, ids=lambda target: target.kind)
def test_loss_of_classes_equals_scikit_learns_over_the_known(target):
    output = torch.randn(6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y = torch.tensor([0, 2, -1, 1, -1, 0])
    proba = activation(target, output)[y >= 0]
    expected = log_loss(y[y >= 0], proba / proba.sum(dim=1, keepdim=True), labels=[0, 1, 2])
    assert target_loss(target, output, y).item() == pytest.approx(expected)


def test_loss_of_findings_leaves_out_what_is_unknown():
    output = torch.randn(5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y = torch.tensor([[0, 1, math.nan], [1, math.nan, math.nan], [math.nan] * 3, [0, 0, 1], [1, 1, 0]])
    terms = [
        -math.log(p if e else 1 - p)
        for row, expected in zip((1 / (1 + np.exp(-output.numpy()))).tolist(), y.tolist(), strict=True)
        for p, e in zip(row, expected, strict=True)
        if not math.isnan(e)
    ]
    output.requires_grad_()
    found = target_loss(Findings(("a", "b", "c")), output, y.double())
    assert found.item() == pytest.approx(sum(terms) / len(terms))
    found.backward()
    assert torch.equal(output.grad == 0, y.isnan())
    assert torch.equal(activation(Findings(("a",)), output), output.sigmoid())


def test_loss_of_a_quantity_is_the_squared_error_of_the_known():
    output = torch.tensor([[1.0], [2.0], [5.0]])
    target = Quantity("years")
    assert target_loss(target, output, torch.tensor([3.0, math.nan, 4.0])).item() == pytest.approx((4 + 1) / 2)
    assert torch.equal(activation(target, output), output)


@pytest.mark.parametrize(
    ("target", "y"),
    [
        (CLASSES[0], torch.full((4,), -1)),
        (Findings(("a", "b", "c")), torch.full((4, 3), math.nan)),
        (Quantity("years"), torch.full((4,), math.nan)),
    ],
    ids=["classes", "findings", "quantity"],
)
def test_a_batch_of_which_nothing_is_known_has_loss_and_gradient_of_zero(target, y):
    output = torch.randn(4, target.outputs, generator=torch.Generator().manual_seed(0)).requires_grad_()
    found = target_loss(target, output, y)
    found.backward()
    assert found.item() == 0
    assert torch.equal(output.grad, torch.zeros_like(output))


def test_balanced_weights_are_scikit_learns_and_leave_the_unknown_out() -> None:
    y = torch.tensor([0] * 9 + [1] * 3 + [3] * 2)
    assert balanced_weights(y).numpy() == pytest.approx(compute_sample_weight("balanced", y.numpy()))
    assert balanced_weights(torch.cat([y, torch.tensor([-1])]))[-1] == 0
    findings = torch.tensor([[1.0, math.nan], [0, 1], [0, 0], [0, 0], [math.nan, 0]])
    found = balanced_weights(findings).numpy()
    assert found[:4, 0] == pytest.approx(compute_sample_weight("balanced", [1, 0, 0, 0]))
    assert found[1:, 1] == pytest.approx(compute_sample_weight("balanced", [1, 0, 0, 0]))
    assert (found[4, 0], found[0, 1]) == (0, 0)
    assert balanced_chances(findings).numpy() == pytest.approx(found.max(axis=1))


def test_balanced_batches_have_equal_classes_and_are_drawn_by_the_seed() -> None:
    y = torch.tensor([0] * 900 + [1] * 100)
    drawn = [torch.cat([*batches(1000, 50, torch.Generator().manual_seed(s), balanced_chances(y))]) for s in (0, 0, 1)]
    assert len(drawn[0]) == 1000
    assert y[drawn[0]].float().mean() == pytest.approx(0.5, abs=0.06)
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_weighted_losses_equal_a_loop() -> None:
    output = torch.randn(6, 2, generator=torch.Generator().manual_seed(0))
    y = torch.tensor([0, 1, -1, 1, 1, 0])
    weights = balanced_weights(y)
    each = -output.log_softmax(1)
    expected = sum(float(weights[i] * each[i, y[i]]) for i in range(6) if y[i] >= 0) / 5
    assert float(target_loss(Classes(("a", "b")), output, y, weights)) == pytest.approx(expected)
    findings = torch.tensor([[1.0, math.nan], [0, 1], [0, 0], [0, 0], [math.nan, 0], [0, 1]])
    weights = balanced_weights(findings)
    total, known = 0.0, 0
    for i in range(6):
        for k in range(2):
            if not math.isnan(findings[i, k]):
                p = 1 / (1 + math.exp(-float(output[i, k])))
                total -= float(weights[i, k]) * math.log(p if findings[i, k] else 1 - p)
                known += 1
    assert float(target_loss(Findings(("a", "b")), output, findings, weights)) == pytest.approx(total / known, rel=1e-5)
