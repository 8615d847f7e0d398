from __future__ import annotations

import numpy as np
import pytest
import torch

from medssl_methods.barlowtwins import BarlowTwins


def loop(z0, z1, redundancy):
    """Equations 1 and 2 of Barlow Twins in float64, entry by entry; deviations over N, as batch normalisation has."""
    views = [np.asarray(z.detach(), dtype=np.float64) for z in (z0, z1)]
    a, b = ((z - z.mean(axis=0)) / np.sqrt(z.var(axis=0) + 1e-5) for z in views)
    (n, d), total = a.shape, 0.0
    for i in range(d):
        for j in range(d):
            correlation = (a[:, i] * b[:, j]).sum() / n
            total += (1 - correlation) ** 2 if i == j else redundancy * correlation**2
    return total


def without_projector(checks, **options):
    """The method's loss as a function of the embeddings themselves."""
    rig = checks.build(BarlowTwins, **options)
    rig.method.projector = torch.nn.Identity()
    return lambda z0, z1: rig.method.loss(checks.batch(), lambda views: (z0, z1))


@pytest.mark.parametrize("redundancy", [0.0, 5e-3, 1.0])
@pytest.mark.parametrize(("n", "d"), [(2, 3), (5, 2), (17, 8)])
def test_loss_equals_the_float64_loop(checks, embeddings, n, d, redundancy):
    z0, z1 = embeddings(n, d, seed=n)
    loss = without_projector(checks, redundancy=redundancy)(z0, z1).item()
    assert loss == pytest.approx(loop(z0, z1, redundancy), rel=1e-5, abs=1e-5)


def test_two_uncorrelated_dimensions_have_hand_values(checks):
    z = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    loss = without_projector(checks)
    assert loss(z, z).item() == pytest.approx(0, abs=1e-6)
    assert loss(z, -z).item() == pytest.approx(2 * 2**2, rel=1e-4)
    assert loss(z, z.flip(1)).item() == pytest.approx(2 * 1 + 2 * 5e-3, rel=1e-4)


def test_gradient_agrees_with_finite_differences(checks, embeddings):
    z0, z1 = (z.double().requires_grad_() for z in embeddings(5, 3))
    assert torch.autograd.gradcheck(without_projector(checks), (z0, z1))


def test_swapping_the_views_or_reordering_the_samples_changes_nothing(checks, embeddings):
    loss, (z0, z1) = without_projector(checks), embeddings(9)
    order = torch.randperm(9, generator=torch.Generator().manual_seed(1))
    assert loss(z1, z0).item() == pytest.approx(loss(z0, z1).item(), rel=1e-5)
    assert loss(z0[order], z1[order]).item() == pytest.approx(loss(z0, z1).item(), rel=1e-5)


def test_scale_and_shift_of_a_dimension_change_nothing(checks, embeddings):
    loss, (z0, z1) = without_projector(checks), embeddings(9)
    scale = torch.tensor([0.5, 1, 3, 10, 100])
    assert loss(z0 * scale + 2, z1).item() == pytest.approx(loss(z0, z1).item(), rel=1e-3)


def test_collapsed_embeddings_cost_one_per_dimension_and_give_finite_gradients(checks):
    z = torch.full((8, 4), 3.0, requires_grad=True)
    loss = without_projector(checks)(z, z)
    loss.backward()
    assert loss.item() == pytest.approx(4)
    assert z.grad.isfinite().all()


def test_method_applies_the_loss_to_the_projectors_embeddings(checks):
    rig, batch = checks.build(BarlowTwins, hidden_dim=16, output_dim=6, redundancy=0.1), checks.batch()
    z0, z1 = (rig.method.projector(features) for features in rig.encode(batch.views))
    assert rig.loss(batch).item() == pytest.approx(loop(z0, z1, 0.1), rel=1e-4)


@pytest.mark.parametrize("feature_dim", [32, 512])
def test_projector_is_four_times_as_wide_as_the_encoder_unless_told_otherwise(checks, feature_dim):
    def shapes(**options):
        method = BarlowTwins(BarlowTwins.Config(**options), torch.nn.Identity(), checks.task(feature_dim))
        return [tuple(x.weight.shape) for x in method.projector.layers if isinstance(x, torch.nn.Linear)]

    wide = 4 * feature_dim
    assert shapes() == [(wide, feature_dim), (wide, wide), (wide, wide)]
    assert shapes(hidden_dim=16, output_dim=8) == [(16, feature_dim), (16, 16), (8, 16)]


def test_smallest_batch_gives_a_finite_loss(checks):
    assert checks.build(BarlowTwins).loss(checks.batch(2)).isfinite()


def test_projector_takes_its_statistics_from_each_view_alone(checks):
    checks.statistics_are_of_each_view_alone(BarlowTwins)
