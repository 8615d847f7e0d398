from __future__ import annotations

import numpy as np
import pytest
import torch

from medssl.tools import cosine_momentum
from medssl_methods.byol import BYOL


def loop(p0, p1, t0, t1):
    """Equation 2 of BYOL, sample by sample in float64, brought from [0, 8] to [-1, 1]."""
    p0, p1, t0, t1 = (np.asarray(x.detach(), dtype=np.float64) for x in (p0, p1, t0, t1))
    total = 0.0
    for p, t in ((p0, t1), (p1, t0)):
        for i in range(len(p)):
            difference = p[i] / np.linalg.norm(p[i]) - t[i] / np.linalg.norm(t[i])
            total += difference @ difference / len(p)
    return (total - 4) / 4


def linear_shapes(head):
    return [tuple(layer.weight.shape) for layer in head.layers if isinstance(layer, torch.nn.Linear)]


def test_loss_equals_the_float64_loop_on_predictions_and_targets(checks):
    rig, batch = checks.build(BYOL), checks.batch()
    for weight in rig.method.teacher.parameters():
        weight.data *= 1.5  # apart from the student
    p0, p1 = (rig.method.predictor(rig.method.projector(features)) for features in rig.encode(batch.views))
    t0, t1 = rig.method.teacher(batch.views, rig.encode)
    assert rig.loss(batch).item() == pytest.approx(loop(p0, p1, t0, t1), abs=1e-6)


def test_targets_come_from_the_teacher_without_gradient(checks):
    rig, batch = checks.build(BYOL), checks.batch()
    loss = rig.loss(batch)
    loss.backward()
    assert all(weight.grad is None for weight in rig.method.teacher.parameters())
    rig.method.teacher.heads[0].layers[0].weight.data.normal_(generator=torch.Generator().manual_seed(1))
    assert abs(rig.loss(batch).item() - loss.item()) > 1e-3
    predictor = rig.method.predictor
    rig.method.predictor = torch.nn.Module()
    rig.method.predictor.forward = lambda z: predictor(z).detach()
    assert not rig.loss(batch).requires_grad  # with the prediction cut off, no path is left


def test_teacher_follows_after_a_step_by_the_cosine_schedule(checks):
    assert cosine_momentum(51, 100, 0.9) == pytest.approx(0.95)
    checks.teacher_follows_the_cosine_schedule(BYOL)


def test_swapping_the_views_changes_nothing(checks):
    rig, batch = checks.build(BYOL), checks.batch()
    swapped = rig.method.loss(batch, lambda views, encoder=None: rig.encode(views, encoder)[::-1])
    assert swapped.item() == pytest.approx(rig.loss(batch).item(), abs=1e-6)


@pytest.mark.parametrize(("feature_dim", "hidden"), [(512, 1024), (2048, 4096), (32, 64)])
def test_heads_have_the_papers_widths_on_its_encoder_and_shrink_with_narrower_ones(checks, feature_dim, hidden):
    method = BYOL(BYOL.Config(), torch.nn.Identity(), checks.task(feature_dim))
    assert linear_shapes(method.projector) == [(hidden, feature_dim), (256, hidden)]
    assert linear_shapes(method.predictor) == [(hidden, 256), (256, hidden)]
    method = BYOL(BYOL.Config(hidden_dim=24, output_dim=5), torch.nn.Identity(), checks.task(feature_dim))
    assert linear_shapes(method.predictor) == [(24, 5), (5, 24)]


def test_smallest_batch_gives_a_finite_loss(checks):
    assert checks.build(BYOL).loss(checks.batch(2)).isfinite()


def test_projector_takes_its_statistics_from_each_view_alone(checks):
    checks.statistics_are_of_each_view_alone(BYOL)
