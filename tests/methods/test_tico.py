from __future__ import annotations

import numpy as np
import pytest
import torch
from lightly.loss import TiCoLoss
from torch import nn

from medssl_methods.tico import TiCo


def loop(pairs, rho, beta):
    """The losses of successive batches in float64: invariance, and contrast with the moving second moment."""
    losses, moment = [], 0.0
    for first, second in pairs:
        a, b = (np.asarray(z.detach(), dtype=np.float64) for z in (first, second))
        a, b = (z / np.linalg.norm(z, axis=1, keepdims=True) for z in (a, b))
        moment = beta * moment + (1 - beta) * sum(np.outer(z, z) for z in a) / len(a)
        invariance = np.mean([((x - y) ** 2).sum() / 2 for x, y in zip(a, b, strict=True)])
        losses.append(invariance + rho * np.mean([z @ moment @ z for z in a]))
    return losses


def without_networks(checks, **options):
    """The method's loss as a function of the student's and the teacher's embeddings."""
    rig = checks.build(TiCo, output_dim=5, **options)
    rig.method.head, rig.method.teacher.heads = nn.Identity(), nn.Identity()
    return lambda a, b: rig.method.loss(checks.batch(), lambda views, encoder=None: (b if encoder else a,))


def test_losses_equal_the_float64_loop_and_lightlys_step_by_step(checks, embeddings):
    ours, theirs = without_networks(checks, contrast=3.0, memory=0.8), TiCoLoss(beta=0.8, rho=3.0)
    pairs = [embeddings(n, seed=n) for n in (9, 2, 17)]
    losses = [ours(*pair).item() for pair in pairs]
    assert losses == pytest.approx(loop(pairs, 3.0, 0.8), abs=1e-5)
    assert losses == [theirs(*pair).item() for pair in pairs]


def test_hand_value_of_the_first_step(checks):
    a, b = torch.eye(5)[:2], torch.eye(5)[[0, 2]]  # one pair agrees, one is orthogonal; moment 0.1 / 2 on two axes
    assert without_networks(checks)(a, b).item() == pytest.approx(0.5 + 8 * 0.05)


def test_no_gradient_flows_through_the_target_and_the_moment(checks, embeddings):
    (a, b), loss = (z.requires_grad_() for z in embeddings(9)), without_networks(checks)
    loss(*embeddings(9, seed=1))
    again = loss(a, b)
    (gradient,) = torch.autograd.grad(again, a)
    unit = nn.functional.normalize(a, dim=1)
    with torch.no_grad():
        old = nn.functional.normalize(embeddings(9, seed=1)[0], dim=1)
        moment = 0.09 * old.T @ old / 9 + 0.1 * unit.T @ unit / 9
    target = nn.functional.normalize(b, dim=1).detach()
    by_hand = 1 - (unit * target).sum(dim=1).mean() + 8 * ((unit @ moment) * unit).sum(dim=1).mean()
    torch.testing.assert_close(gradient, torch.autograd.grad(by_hand, a)[0], atol=1e-6, rtol=1e-5)


def test_teacher_sees_the_second_view_and_gets_no_gradient(checks):
    rig, batch = checks.build(TiCo), checks.batch()
    seen = []

    def encode(views, encoder=None, *, dense=False):
        seen.append((encoder is rig.method.teacher.encoder, views[0]))
        return rig.encode(views, encoder)

    rig.method.loss(batch, encode).backward()
    assert [teacher for teacher, _ in seen] == [False, True]
    assert all(ours is theirs for (_, ours), theirs in zip(seen, batch.views, strict=True))
    assert all(weight.grad is None for weight in rig.method.teacher.parameters())


def test_teacher_follows_after_a_step_by_the_cosine_schedule(checks):
    checks.teacher_follows_the_cosine_schedule(TiCo)


def test_a_resumed_run_goes_on_with_its_second_moment(checks):
    straight, resumed = checks.build(TiCo), checks.build(TiCo)
    straight.loss(checks.batch(seed=1))
    resumed.encoder.load_state_dict(straight.encoder.state_dict())
    resumed.method.load_state_dict(straight.method.state_dict())
    assert resumed.method.criterion.C.diagonal().sum().item() == pytest.approx(0.1, rel=1e-5)  # of unit vectors
    assert torch.equal(straight.loss(checks.batch()), resumed.loss(checks.batch()))


def test_second_moment_goes_where_the_method_goes(checks):
    method = checks.build(TiCo).method.to("meta")
    assert method.criterion.C.is_meta
    assert not method.criterion.C.requires_grad


@pytest.mark.parametrize(("feature_dim", "hidden"), [(512, 1024), (2048, 4096)])
def test_head_has_the_papers_width_on_its_encoder_and_shrinks_with_narrower_ones(checks, feature_dim, hidden):
    head = TiCo(TiCo.Config(), nn.Identity(), checks.task(feature_dim)).head
    assert [tuple(x.weight.shape) for x in head.layers if isinstance(x, nn.Linear)] == [
        (hidden, feature_dim),
        (256, hidden),
    ]


def test_smallest_batch_gives_a_finite_loss(checks):
    assert checks.build(TiCo).loss(checks.batch(2)).isfinite()
