from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from medssl_methods.mocov3 import MoCoV3


def loop(q0, q1, k0, k1, temperature):
    """Algorithm 1 of MoCo v3 in float64, query by query."""
    total = 0.0
    for queries, keys in ((q0, k1), (q1, k0)):
        q, k = (np.asarray(x.detach(), dtype=np.float64) for x in (queries, keys))
        q, k = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (q, k))
        for i in range(len(q)):
            partition = sum(math.exp(q[i] @ k[j] / temperature) for j in range(len(k)))
            total += 2 * temperature * (math.log(partition) - q[i] @ k[i] / temperature) / len(q)
    return total


def layers(head):
    """The kinds of a head's layers, its linear ones with their shapes."""
    return [tuple(m.weight.shape) if isinstance(m, nn.Linear) else type(m).__name__ for m in head.layers]


@pytest.mark.parametrize("temperature", [0.2, 1.0])
def test_loss_equals_the_float64_loop_on_queries_and_keys(checks, temperature):
    rig, batch = checks.build(MoCoV3, temperature=temperature), checks.batch()
    for weight in rig.method.teacher.parameters():
        weight.data *= 1.5  # apart from the student
    q0, q1 = (rig.method.predictor(rig.method.projector(features)) for features in rig.encode(batch.views))
    k0, k1 = rig.method.teacher(batch.views, rig.encode)
    assert rig.loss(batch).item() == pytest.approx(loop(q0, q1, k0, k1, temperature), abs=1e-5)


def test_keys_come_from_the_teacher_without_gradient(checks):
    rig, batch = checks.build(MoCoV3), checks.batch()
    loss = rig.loss(batch)
    loss.backward()
    assert all(weight.grad is None for weight in rig.method.teacher.parameters())
    rig.method.teacher.heads[0].layers[0].weight.data.normal_(generator=torch.Generator().manual_seed(1))
    assert abs(rig.loss(batch).item() - loss.item()) > 1e-3
    predictor = rig.method.predictor
    rig.method.predictor = nn.Module()
    rig.method.predictor.forward = lambda z: predictor(z).detach()
    assert not rig.loss(batch).requires_grad  # with the queries cut off, no path is left


def test_teacher_follows_after_a_step_by_the_cosine_schedule(checks):
    checks.teacher_follows_the_cosine_schedule(MoCoV3)


def test_heads_are_those_of_the_authors_code(checks):
    method = MoCoV3(MoCoV3.Config(), nn.Identity(), checks.task(2048))
    assert layers(method.projector) == [(4096, 2048), "BatchNorm1d", "ReLU", (256, 4096), "BatchNorm1d"]
    assert layers(method.predictor) == [(4096, 256), "BatchNorm1d", "ReLU", (256, 4096)]
    assert not method.projector.layers[-1].affine
    assert all(m.bias is None for m in method.modules() if isinstance(m, nn.Linear))


def test_options_set_widths_and_depth(checks):
    method = checks.build(MoCoV3, hidden_dim=16, output_dim=8, projection_layers=3).method
    assert [x for x in layers(method.projector) if isinstance(x, tuple)] == [(16, 32), (16, 16), (8, 16)]
    assert [x for x in layers(method.predictor) if isinstance(x, tuple)] == [(16, 8), (8, 16)]


def test_smallest_batch_gives_a_finite_loss(checks):
    assert checks.build(MoCoV3).loss(checks.batch(2)).isfinite()


def test_projector_takes_its_statistics_from_each_view_alone(checks):
    checks.statistics_are_of_each_view_alone(MoCoV3)
