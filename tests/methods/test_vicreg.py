from __future__ import annotations

import numpy as np
import pytest
import torch

from medssl_methods.vicreg import VICReg


def loop(z0, z1, invariance, variance, covariance):
    """Equation 6 of VICReg with the code's half variance term, in float64 and entry by entry."""
    views = [np.asarray(z.detach(), dtype=np.float64) for z in (z0, z1)]
    (n, d), total = views[0].shape, 0.0
    for z in views:
        centred = z - z.mean(axis=0)
        for a in range(d):
            total += variance * max(0, 1 - np.sqrt((centred[:, a] ** 2).sum() / (n - 1) + 1e-4)) / (2 * d)
            for b in range(d):
                if a != b:
                    total += covariance * ((centred[:, a] * centred[:, b]).sum() / (n - 1)) ** 2 / d
    return total + invariance * ((views[0] - views[1]) ** 2).sum() / (n * d)


def without_expander(checks, **options):
    """The method's loss as a function of the embeddings themselves."""
    rig = checks.build(VICReg, **options)
    rig.method.expander = torch.nn.Identity()
    return lambda z0, z1: rig.method.loss(checks.batch(), lambda views: (z0, z1))


@pytest.mark.parametrize("weights", [(25.0, 25.0, 1.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)])
@pytest.mark.parametrize(("n", "d"), [(2, 3), (5, 2), (17, 8)])
def test_loss_equals_the_float64_loop_term_by_term(checks, embeddings, n, d, weights):
    z0, z1 = (0.6 * z for z in embeddings(n, d, seed=n))  # deviations on both sides of the hinge
    names = ("invariance", "variance", "covariance")
    loss = without_expander(checks, **dict(zip(names, weights, strict=True)))(z0, z1).item()
    assert loss == pytest.approx(loop(z0, z1, *weights), rel=1e-5, abs=1e-6)


@pytest.mark.parametrize(("n", "d"), [(16, 64), (64, 16)])
def test_loss_and_gradient_equal_lightlys(checks, embeddings, n, d):
    from lightly.loss.vicreg_loss import VICRegLoss

    gradients = []
    for loss in (without_expander(checks), VICRegLoss()):
        z0, z1 = (z.requires_grad_() for z in embeddings(n, d))
        value = loss(z0, z1)
        value.backward()
        gradients.append((value.detach(), z0.grad, z1.grad))
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


def test_two_opposite_samples_of_one_view_against_zero_have_hand_values(checks):
    z0, z1 = torch.tensor([[1.0, 1.0], [-1.0, -1.0]]), torch.zeros(2, 2)
    # invariance 1; deviations of the views sqrt(2) and 0 (+ 1e-4); covariance 2 in both entries off the diagonal
    expected = 25 * 1 + 25 * 0.5 * (1 - 0.01) + 1 * (2**2 + 2**2) / 2
    assert without_expander(checks)(z0, z1).item() == pytest.approx(expected, rel=1e-6)


def test_collapsed_embeddings_cost_the_variance_weight(checks):
    z = torch.full((8, 4), 3.0)
    assert without_expander(checks)(z, z).item() == pytest.approx(25 * 0.99)


def test_gradient_agrees_with_finite_differences(checks, embeddings):
    z0, z1 = (z.double().requires_grad_() for z in embeddings(5, 3))
    assert torch.autograd.gradcheck(without_expander(checks), (z0, z1))


def test_swapping_the_views_or_reordering_the_samples_changes_nothing(checks, embeddings):
    loss, (z0, z1) = without_expander(checks), embeddings(9)
    order = torch.randperm(9, generator=torch.Generator().manual_seed(1))
    assert loss(z1, z0).item() == pytest.approx(loss(z0, z1).item(), rel=1e-5)
    assert loss(z0[order], z1[order]).item() == pytest.approx(loss(z0, z1).item(), rel=1e-5)


def test_embeddings_at_the_end_of_half_precision_give_a_finite_loss(checks, embeddings):
    z0, z1 = (6e4 * z.clamp(-1, 1) for z in embeddings(64, 2048))
    z0.requires_grad_()
    loss = without_expander(checks)(z0, z1)
    loss.backward()
    assert loss.isfinite()
    assert z0.grad.isfinite().all()


def test_features_at_the_end_of_half_precision_give_a_finite_loss(checks):
    rig = checks.build(VICReg)
    loss = rig.method.loss(checks.batch(), lambda views: tuple(6e4 * f for f in rig.encode(views)))
    loss.backward()
    assert loss.isfinite()
    assert all(weight.grad.isfinite().all() for weight in rig.encoder.parameters())


def test_method_applies_the_loss_to_the_expanders_embeddings_with_its_weights(checks):
    weights = {"invariance": 3.0, "variance": 5.0, "covariance": 2.0}
    rig, batch = checks.build(VICReg, hidden_dim=16, output_dim=6, **weights), checks.batch()
    z0, z1 = (rig.method.expander(features) for features in rig.encode(batch.views))
    assert rig.loss(batch).item() == pytest.approx(loop(z0, z1, **weights), rel=1e-5)


@pytest.mark.parametrize("feature_dim", [32, 512])
def test_expander_is_four_times_as_wide_as_the_encoder_unless_told_otherwise(checks, feature_dim):
    def shapes(**options):
        method = VICReg(VICReg.Config(**options), torch.nn.Identity(), checks.task(feature_dim))
        return [tuple(x.weight.shape) for x in method.expander.layers if isinstance(x, torch.nn.Linear)]

    wide = 4 * feature_dim
    assert shapes() == [(wide, feature_dim), (wide, wide), (wide, wide)]
    assert shapes(hidden_dim=16) == [(16, feature_dim), (16, 16), (16, 16)]
    assert shapes(hidden_dim=16, output_dim=8, layers=2) == [(16, feature_dim), (8, 16)]


def test_smallest_batch_gives_a_finite_loss(checks):
    assert checks.build(VICReg).loss(checks.batch(2)).isfinite()


def test_expander_takes_its_statistics_from_each_view_alone(checks):
    checks.statistics_are_of_each_view_alone(VICReg)
