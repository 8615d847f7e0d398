from __future__ import annotations

import numpy as np
import pytest
import torch

from medssl_methods.frossl import FroSSL, frossl_loss


def loop(z, invariance):
    """In float64 and entry by entry: the covariance's squared norm, and the distances to the views' mean."""
    z = np.asarray(z.detach(), dtype=np.float64)
    views, n, d = z.shape
    z = z / np.linalg.norm(z, axis=1, keepdims=True)
    total = 0.0
    for view in z:
        covariance = [[view[:, a] @ view[:, b] for b in range(d)] for a in range(d)]
        trace = sum(covariance[a][a] for a in range(d))
        total += np.log(sum((entry / trace) ** 2 for row in covariance for entry in row))
        total += invariance * views * sum(((view[i] - z[:, i].mean(axis=0)) ** 2).sum() for i in range(n)) / n
    return total


@pytest.mark.parametrize("invariance", [0.0, 1.0, 3.0])
@pytest.mark.parametrize(("views", "n", "d"), [(2, 2, 3), (2, 7, 4), (4, 5, 9)])
def test_loss_equals_the_float64_loop(embeddings, views, n, d, invariance):
    z = torch.stack([*embeddings(n, d, seed=n), *embeddings(n, d, seed=n + 1)][:views])
    assert frossl_loss(z, invariance).item() == pytest.approx(loop(z, invariance), rel=1e-5, abs=1e-5)


@pytest.mark.parametrize(("n", "d"), [(8, 20), (20, 8)])
def test_loss_and_gradient_equal_lightlys(embeddings, n, d):
    theirs = pytest.importorskip("lightly.loss.frossl_loss").FroSSLLoss(invariance_weight=2.0)
    z = torch.stack(embeddings(n, d)).requires_grad_()
    ours = frossl_loss(z, 2.0)
    expected = theirs(list(z))
    torch.testing.assert_close(ours, expected)
    torch.testing.assert_close(torch.autograd.grad(ours, z)[0], torch.autograd.grad(expected, z)[0])


def test_two_equal_orthonormal_views_reach_the_smallest_value():
    z = torch.eye(4)[None].repeat(2, 1, 1)
    assert frossl_loss(z, 1.0).item() == pytest.approx(2 * np.log(1 / 4))


def test_embeddings_in_one_direction_reach_the_largest_value_of_equal_views():
    z = torch.tensor([[1.0], [2.0], [-1.0]]) * torch.ones(1, 5)
    assert frossl_loss(torch.stack([z, z]), 1.0).item() == pytest.approx(0, abs=1e-6)


def test_gradient_agrees_with_finite_differences(embeddings):
    z = torch.stack(embeddings(5, 3)).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda z: frossl_loss(z, 1.0), z)


def test_scale_of_a_dimension_and_order_of_views_and_samples_change_nothing(embeddings):
    z = torch.stack(embeddings(6, 4))
    expected = frossl_loss(z, 1.0).item()
    for other in (z * torch.tensor([1.0, 10.0, 0.1, 3.0]), z.flip(0), z.flip(1)):
        assert frossl_loss(other, 1.0).item() == pytest.approx(expected, rel=1e-5)


def test_a_dead_dimension_gives_finite_gradients(embeddings):
    z = torch.stack(embeddings(6, 4))
    z[..., 2] = 0
    z.requires_grad_()
    loss = frossl_loss(z, 1.0)
    loss.backward()
    assert loss.isfinite()
    assert z.grad.isfinite().all()


def test_method_applies_the_loss_to_the_embeddings_of_all_views(checks):
    rig = checks.build(FroSSL, view_count=3, invariance=2.0)
    batch = rig.batch()
    z = torch.stack([rig.method.head(features) for features in rig.encode(batch.views)])
    assert len(batch.views) == 3
    assert rig.loss(batch).item() == pytest.approx(loop(z, 2.0), rel=1e-4)


@pytest.mark.parametrize("feature_dim", [32, 512])
def test_head_scales_with_the_encoder(checks, feature_dim):
    method = FroSSL(FroSSL.Config(), torch.nn.Identity(), checks.task(feature_dim))
    wide = 4 * feature_dim
    shapes = [tuple(x.weight.shape) for x in method.head.layers if isinstance(x, torch.nn.Linear)]
    assert shapes == [(wide, feature_dim), (wide, wide), (2 * feature_dim, wide)]


def test_smallest_batch_gives_a_finite_loss(checks):
    rig = checks.build(FroSSL)
    assert rig.loss(rig.batch(2)).isfinite()


def test_head_takes_its_statistics_from_each_view_alone(checks):
    checks.statistics_are_of_each_view_alone(FroSSL)
