from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest
import torch

from medssl_methods.lejepa import prediction_loss, random_directions
from medssl_methods.visreg import VISReg, center_loss, scale_loss, shape_loss


def views_of(embeddings, n, d, count):
    return torch.stack([*embeddings(n, d, seed=n), *embeddings(n, d, seed=n + 1)][:count])


def directions_of(d, count=6):
    return random_directions(d, count, torch.Generator().manual_seed(0), torch.zeros(0))


def loops(z, directions):
    """Scale, shape and centre in float64, view by view, dimension by dimension, direction by direction."""
    z, directions = z.detach().double().numpy(), directions.double().numpy()
    _, n, d = z.shape
    scale, shape, center = [], [], []
    for view in z:
        mean = [sum(view[:, j]) / n for j in range(d)]
        deviation = [np.sqrt(sum((view[:, j] - mean[j]) ** 2) / n) for j in range(d)]
        scale += [(1 - deviation[j]) ** 2 for j in range(d)]
        center += [mean[j] ** 2 for j in range(d)]
        for direction in directions.T:
            line = sorted(
                sum((view[i, j] - mean[j]) / (deviation[j] + 1e-4) * direction[j] for j in range(d)) for i in range(n)
            )
            shape += [(line[i] - NormalDist().inv_cdf((i + 1) / (n + 1))) ** 2 for i in range(n)]
    return np.mean(scale), np.mean(shape), np.mean(center)


@pytest.mark.parametrize(("views", "n", "d"), [(2, 2, 3), (2, 9, 4), (4, 5, 7)])
def test_terms_equal_the_float64_loops(embeddings, views, n, d):
    z, directions = views_of(embeddings, n, d, views), directions_of(d)
    found = scale_loss(z).item(), shape_loss(z, directions).item(), center_loss(z).item()
    assert found == pytest.approx(loops(z, directions), rel=1e-4)


@pytest.mark.parametrize("small_views", [0, 2])
def test_loss_and_gradient_equal_lightlys_on_the_same_directions(checks, embeddings, small_views):
    loss_class = pytest.importorskip("lightly.loss.visreg_loss").VISRegLoss
    z = views_of(embeddings, 8, 5, 4).requires_grad_()
    full = 4 - small_views
    weights = {"scale": 0.5, "shape": 2.0, "center": 0.25}
    rig = checks.build(VISReg, view_count=full, small_views=small_views, **weights)
    rig.method.head = torch.nn.Identity()
    ours = rig.method.loss(rig.batch(8), lambda views: tuple(z))
    theirs = loss_class(lambda_param=0.6, **{f"lambda_{name}": weight for name, weight in weights.items()})
    with torch.random.fork_rng():
        torch.manual_seed(0)  # as the batch's generator
        expected = theirs(global_proj=z[:full], local_proj=z[full:])
    torch.testing.assert_close(ours, expected)
    torch.testing.assert_close(torch.autograd.grad(ours, z)[0], torch.autograd.grad(expected, z)[0])


def test_hand_values_of_two_opposite_samples():
    z = torch.tensor([[[2.0], [-2.0]]])
    assert scale_loss(z).item() == pytest.approx(1)  # a deviation of 2
    assert center_loss(z).item() == 0
    quantile = NormalDist().inv_cdf(2 / 3)
    assert shape_loss(z, torch.ones(1, 1)).item() == pytest.approx((1 / (1 + 5e-5) - quantile) ** 2, rel=1e-4)


def test_shape_is_that_of_embeddings_of_any_scale_and_centre():
    z = torch.randn(1, 50, 3, generator=torch.Generator().manual_seed(0))
    loss = shape_loss(z, torch.eye(3)).item()
    assert shape_loss(z * torch.tensor([0.1, 1.0, 30.0]) - 5, torch.eye(3)).item() == pytest.approx(loss, rel=0.02)
    assert shape_loss(z.exp(), torch.eye(3)).item() > 3 * loss


@pytest.mark.parametrize("spread", [1e-2, 1e-4])
def test_gradient_of_the_scale_stays_when_embeddings_all_but_collapse(spread):
    z = (3 + spread * torch.randn(1, 16, 4, generator=torch.Generator().manual_seed(0))).requires_grad_()
    (gradient,) = torch.autograd.grad(scale_loss(z), z)
    # of each deviation -2 (1 - deviation) / D, shared by the samples in unit length over sqrt(N)
    assert gradient.norm().item() == pytest.approx(2 / np.sqrt(4 * 16), rel=0.02)


def test_exact_collapse_gives_finite_gradients():
    z = torch.ones(2, 8, 3, requires_grad=True)
    (scale_loss(z) + shape_loss(z, torch.eye(3)) + center_loss(z)).backward()
    assert z.grad.isfinite().all()


def test_method_weighs_prediction_and_regularisation(checks):
    rig = checks.build(VISReg, regularisation=0.0)
    batch = rig.batch()
    z = torch.stack([rig.method.head(features) for features in rig.encode(batch.views)])
    assert len(batch.views) == 4
    assert rig.loss(batch).item() == pytest.approx(prediction_loss(z, 4).item(), rel=1e-5)


@pytest.mark.parametrize(("feature_dim", "output"), [(384, 128), (768, 256), (32, 10)])
def test_embedding_is_a_third_as_wide_as_the_encoder(checks, feature_dim, output):
    method = VISReg(VISReg.Config(), torch.nn.Identity(), checks.task(feature_dim))
    assert method.head.layers[-1].weight.shape == (output, 4 * feature_dim)


def test_small_views_join_where_asked_for(checks):
    assert len(checks.build(VISReg).method.views.groups) == 1
    full, small = checks.build(VISReg, small_views=6).method.views.groups
    assert (full.count, small.count, small.scale) == (4, 6, 0.5)


def test_smallest_batch_gives_a_finite_loss(checks):
    rig = checks.build(VISReg)
    assert rig.loss(rig.batch(2)).isfinite()
