"""The stacked two-layer probes against separate training with torch.nn."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Generator, Tensor, nn

from medssl.contracts import Classes, Evaluator, Features, Quantity
from medssl.errors import DataError
from medssl_evaluators._stacked import StackedHeads, train_heads
from medssl_evaluators.mlp import MLP

Blobs = Callable[..., Features]
HIDDEN, CLASSES = 12, 3


def fit(train: Features, val: Features, seed: int = 0, **options: object) -> object:
    options = {"hidden": 32, "epochs": 10, "batch_size": 16} | options
    return MLP(MLP.Config(**options), seed).fit(train, val)


def separate(x: Tensor, label: Tensor, seed: int, rate: float, batch_size: int, epochs: int) -> nn.Sequential:
    """One probe by torch.nn and autograd, from the same initial weights and in the same order."""
    generator = Generator().manual_seed(seed)
    start = StackedHeads(x.shape[1], HIDDEN, CLASSES, [generator], x)
    probe = nn.Sequential(
        nn.Linear(x.shape[1], HIDDEN, bias=False), nn.BatchNorm1d(HIDDEN), nn.LeakyReLU(), nn.Linear(HIDDEN, CLASSES)
    ).to(x)
    with torch.no_grad():
        probe[0].weight.copy_(start.first[0].T)
        probe[3].weight.copy_(start.second[0])
        probe[3].bias.copy_(start.bias[0, 0])
    optimizer = torch.optim.Adam(probe.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 25, 0.5)
    for _ in range(epochs):
        order = torch.randperm(len(x), generator=generator)
        for rows in order.split(batch_size):
            if len(rows) < batch_size:
                continue
            optimizer.zero_grad()
            nn.functional.cross_entropy(probe(x[rows]), label[rows]).backward()
            optimizer.step()
        schedule.step()
    return probe.eval()


def test_heads_of_a_number_equal_training_with_the_squared_error(blobs: Blobs) -> None:
    train, test = blobs(50, 0), blobs(20, 1)
    x, middle, spread = train.x.double(), 40.0, 12.0
    y = train.x[:, 0].double() + train.x[:, 1].double().square()
    heads = train_heads(x, y, 1, hidden=HIDDEN, seeds=[3], learning_rates=[0.01], batch_size=16, epochs=27)
    generator = Generator().manual_seed(3)
    start = StackedHeads(x.shape[1], HIDDEN, 1, [generator], x)
    probe = nn.Sequential(
        nn.Linear(x.shape[1], HIDDEN, bias=False), nn.BatchNorm1d(HIDDEN), nn.LeakyReLU(), nn.Linear(HIDDEN, 1)
    ).to(x)
    with torch.no_grad():
        probe[0].weight.copy_(start.first[0].T)
        probe[3].weight.copy_(start.second[0])
        probe[3].bias.copy_(start.bias[0, 0])
    optimizer = torch.optim.Adam(probe.parameters(), lr=0.01)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 25, 0.5)
    for _ in range(27):
        for rows in torch.randperm(len(x), generator=generator).split(16)[:3]:
            optimizer.zero_grad()
            nn.functional.mse_loss(probe(x[rows])[:, 0], y[rows]).backward()
            optimizer.step()
        schedule.step()
    wanted = probe.eval()(test.x.double()).detach()
    torch.testing.assert_close(heads.predict_proba(test.x.double())[0], wanted, rtol=1e-7, atol=1e-7)
    unit = heads.in_unit(torch.tensor(middle), torch.tensor(spread))
    torch.testing.assert_close(unit.predict_proba(test.x.double())[0], wanted * spread + middle, rtol=1e-7, atol=1e-6)


@pytest.mark.parametrize("select_epoch", ["last", "best"])
def test_a_quantity_is_learned_in_its_unit(blobs: Blobs, select_epoch: str) -> None:
    def part(seed: int, n: int) -> Features:
        x = blobs(n, seed).x
        return Features(x=x, y=1000 + 50 * (x[:, 0] - x[:, 1]), target=Quantity("ml"))

    train, val, test = part(0, 120), part(1, 40), part(2, 40)
    predictor = fit(train, val, epochs=40, learning_rates=(0.005, 0.01), select_epoch=select_epoch)
    error = (predictor.predict(test.x)[:, 0] - test.y).square().mean() / test.y.var()
    assert error < 0.3
    again = MLP.restore(predictor.keep(), None)
    assert torch.equal(again.predict(test.x), predictor.predict(test.x))
    torch.testing.assert_close(predictor.module()(test.x), predictor.predict(test.x))


@pytest.mark.parametrize(("dtype", "epochs", "tolerance"), [(torch.float64, 27, 1e-7), (torch.float32, 3, 1e-4)])
def test_stacked_heads_equal_separate_training(blobs: Blobs, dtype: torch.dtype, epochs: int, tolerance: float) -> None:
    train, test = blobs(50, 0), blobs(20, 1)
    x = train.x.to(dtype)
    seeds, rates = [3, 4, 3], [0.005, 0.005, 0.1]
    heads = train_heads(
        x, train.y, CLASSES, hidden=HIDDEN, seeds=seeds, learning_rates=rates, batch_size=16, epochs=epochs
    )
    proba = heads.predict_proba(test.x.to(dtype))
    for s, (seed, rate) in enumerate(zip(seeds, rates, strict=True)):
        probe = separate(x, train.y, seed, rate, 16, epochs)
        torch.testing.assert_close(heads.running_mean[s, 0], probe[1].running_mean, atol=tolerance, rtol=tolerance)
        torch.testing.assert_close(heads.running_var[s, 0], probe[1].running_var, atol=tolerance, rtol=tolerance)
        expected = probe(test.x.to(dtype)).softmax(dim=1)
        torch.testing.assert_close(proba[s], expected, atol=tolerance, rtol=0)


def test_held_epochs_do_not_count_for_the_schedule(blobs: Blobs) -> None:
    train, x = blobs(50, 0), blobs(50, 0).x.double()
    options = {"hidden": HIDDEN, "seeds": [3], "learning_rates": [0.1], "batch_size": 16}
    probas = [
        train_heads(x, train.y, CLASSES, epochs=epochs, hold=hold, **options).predict_proba(x)
        for epochs, hold in ((26, 25), (26, 26), (26, 0), (51, 25), (51, 26))
    ]
    held = [torch.equal(probas[0], probas[1]), torch.equal(probas[0], probas[2]), torch.equal(probas[3], probas[4])]
    assert held == [True, False, False]  # the rate halves after 25 counted epochs: in epoch 26, or 51 with 25 held


def test_gradients_equal_autograd(blobs: Blobs) -> None:
    part = blobs(16, 0)
    x, target = part.x.double(), nn.functional.one_hot(part.y, CLASSES).double()
    heads = StackedHeads(16, HIDDEN, CLASSES, [Generator().manual_seed(s) for s in range(2)], x)
    heads.scale.mul_(1.5)
    heads.shift.add_(0.2)
    leaves = [parameter.clone().requires_grad_() for parameter in heads.parameters]
    first, scale, shift, second, bias = leaves
    loss = x.new_zeros(())
    for s in range(2):
        normal = nn.functional.batch_norm(x @ first[s], None, None, scale[s, 0], shift[s, 0], training=True)
        logits = nn.functional.leaky_relu(normal) @ second[s].T + bias[s, 0]
        loss = loss + nn.functional.cross_entropy(logits, part.y)
    loss.backward()
    heads.accumulate(x.expand(2, -1, -1), target.expand(2, -1, -1))
    for found, leaf in zip(heads.gradients, leaves, strict=True):
        torch.testing.assert_close(found, leaf.grad)


def test_initial_weights_are_distributed_as_those_of_torch() -> None:
    heads = StackedHeads(64, 256, 5, [Generator().manual_seed(0)], torch.empty(0))
    for weight, fan_in in ((heads.first, 64), (heads.second, 256), (heads.bias, 256)):
        bound = fan_in**-0.5
        assert weight.abs().max() <= bound
    assert heads.first.std().item() == pytest.approx(nn.Linear(64, 256).weight.std().item(), rel=0.02)


def test_shares_the_contract_of_all_evaluators(shared_contract: Callable[[Evaluator, Evaluator], None]) -> None:
    config = MLP.Config(hidden=32, epochs=10, batch_size=16, seeds=2)
    shared_contract(MLP(config, 3), MLP(config, 3))


def test_another_seed_gives_another_probe(blobs: Blobs) -> None:
    train, val = blobs(60, 0), blobs(30, 1)
    assert not torch.equal(*(fit(train, val, seed).predict(val.x) for seed in (0, 1)))


def test_separates_what_no_linear_probe_can() -> None:
    generator = Generator().manual_seed(0)

    def exclusive_or(n: int) -> Features:
        x = torch.randn(n, 2, generator=generator)
        return Features(x=x, y=(x[:, 0] * x[:, 1] > 0).long(), target=Classes(("a", "b")))

    train, val, test = exclusive_or(300), exclusive_or(60), exclusive_or(200)
    predictor = fit(train, val, epochs=30)
    assert (predictor.predict(test.x).argmax(dim=1) == test.y).float().mean() > 0.9


def test_learning_rate_is_chosen_on_validation(blobs: Blobs) -> None:
    train, val = blobs(60, 0, classes=2), blobs(30, 1, classes=2)
    turned = Features(x=val.x, y=1 - val.y, target=val.target)
    options = {"learning_rates": (1e-9, 0.01)}
    assert fit(train, val, **options).selected["learning_rate"] == 0.01
    assert fit(train, turned, **options).selected["learning_rate"] == 1e-9  # untrained beats all wrong


def test_learning_rate_is_chosen_by_the_mean_over_seeds(blobs: Blobs) -> None:
    train, val = blobs(40, 0, distance=1), blobs(40, 1, distance=1)
    options = {"learning_rates": (1e-4, 0.1), "epochs": 3}

    def reached(rate: float, seed: int) -> float:
        selected = fit(train, val, seeds=seed, **(options | {"learning_rates": (rate,)}))
        last = selected.also[f"seed{seed}"] if seed > 1 else selected
        return last.selected["val_log_loss"]

    means = {rate: sum(reached(rate, seed) for seed in (1, 2, 3)) / 3 for rate in (1e-4, 0.1)}
    predictor = fit(train, val, seeds=3, **options)
    assert list(predictor.also) == ["seed2", "seed3"]
    assert predictor.selected["learning_rate"] == min(means, key=means.__getitem__)
    assert means[1e-4] != means[0.1]


def test_best_epoch_is_the_best_of_all_last_epochs(blobs: Blobs) -> None:
    train, val = blobs(40, 0, distance=1), blobs(40, 1, distance=1)
    options = {"learning_rates": (0.01,)}
    by_epoch = [fit(train, val, epochs=e, **options) for e in range(1, 9)]
    reached = [predictor.selected["val_log_loss"] for predictor in by_epoch]
    best = fit(train, val, epochs=8, select_epoch="best", **options)
    assert best.selected["val_log_loss"] == pytest.approx(min(reached), rel=1e-5)
    assert min(reached) < reached[-1]
    torch.testing.assert_close(best.predict(val.x), by_epoch[reached.index(min(reached))].predict(val.x))


def test_among_equal_epochs_the_earlier_is_the_best(blobs: Blobs) -> None:
    train, val = (blobs(40, seed, distance=20) for seed in range(2))
    options = {"learning_rates": (0.01,), "choose_by": "balanced_accuracy"}
    by_epoch = [fit(train, val, epochs=e, **options) for e in range(1, 11)]
    reached = [predictor.selected["val_balanced_accuracy"] for predictor in by_epoch]
    assert reached.count(1) > 1
    best = fit(train, val, select_epoch="best", **options)
    torch.testing.assert_close(best.predict(val.x), by_epoch[reached.index(1)].predict(val.x))


def test_batch_larger_than_the_training_part_is_one_batch(blobs: Blobs) -> None:
    train, val = blobs(10, 0), blobs(9, 1)
    large, exact = (fit(train, val, batch_size=size) for size in (64, 10))
    assert large.selected["batch_size"] == 10
    assert torch.equal(large.predict(val.x), exact.predict(val.x))


def test_class_without_a_training_sample_is_hardly_predicted(blobs: Blobs) -> None:
    proba = fit(blobs(60, 0, present=2), blobs(30, 1), epochs=20).predict(blobs(20, 2, present=2).x)
    assert proba.shape == (20, 3)
    assert (proba[:, 2] < 0.1).all()


def test_single_class_is_predicted_and_said(blobs: Blobs) -> None:
    predictor = fit(blobs(10, 0, present=1), blobs(9, 1))
    assert (predictor.predict(blobs(5, 2).x) == torch.tensor([1.0, 0.0, 0.0])).all()
    assert "only one class (number 0)" in predictor.notes[0]


def test_two_samples_are_enough(blobs: Blobs) -> None:
    proba = fit(blobs(2, 0), blobs(9, 1)).predict(blobs(5, 2).x)
    torch.testing.assert_close(proba.sum(dim=1), torch.ones(5))


@pytest.mark.parametrize("options", [{"learning_rates": (0.01, 0.1)}, {"select_epoch": "best"}])
def test_a_choice_needs_validation(blobs: Blobs, options: dict[str, object]) -> None:
    single = {"learning_rates": (0.01,), "epochs": 2}
    assert fit(blobs(30, 0), blobs(0, 1), **single).selected == {"learning_rate": 0.01, "batch_size": 16}
    with pytest.raises(DataError, match="validation part is empty"):
        fit(blobs(30, 0), blobs(0, 1), **(single | options))


def test_weighted_gradients_equal_autograd(blobs: Blobs) -> None:
    part = blobs(16, 0)
    x, target = part.x.double(), nn.functional.one_hot(part.y, CLASSES).double()
    weights = torch.rand(16, 1, generator=Generator().manual_seed(0)).double() + 0.5
    heads = StackedHeads(16, HIDDEN, CLASSES, [Generator().manual_seed(0)], x)
    leaves = [parameter.clone().requires_grad_() for parameter in heads.parameters]
    first, scale, shift, second, bias = leaves
    normal = nn.functional.batch_norm(x @ first[0], None, None, scale[0, 0], shift[0, 0], training=True)
    logits = nn.functional.leaky_relu(normal) @ second[0].T + bias[0, 0]
    (nn.functional.cross_entropy(logits, part.y, reduction="none") * weights[:, 0]).mean().backward()
    heads.accumulate(x[None], target[None], weights[None])
    for found, leaf in zip(heads.gradients, leaves, strict=True):
        torch.testing.assert_close(found, leaf.grad)


@pytest.mark.parametrize("options", [{"class_weight": "balanced"}, {"sampling": "balanced"}])
def test_a_rare_class_is_found_more_often_when_balanced(blobs: Blobs, options: dict[str, object]) -> None:
    part, val = blobs(300, 0), blobs(120, 1)
    noisy = Features(
        x=part.x + 3 * torch.randn(part.x.shape, generator=Generator().manual_seed(0)), y=part.y, target=part.target
    )
    kept = torch.cat([torch.nonzero(part.y == 0).flatten()[:20], torch.nonzero(part.y != 0).flatten()])
    rare = Features(x=noisy.x[kept], y=part.y[kept], target=part.target)
    few = {"learning_rates": (0.01,), "epochs": 5}
    plain, balanced = (fit(rare, val, **few, **more).predict(val.x)[:, 0].mean() for more in ({}, options))
    assert balanced > plain + 0.03
