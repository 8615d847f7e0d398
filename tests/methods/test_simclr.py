from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from medssl_methods.simclr import SimCLR


def loop(z0, z1, temperature):
    """Equation 1 of SimCLR, anchor by anchor in float64: the positive counts in the denominator."""
    z = np.concatenate([np.asarray(z0, dtype=np.float64), np.asarray(z1, dtype=np.float64)])
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    n, total = len(z0), 0.0
    for i in range(2 * n):
        exponents = {j: z[i] @ z[j] / temperature for j in range(2 * n) if j != i}
        largest = max(exponents.values())
        total += largest + math.log(sum(math.exp(s - largest) for s in exponents.values()))
        total -= exponents[(i + n) % (2 * n)]
    return total / (2 * n)


def without_head(checks, temperature):
    """The method's loss as a function of the embeddings themselves."""
    rig = checks.build(SimCLR, temperature=temperature)
    rig.method.head = torch.nn.Identity()
    return lambda z0, z1: rig.method.loss(checks.batch(), lambda views: (z0, z1))


@pytest.mark.parametrize("temperature", [0.05, 0.5, 2.0])
@pytest.mark.parametrize(("n", "d"), [(2, 5), (3, 2), (17, 8), (64, 128)])
def test_loss_equals_the_float64_loop(checks, embeddings, n, d, temperature):
    z0, z1 = embeddings(n, d, seed=n)
    loss = without_head(checks, temperature)(z0, z1).item()
    assert loss == pytest.approx(loop(z0, z1, temperature), rel=1e-6, abs=5e-6)


def test_two_samples_that_agree_and_are_orthogonal_have_one_positive_against_two_negatives(checks):
    z = torch.eye(2)
    assert without_head(checks, 0.5)(z, z).item() == pytest.approx(math.log(1 + 2 * math.exp(-1 / 0.5)))


def test_collapsed_embeddings_give_the_logarithm_of_the_number_of_other_views(checks):
    z = torch.ones(8, 4)
    assert without_head(checks, 0.5)(z, z).item() == pytest.approx(math.log(15), abs=1e-5)


def test_gradient_agrees_with_finite_differences(checks, embeddings):
    z0, z1 = (z.double().requires_grad_() for z in embeddings(4, 3))
    assert torch.autograd.gradcheck(without_head(checks, 0.5), (z0, z1))


def test_swapping_the_views_or_reordering_the_samples_changes_nothing(checks, embeddings):
    loss, (z0, z1) = without_head(checks, 0.5), embeddings(9)
    order = torch.randperm(9, generator=torch.Generator().manual_seed(1))
    assert loss(z1, z0).item() == pytest.approx(loss(z0, z1).item(), abs=1e-5)
    assert loss(z0[order], z1[order]).item() == pytest.approx(loss(z0, z1).item(), abs=1e-5)


@pytest.mark.parametrize("scale", [1e-6, 1e3, 1e15])
def test_the_length_of_an_embedding_changes_nothing(checks, embeddings, scale):
    loss, (z0, z1) = without_head(checks, 0.5), embeddings(9)
    lengths = scale * torch.arange(1, 10).unsqueeze(1)
    assert loss(z0 * lengths, z1).item() == pytest.approx(loss(z0, z1).item(), abs=1e-5)


@pytest.mark.parametrize("temperature", [1e-3, 1e3])
def test_extreme_temperatures_give_finite_losses_and_gradients(checks, embeddings, temperature):
    z0, z1 = (z.requires_grad_() for z in embeddings(9))
    loss = without_head(checks, temperature)(z0, z1)
    loss.backward()
    assert loss.item() == pytest.approx(loop(z0.detach(), z1.detach(), temperature), rel=1e-5)
    assert z0.grad.isfinite().all()


def test_method_applies_the_loss_to_the_heads_embeddings_at_its_temperature(checks):
    rig, batch = checks.build(SimCLR, temperature=0.3), checks.batch()
    z0, z1 = (rig.method.head(features).detach() for features in rig.encode(batch.views))
    assert rig.loss(batch).item() == pytest.approx(loop(z0, z1, 0.3), abs=1e-5)


def test_head_is_as_wide_as_the_encoder_unless_told_otherwise(checks):
    checks.head_is_as_wide_as_the_encoder(SimCLR)


def test_smallest_batch_gives_a_finite_loss(checks):
    assert checks.build(SimCLR).loss(checks.batch(2)).isfinite()


def test_head_takes_its_statistics_from_each_view_alone(checks):
    checks.statistics_are_of_each_view_alone(SimCLR)
