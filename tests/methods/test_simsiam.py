from __future__ import annotations

import numpy as np
import pytest
import torch
from lightly.models.modules.heads import SimSiamProjectionHead

from medssl_methods.simsiam import SimSiam, projector


def loop(p0, p1, z0, z1):
    """The value of equation 4 of SimSiam, sample by sample in float64."""
    p0, p1, z0, z1 = (np.asarray(x.detach(), dtype=np.float64) for x in (p0, p1, z0, z1))
    cosine = [
        p[i] @ z[i] / (np.linalg.norm(p[i]) * np.linalg.norm(z[i]))
        for p, z in ((p0, z1), (p1, z0))
        for i in range(len(p))
    ]
    return -np.mean(cosine)


def linear_shapes(head):
    return [tuple(layer.weight.shape) for layer in head.layers if isinstance(layer, torch.nn.Linear)]


def test_loss_equals_the_float64_loop_on_the_projections_and_predictions(checks):
    rig, batch = checks.build(SimSiam), checks.batch()
    z0, z1 = (rig.method.projector(features) for features in rig.encode(batch.views))
    p0, p1 = rig.method.predictor(z0), rig.method.predictor(z1)
    assert rig.loss(batch).item() == pytest.approx(loop(p0, p1, z0, z1), abs=1e-6)


@pytest.mark.parametrize(
    ("z1", "expected"),
    [([[2.0, 0.0], [0.0, 3.0]], -1.0), ([[0.0, 1.0], [-1.0, 0.0]], 0.0), ([[-1.0, 0.0], [0.0, 1.0]], 0.0)],
)
def test_hand_values_of_two_samples_predicted_as_they_are(checks, z1, expected):
    method = checks.build(SimSiam).method
    method.projector, method.predictor = torch.nn.Identity(), torch.nn.Identity()
    loss = method.loss(checks.batch(), lambda views: (torch.eye(2), torch.tensor(z1)))
    assert loss.item() == pytest.approx(expected)


def test_no_gradient_flows_through_the_target(checks):
    rig = checks.build(SimSiam)
    predictor = rig.method.predictor
    rig.method.predictor = torch.nn.Module()
    rig.method.predictor.forward = lambda z: predictor(z).detach()
    assert not rig.loss(checks.batch()).requires_grad  # with the prediction cut off, no path is left


def test_gradient_of_the_prediction_branch_is_that_of_fixed_targets(checks):
    rig, batch = checks.build(SimSiam), checks.batch()
    weight = rig.method.projector.layers[0].weight
    z0, z1 = (rig.method.projector(features) for features in rig.encode(batch.views))
    targets = [torch.tensor(z.tolist()) for z in (z1, z0)]
    pairs = zip((rig.method.predictor(z0), rig.method.predictor(z1)), targets, strict=True)
    by_hand = sum(-torch.nn.functional.cosine_similarity(p, z).mean() / 2 for p, z in pairs)
    (expected,) = torch.autograd.grad(by_hand, weight)
    (actual,) = torch.autograd.grad(rig.loss(batch), weight)
    torch.testing.assert_close(actual, expected, atol=1e-7, rtol=1e-4)


def test_predictor_is_used_and_trained(checks):
    rig, batch = checks.build(SimSiam), checks.batch()
    loss = rig.loss(batch)
    loss.backward()
    assert all(weight.grad.abs().max() > 0 for weight in rig.method.predictor.parameters())
    rig.method.predictor = torch.nn.Identity()
    assert abs(rig.loss(batch).item() - loss.item()) > 0.01


def test_without_a_predictor_the_embedding_is_its_own_prediction(checks):
    """The gradient is then half that of the plain cosine: Chattopadhyay et al.'s code, a loss that collapses."""
    rig, batch = checks.build(SimSiam, predictor=False), checks.batch()
    assert not list(rig.method.predictor.parameters())
    z0, z1 = (rig.method.projector(features) for features in rig.encode(batch.views))
    plain = -torch.nn.functional.cosine_similarity(z0, z1).mean()
    weight = rig.method.projector.layers[0].weight
    (expected,) = torch.autograd.grad(plain / 2, weight)
    loss = rig.loss(batch)
    (actual,) = torch.autograd.grad(loss, weight)
    assert loss.item() == pytest.approx(plain.item(), abs=1e-6)
    torch.testing.assert_close(actual, expected, atol=1e-7, rtol=1e-4)


def test_swapping_the_views_changes_nothing(checks):
    rig, batch = checks.build(SimSiam), checks.batch()
    swapped = rig.method.loss(batch, lambda views: rig.encode(views)[::-1])
    assert swapped.item() == pytest.approx(rig.loss(batch).item(), abs=1e-6)


def test_collapsed_features_give_finite_gradients(checks):
    rig = checks.build(SimSiam)
    features = torch.ones(8, 32, requires_grad=True)
    rig.method.loss(checks.batch(8), lambda views: (features, features)).backward()
    assert features.grad.isfinite().all()


@pytest.mark.parametrize(("feature_dim", "width"), [(512, 2048), (2048, 2048), (32, 128)])
def test_heads_have_the_papers_widths_on_its_encoders_and_shrink_with_narrower_ones(checks, feature_dim, width):
    method = SimSiam(SimSiam.Config(), torch.nn.Identity(), checks.task(feature_dim))
    assert linear_shapes(method.projector) == [(width, feature_dim), (width, width)]
    assert linear_shapes(method.predictor) == [(width // 4, width), (width, width // 4)]


def test_options_set_the_widths_and_the_depth(checks):
    config = SimSiam.Config(projection_dim=24, projection_layers=3, prediction_dim=5)
    method = SimSiam(config, torch.nn.Identity(), checks.task())
    assert linear_shapes(method.projector) == [(24, 32), (24, 24), (24, 24)]
    assert linear_shapes(method.predictor) == [(5, 24), (24, 5)]


def test_three_layers_make_lightlys_projection_head():
    ours, theirs = projector(16, 8, 3), SimSiamProjectionHead(16, 8, 8)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(6, 16, generator=torch.Generator().manual_seed(0))
    assert str(ours.layers) == str(theirs.layers)
    assert torch.equal(ours(x), theirs(x))


def test_smallest_batch_gives_a_finite_loss(checks):
    assert checks.build(SimSiam).loss(checks.batch(2)).isfinite()


def test_projector_takes_its_statistics_from_each_view_alone(checks):
    checks.statistics_are_of_each_view_alone(SimSiam)
