from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from medssl_methods.dino import DINO, Head


def softmax(x):
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def loop(targets, answers, center, teacher_temperature, student_temperature):
    """Equation 3 of DINO in float64: pair by pair and sample by sample, no view against itself."""
    targets, answers = ([np.asarray(x.detach(), dtype=np.float64) for x in group] for group in (targets, answers))
    total, terms = 0.0, 0
    for i, target in enumerate(targets):
        for j, answer in enumerate(answers):
            if i != j:
                p = softmax((target - np.asarray(center, dtype=np.float64)) / teacher_temperature)
                q = softmax(answer / student_temperature)
                total += sum(-(p[n] * np.log(q[n])).sum() for n in range(len(p))) / len(p)
                terms += 1
    return total / terms


def outputs(rig, batch):
    rig = copy.deepcopy(rig)  # BatchNorm moves
    targets = rig.method.teacher(batch.views[:2], rig.encode)
    return targets, [rig.method.head(features) for features in rig.encode(batch.views)]


@pytest.mark.parametrize("small_views", [0, 3])
def test_loss_equals_the_float64_loop(checks, small_views):
    rig = checks.build(DINO, prototypes=20, small_views=small_views)
    rig.method.criterion.center.copy_(torch.linspace(-0.1, 0.1, 20))
    batch = rig.batch(6)
    assert len(batch.views) == 2 + small_views
    expected = loop(*outputs(rig, batch), np.linspace(-0.1, 0.1, 20), 0.04, 0.1)
    assert rig.loss(batch).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("step", "temperature"), [(0, 0.04), (5, 0.055), (10, 0.07), (99, 0.07)])
def test_teachers_temperature_rises_over_the_warmup_and_stays(checks, step, temperature):
    rig = checks.build(DINO, prototypes=20, small_views=0)
    batch = rig.batch(6, step=step)
    expected = loop(*outputs(rig, batch), np.zeros(20), temperature, 0.1)
    assert rig.loss(batch).item() == pytest.approx(expected, rel=1e-5)


def test_center_follows_the_mean_of_the_teachers_answers(checks):
    rig = checks.build(DINO, prototypes=20, center_momentum=0.75)
    batch = rig.batch(6)
    targets, _ = outputs(rig, batch)
    rig.loss(batch)
    expected = 0.25 * torch.cat(targets).mean(dim=0)
    torch.testing.assert_close(rig.method.criterion.center.flatten(), expected)
    assert "criterion.center" in rig.method.state_dict()


def test_teacher_sees_full_views_only_and_gets_no_gradient(checks):
    rig, seen = checks.build(DINO, prototypes=20), []

    def encode(views, encoder=None):
        seen.append((len(views), encoder is rig.method.teacher.encoder))
        return rig.encode(views, encoder)

    rig.method.loss(rig.batch(6), encode).backward()
    assert sorted(seen) == [(2, True), (10, False)]
    assert all(weight.grad is None for weight in rig.method.teacher.parameters())


def test_teacher_follows_the_student_after_a_step(checks):
    rig = checks.build(DINO, momentum=0.9)
    before = rig.method.teacher.heads[0].prototypes.clone()
    with torch.no_grad():
        rig.method.head.prototypes.add_(1)
    rig.method.after_step(1, 100)
    torch.testing.assert_close(rig.method.teacher.heads[0].prototypes, before + 0.1)


@pytest.mark.parametrize(("step", "moves"), [(0, False), (1, True)])
def test_prototypes_are_frozen_at_the_start_of_the_run(checks, step, moves):
    rig = checks.build(DINO)  # 1 % of 100 steps
    rig.loss(rig.batch(step=step)).backward()
    assert (rig.method.head.prototypes.grad is not None) is moves


def test_head_is_lightlys_with_unit_prototypes():
    import warnings

    from lightly.models.modules.heads import DINOProjectionHead

    ours = Head(12, 16, 6, 9, batch_norm=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it calls a deprecated function of PyTorch
        theirs = DINOProjectionHead(12, 16, 6, 9, batch_norm=True)
    theirs.layers.load_state_dict(ours.mlp.layers.state_dict())
    theirs.last_layer.weight_v.data.copy_(ours.prototypes.data)
    x = torch.randn(5, 12, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(ours(x), theirs(x))
    assert str(ours.mlp.layers) == str(theirs.layers)


@pytest.mark.parametrize("encoder", [nn.Sequential(nn.Linear(4, 4)), nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))])
@pytest.mark.parametrize("asked", [None, False, True])
def test_head_has_batch_norm_where_the_encoder_has_it_unless_told(checks, encoder, asked):
    method = DINO(DINO.Config(batch_norm=asked), encoder, checks.task())
    expected = len(encoder) == 2 if asked is None else asked
    assert any(isinstance(layer, nn.BatchNorm1d) for layer in method.head.modules()) is expected


@pytest.mark.parametrize(("feature_dim", "hidden"), [(32, 128), (512, 2048), (2048, 2048)])
def test_hidden_layers_scale_with_the_encoder(checks, feature_dim, hidden):
    method = DINO(DINO.Config(), nn.Identity(), checks.task(feature_dim))
    shapes = [tuple(layer.weight.shape) for layer in method.head.mlp.layers if isinstance(layer, nn.Linear)]
    assert shapes == [(hidden, feature_dim), (hidden, hidden), (256, hidden)]


def test_views_are_two_full_and_eight_small_ones(checks):
    full, small = checks.build(DINO).method.views.groups
    assert (full.count, full.scale, small.count, small.scale) == (2, 1.0, 8, 0.5)


def test_smallest_batch_gives_a_finite_loss(checks):
    rig = checks.build(DINO)
    assert rig.loss(rig.batch(2)).isfinite()
