"""Optimizers against updates by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from medssl.recipe.settings import TrainSettings
from medssl.train.loop.optim import build_optimizer, peak_learning_rate


@pytest.fixture
def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2)).double()


def settings(**values):
    return TrainSettings(**{"learning_rate": 0.1, "weight_decay": 0.01, **values})


def step_twice(network, options):
    """Two updates with fixed gradients; returns parameters before, after, and the gradients."""
    before = [p.detach().clone() for p in network.parameters()]
    gradients = [torch.linspace(-1, 2, p.numel(), dtype=p.dtype).view_as(p) for p in network.parameters()]
    optimizer = build_optimizer([network], options)
    for _ in range(2):
        for p, g in zip(network.parameters(), gradients, strict=True):
            p.grad = g.clone()
        optimizer.step()
    return before, list(network.parameters()), gradients


def test_sgd_takes_the_textbook_step(network):
    before, after, gradients = step_twice(network, settings(momentum=0.5))
    for p0, p2, g in zip(before, after, gradients, strict=True):
        decay = 0.01 if p0.ndim > 1 else 0.0
        v1 = g + decay * p0
        p1 = p0 - 0.1 * v1
        v2 = 0.5 * v1 + g + decay * p1
        torch.testing.assert_close(p2.detach(), p1 - 0.1 * v2, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["sgd", "adamw", "lars"])
def test_a_parameter_that_is_thawed_later_is_trained_from_then_on(network, name):
    """As DINO's last layer is after its first epoch."""
    optimizer = build_optimizer([network], settings(optimizer=name, momentum=0.5))
    start = network[3].weight.detach().clone()
    for thawed in (False, False, True, True):
        network[3].weight.requires_grad_(thawed)
        optimizer.zero_grad(set_to_none=True)
        network(
            torch.ones(2, 3, 3, 3, dtype=torch.float64) * torch.tensor([1.0, 2.0]).view(2, 1, 1, 1)
        ).sum().backward()
        optimizer.step()
        assert torch.equal(network[3].weight, start) is not thawed


def test_adamw_takes_the_textbook_step(network):
    before, after, gradients = step_twice(network, settings(optimizer="adamw"))
    for p0, p2, g in zip(before, after, gradients, strict=True):
        decay = 0.01 if p0.ndim > 1 else 0.0
        p = p0
        for _ in range(2):  # constant gradients: both corrected moments are g and g squared
            p = p * (1 - 0.1 * decay) - 0.1 * g / (g.abs() + 1e-8)
        torch.testing.assert_close(p2.detach(), p, rtol=1e-9, atol=1e-9)


def test_lars_scales_decayed_parameters_only(network):
    before, after, gradients = step_twice(network, settings(optimizer="lars", momentum=0.5))
    for p0, p2, g in zip(before, after, gradients, strict=True):
        p, v = p0, torch.zeros_like(p0)
        for _ in range(2):
            update = g
            if p0.ndim > 1:
                trust = 0.001 * p.norm() / (g.norm() + 0.01 * p.norm() + 1e-8)
                update = trust * (g + 0.01 * p)
            v = 0.5 * v + update
            p = p - 0.1 * v
        torch.testing.assert_close(p2.detach(), p, rtol=1e-9, atol=1e-12)


def test_peak_learning_rate_follows_the_batch_unless_it_is_set():
    assert peak_learning_rate(TrainSettings(batch_size=64, base_learning_rate=0.2)) == pytest.approx(0.05)
    assert peak_learning_rate(TrainSettings(batch_size=64, learning_rate=0.3)) == 0.3
