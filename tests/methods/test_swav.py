from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from medssl.conformance import toy
from medssl.contracts import Task
from medssl_methods.swav import SwAV


def assignments(scores, epsilon, iterations):
    """Sinkhorn-Knopp in float64: prototypes share the samples evenly, then each sample's shares sum to one."""
    q = np.exp(np.asarray(scores, dtype=np.float64) / epsilon)
    n, k = q.shape
    q /= q.sum()
    for _ in range(iterations):
        q /= q.sum(axis=0, keepdims=True) * k
        q /= q.sum(axis=1, keepdims=True) * n
    return q * n


def loop(scores, earlier, temperature, epsilon, iterations):
    """Equations 1 and 2 of SwAV in float64: codes of the two full views, each predicted from all other views."""
    scores = [np.asarray(s.detach(), dtype=np.float64) for s in scores]
    total = 0.0
    for v in range(2):
        full = scores[v] if earlier is None else np.concatenate([scores[v], np.asarray(earlier[v], np.float64)])
        codes = assignments(full, epsilon, iterations)[: len(scores[v])]
        for w in range(len(scores)):
            if w == v:
                continue
            for code, s in zip(codes, scores[w] / temperature, strict=True):
                total -= code @ (s - math.log(np.exp(s).sum())) / len(codes) / (len(scores) - 1) / 2
    return total


def embed(rig, batch):
    """Unit embeddings of each view by hand: the head's statistics are those of all views together."""
    z = F.normalize(rig.method.head(torch.cat(rig.encode(batch.views))), dim=1)
    return z.chunk(len(batch.views))


@pytest.mark.parametrize("small_views", [0, 1, 3])
@pytest.mark.parametrize("step", [0, 99])  # the queue is used in the second
def test_loss_equals_the_float64_loop(checks, small_views, step):
    options = {"temperature": 0.2, "epsilon": 0.1, "sinkhorn_iterations": 2, "prototypes": 7}
    rig = checks.build(SwAV, small_views=small_views, **options)
    batch = rig.batch(step=step)
    prototypes, rows = rig.method.prototypes.detach(), rig.method.queue.rows
    scores = [z @ prototypes.T for z in embed(rig, batch)]
    earlier = None if step == 0 else [rows[:, v] @ prototypes.T for v in range(2)]
    assert len(scores) == 2 + small_views
    assert rig.loss(batch).item() == pytest.approx(loop(scores, earlier, 0.2, 0.1, 2), abs=1e-5)


def test_one_representation_for_all_costs_the_logarithm_of_the_prototypes(checks):
    rig = checks.build(SwAV, small_views=0, prototypes=2, queue_length=0, temperature=100.0)
    rig.method.head = nn.Identity()
    loss = rig.method.loss(rig.batch(), lambda views: tuple(torch.ones(32, 128) for _ in views))
    assert loss.item() == pytest.approx(math.log(2), abs=1e-3)


def test_small_views_predict_and_are_not_predicted(checks):
    """Codes of the full views alone: exchanging the small views changes nothing, and they never join the queue."""
    rig = checks.build(SwAV, small_views=2)
    batch = rig.batch()
    z = embed(rig, batch)
    loss = rig.loss(batch)
    torch.testing.assert_close(rig.method.queue.rows[-32:], torch.stack(z[:2], dim=1).detach(), atol=1e-5, rtol=1e-5)
    rig = checks.build(SwAV, small_views=2)
    exchanged = rig.method.loss(batch, lambda views: tuple(rig.encode(views)[i] for i in (0, 1, 3, 2)))
    assert exchanged.item() == pytest.approx(loss.item(), abs=1e-5)


def test_no_gradient_flows_through_the_codes(checks):
    rig = checks.build(SwAV, small_views=0)
    batch = rig.batch()
    weight = rig.method.head.layers[0].weight
    (actual,) = torch.autograd.grad(rig.loss(batch), weight)
    scores = [z @ rig.method.prototypes.T for z in embed(rig, batch)]
    codes = [torch.tensor(assignments(s.detach(), 0.02, 3)).float() for s in scores]
    pairs = ((codes[0], scores[1]), (codes[1], scores[0]))
    by_hand = sum(-(code * F.log_softmax(s / 0.1, dim=1)).sum(dim=1).mean() / 2 for code, s in pairs)
    torch.testing.assert_close(actual, torch.autograd.grad(by_hand, weight)[0], atol=1e-5, rtol=1e-3)


def test_prototypes_have_unit_length_from_the_start_and_after_each_step(checks):
    method = checks.build(SwAV).method
    for _ in range(2):
        torch.testing.assert_close(method.prototypes.detach().norm(dim=1), torch.ones(96))
        method.prototypes.data *= 3
        method.after_step(1, 100)


@pytest.mark.parametrize(("step", "moves"), [(0, False), (29, False), (30, True)])
def test_prototypes_do_not_move_at_first(checks, step, moves):
    rig = checks.build(SwAV, frozen_start=0.3)  # of 100 steps
    rig.loss(rig.batch(step=step)).backward()
    assert (rig.method.prototypes.grad is not None) == moves


@pytest.mark.parametrize(
    ("options", "first"), [({}, 8), ({"queue_start": 0.5}, 50), ({"queue_length": 33, "queue_start": 0.0}, 2)]
)
def test_queue_is_used_when_it_is_due_and_full(checks, options, first):
    for step in (first - 1, first):
        rig, other = (checks.build(SwAV, **options) for _ in range(2))
        other.method.queue.push(torch.ones_like(other.method.queue.rows))
        equal = rig.loss(rig.batch(step=step)).item() == other.loss(other.batch(step=step)).item()
        assert equal == (step < first)


def test_without_a_queue_every_step_sorts_the_batch_alone(checks):
    rig = checks.build(SwAV, queue_length=0)
    assert rig.method.queue.rows.numel() == 0
    assert rig.loss(rig.batch(step=0)).item() == rig.loss(rig.batch(step=99)).item()


@pytest.mark.parametrize(("samples", "expected"), [(96, (96, 96)), (10**6, (3000, 3840))])
def test_prototypes_and_queue_are_no_more_than_the_training_images(samples, expected):
    target = toy.target("classes")
    task = Task(feature_dim=8, num_samples=samples, target=target, image_size=64, batch_size=64, total_steps=100)
    method = SwAV(SwAV.Config(), nn.Identity(), task)
    assert (len(method.prototypes), len(method.queue.rows)) == expected


def test_asks_for_two_full_and_six_half_sized_views(checks):
    full, small = checks.build(SwAV).method.views.groups
    assert (full.count, full.scale, dict(full.augment)) == (2, 1.0, {})
    assert (small.count, small.scale, small.augment["crop_scale"]) == (6, 0.5, (0.05, 0.14))
    assert [group.count for group in checks.build(SwAV, small_views=0).method.views.groups] == [2]


def test_views_of_two_sizes_go_through_one_head(checks):
    method = checks.build(SwAV, small_views=1).method
    sizes = []

    def encode(views):
        sizes.extend(view.shape[-1] for view in views)
        return tuple(view.flatten(2).mean(dim=2).repeat(1, 32) for view in views)

    rng = torch.Generator().manual_seed(0)
    views = tuple(torch.randn(8, 1, side, side, generator=rng) for side in (4, 4, 2))
    batch = checks.batch(8)
    loss = method.loss(type(batch)(**{**vars(batch), "views": views}), encode)
    assert sizes == [4, 4, 2]
    assert loss.isfinite()


def test_smallest_batch_gives_a_finite_loss(checks):
    rig = checks.build(SwAV, epsilon=0.015)
    assert rig.loss(rig.batch(2, step=99)).isfinite()
