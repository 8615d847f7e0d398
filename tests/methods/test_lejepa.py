from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from medssl_methods.lejepa import LeJEPA, prediction_loss, projector, random_directions, sigreg


def statistic(x, knots, t_max):
    """The Epps-Pulley statistic of one-dimensional samples in float64, by the trapezoidal rule over both halves."""
    x = np.asarray(x, dtype=np.float64)
    t = np.linspace(-t_max, t_max, 2 * knots - 1)
    empirical = np.array([np.exp(1j * s * x).mean() for s in t])
    normal = np.exp(-(t**2) / 2)
    values = np.abs(empirical - normal) ** 2 * normal
    return len(x) * sum((values[i] + values[i + 1]) / 2 * (t[i + 1] - t[i]) for i in range(len(t) - 1))


def views_of(embeddings, n, d, count):
    return torch.stack([*embeddings(n, d, seed=n), *embeddings(n, d, seed=n + 1)][:count])


def directions_of(d, count=6, seed=0):
    return random_directions(d, count, torch.Generator().manual_seed(seed), torch.zeros(0))


@pytest.mark.parametrize(
    ("n", "d", "views", "knots", "t_max"), [(2, 3, 2, 17, 3.0), (9, 4, 3, 17, 3.0), (9, 4, 2, 8, 5.0)]
)
def test_gaussian_term_equals_the_float64_loop(embeddings, n, d, views, knots, t_max):
    z, directions = views_of(embeddings, n, d, views), directions_of(d)
    projected = (z.double() @ directions.double()).numpy()
    expected = np.mean([statistic(view[:, s], knots, t_max) for view in projected for s in range(6)])
    assert sigreg(z, directions, knots, t_max).item() == pytest.approx(expected, rel=1e-5)


def test_collapsed_embeddings_have_the_closed_form_of_the_integral():
    # at zero, c(t) = 1: the integral of (1 - e^(-t^2/2))^2 e^(-t^2/2), a sum of Gaussian integrals
    whole = math.sqrt(2 * math.pi) * (1 - 2 / math.sqrt(2) + 1 / math.sqrt(3))
    collapsed = sigreg(torch.zeros(2, 10, 3), directions_of(3), knots=400, t_max=12.0).item()
    assert collapsed == pytest.approx(10 * whole, rel=1e-4)


def test_normal_embeddings_cost_less_than_scaled_shifted_or_two_valued_ones():
    rng = torch.Generator().manual_seed(0)
    z, directions = torch.randn(1, 500, 4, generator=rng), torch.eye(4)
    cost = sigreg(z, directions, 17, 3.0).item()
    for other in (2 * z, z + 1, z.sign(), 0.01 * z):
        assert sigreg(other, directions, 17, 3.0).item() > 5 * cost


def test_prediction_term_equals_the_float64_loop(embeddings):
    z = views_of(embeddings, 5, 3, 4)
    total = [
        (z[v, i, d].item() - z[:2, i, d].double().mean().item()) ** 2
        for v in range(4)
        for i in range(5)
        for d in range(3)
    ]
    assert prediction_loss(z, 2).item() == pytest.approx(np.mean(total), rel=1e-5)


def test_loss_and_gradient_equal_lightlys_on_the_same_directions(checks, embeddings):
    theirs = pytest.importorskip("lightly.loss.lejepa_loss").LeJEPALoss()
    z = views_of(embeddings, 8, 5, 4).requires_grad_()
    rig = checks.build(LeJEPA, small_views=2)
    rig.method.head = torch.nn.Identity()
    ours = rig.method.loss(rig.batch(8), lambda views: tuple(z))
    with torch.random.fork_rng():
        torch.manual_seed(0)  # as the batch's generator
        expected = theirs(global_proj=z[:2], local_proj=z[2:])
    torch.testing.assert_close(ours, expected)
    torch.testing.assert_close(torch.autograd.grad(ours, z)[0], torch.autograd.grad(expected, z)[0])


def test_gradient_agrees_with_finite_differences(embeddings):
    z, directions = views_of(embeddings, 4, 3, 2).double().requires_grad_(), directions_of(3).double()
    assert torch.autograd.gradcheck(lambda z: sigreg(z, directions, 17, 3.0) + prediction_loss(z, 2), z)


def test_directions_have_unit_length_and_change_with_the_generator():
    first, again, other = directions_of(7), directions_of(7), directions_of(7, seed=1)
    torch.testing.assert_close(first.norm(dim=0), torch.ones(6))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_head_is_lightlys():
    theirs = pytest.importorskip("lightly.models.modules.heads")
    if not hasattr(theirs, "LeJEPAProjectionHead"):
        pytest.skip("this lightly has none")
    assert str(projector(8, 16, 4)) == str(theirs.LeJEPAProjectionHead(8, 16, 4)).replace("LeJEPA", "")


@pytest.mark.parametrize("feature_dim", [32, 512])
def test_head_scales_with_the_encoder(checks, feature_dim):
    method = LeJEPA(LeJEPA.Config(), torch.nn.Identity(), checks.task(feature_dim))
    wide = 4 * feature_dim
    shapes = [tuple(x.weight.shape) for x in method.head.layers if isinstance(x, torch.nn.Linear)]
    assert shapes == [(wide, feature_dim), (wide, wide), (64, wide)]


def test_views_are_two_full_and_six_small_ones(checks):
    full, small = checks.build(LeJEPA).method.views.groups
    assert (full.count, full.scale, small.count, small.scale) == (2, 1.0, 6, 0.5)
    assert len(checks.build(LeJEPA, small_views=0).method.views.groups) == 1


def test_smallest_batch_gives_a_finite_loss(checks):
    rig = checks.build(LeJEPA)
    assert rig.loss(rig.batch(2)).isfinite()
