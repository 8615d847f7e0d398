from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from lightly.models.modules import NNMemoryBankModule
from torch.nn import functional as F

from medssl_methods.nnclr import NNCLR, nearest


def loop(z0, z1, p0, p1, rows, temperature):
    """Algorithm 1 of NNCLR in float64, sample by sample, the search for the neighbour included."""
    z0, z1, p0, p1, rows = (np.asarray(x.detach(), dtype=np.float64) for x in (z0, z1, p0, p1, rows))
    z0, z1, p0, p1 = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (z0, z1, p0, p1))
    total = 0.0
    for z, p in ((z0, p1), (z1, p0)):
        for i in range(len(z)):
            neighbour = max(rows, key=lambda row, i=i, z=z: row @ z[i])
            partition = sum(math.exp(neighbour @ p[j] / temperature) for j in range(len(p)))
            total += (math.log(partition) - neighbour @ p[i] / temperature) / (2 * len(z))
    return total


def linear_shapes(head):
    return [tuple(layer.weight.shape) for layer in head.layers if isinstance(layer, torch.nn.Linear)]


@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_loss_equals_the_float64_loop(checks, temperature):
    rig, batch = checks.build(NNCLR, temperature=temperature), checks.batch()
    z0, z1 = (rig.method.projector(features) for features in rig.encode(batch.views))
    p0, p1 = rig.method.predictor(z0), rig.method.predictor(z1)
    expected = loop(z0, z1, p0, p1, rig.method.queue.rows, temperature)
    assert rig.loss(batch).item() == pytest.approx(expected, abs=1e-5)


def test_nearest_rows_are_those_of_lightlys_memory_bank(embeddings):
    z, rows = embeddings(9)[0], F.normalize(embeddings(40, seed=1)[0], dim=1)
    bank = NNMemoryBankModule(size=(40, 5))
    bank.bank = rows
    assert torch.equal(nearest(z, rows), bank(z))
    assert torch.equal(nearest(rows.flip(0), rows), rows.flip(0))  # each row is nearest to itself


def test_first_views_embeddings_join_the_queue_after_the_search(checks):
    rig, batch = checks.build(NNCLR), checks.batch()
    before = rig.method.queue.rows
    z0, _ = (rig.method.projector(features) for features in rig.encode(batch.views))
    rig.loss(batch)
    expected = torch.cat([before[32:], F.normalize(z0, dim=1)])
    torch.testing.assert_close(rig.method.queue.rows, expected, atol=1e-5, rtol=1e-5)
    assert not rig.method.queue.rows.requires_grad


def test_no_gradient_flows_through_the_neighbours(checks):
    rig, batch = checks.build(NNCLR), checks.batch()
    predictor = rig.method.predictor
    rig.method.predictor = torch.nn.Module()
    rig.method.predictor.forward = lambda z: predictor(z).detach()
    assert not rig.loss(batch).requires_grad  # with the predictions cut off, no path is left


@pytest.mark.parametrize(("length", "expected"), [(4096, 96), (20, 20)])
def test_queue_holds_at_most_the_training_part(checks, length, expected):
    assert checks.task().num_samples == 96
    assert len(checks.build(NNCLR, queue_length=length).method.queue.rows) == expected


def test_heads_have_the_papers_widths_on_its_encoder_and_shrink_with_narrower_ones(checks):
    method = NNCLR(NNCLR.Config(), torch.nn.Identity(), checks.task(2048))
    assert linear_shapes(method.projector) == [(2048, 2048), (2048, 2048), (256, 2048)]
    assert linear_shapes(method.predictor) == [(4096, 256), (256, 4096)]
    method = checks.build(NNCLR, projection_hidden_dim=16, prediction_hidden_dim=24, output_dim=8).method
    assert linear_shapes(method.projector) == [(16, 32), (16, 16), (8, 16)]
    assert linear_shapes(method.predictor) == [(24, 8), (8, 24)]


def test_smallest_batch_gives_a_finite_loss(checks):
    assert checks.build(NNCLR).loss(checks.batch(2)).isfinite()


def test_projector_takes_its_statistics_from_each_view_alone(checks):
    checks.statistics_are_of_each_view_alone(NNCLR)
