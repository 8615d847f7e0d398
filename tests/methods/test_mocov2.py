from __future__ import annotations

import pytest
import torch
from lightly.loss import NTXentLoss
from torch.nn import functional as F

from medssl_methods.mocov2 import MoCoV2


def head_shapes(method):
    return [tuple(layer.weight.shape) for layer in method.head.layers if isinstance(layer, torch.nn.Linear)]


def apart(rig):
    """Move the teacher away from the student, so that a test can tell them apart."""
    for weight in rig.method.teacher.parameters():
        weight.data.mul_(1.5).add_(0.1)
    return rig


def lightly_loss(query, key, rows, temperature):
    criterion = NTXentLoss(temperature, memory_bank_size=tuple(rows.shape))
    criterion.memory_bank.bank = rows.clone()  # it writes into its bank
    return criterion(query, key).item()


def test_loss_equals_lightlys_on_queries_keys_and_queue_in_both_directions(checks):
    rig, batch = apart(checks.build(MoCoV2, temperature=0.3)), checks.batch()
    rows = rig.method.queue.rows
    q0, q1 = (rig.method.head(features) for features in rig.encode(batch.views))
    k0, k1 = rig.method.teacher(batch.views, rig.encode)
    expected = (lightly_loss(q0, k1, rows, 0.3) + lightly_loss(q1, k0, rows, 0.3)) / 2
    assert rig.loss(batch).item() == pytest.approx(expected, abs=1e-5)


def test_in_one_direction_the_first_view_is_the_query_and_the_second_the_key(checks):
    rig, batch = apart(checks.build(MoCoV2, symmetric=False)), checks.batch()
    rows = rig.method.queue.rows
    q0 = rig.method.head(rig.encode(batch.views)[0])
    k1 = rig.method.teacher(batch.views, rig.encode)[1]
    assert rig.loss(batch).item() == pytest.approx(lightly_loss(q0, k1, rows, 0.2), abs=1e-5)
    torch.testing.assert_close(rig.method.queue.rows[-32:], F.normalize(k1, dim=1), atol=1e-5, rtol=1e-5)


def test_queue_ends_with_the_batchs_keys(checks):
    rig, batch = apart(checks.build(MoCoV2)), checks.batch(16)
    before = rig.method.queue.rows
    k0, k1 = (F.normalize(k, dim=1) for k in rig.method.teacher(batch.views, rig.encode))
    rig.loss(batch)
    torch.testing.assert_close(rig.method.queue.rows, torch.cat([before[32:], k1, k0]), atol=1e-5, rtol=1e-5)


def test_keys_of_a_large_batch_are_made_in_shuffled_parts_with_their_own_statistics(checks):
    rig, batch = apart(checks.build(MoCoV2, symmetric=False, queue_length=10**6)), checks.batch(65)
    seen = []

    def encode(views, encoder=None, *, dense=False):
        if encoder is not None:
            seen.extend(views)
        return rig.encode(views, encoder)

    rows = rig.method.queue.rows
    loss = rig.method.loss(batch, encode).item()
    assert [len(part) for part in seen] == [33, 32]
    order = torch.randperm(65, generator=torch.Generator().manual_seed(0))
    keys = torch.empty(65, 128)
    for part, members in zip(seen, order.tensor_split(2), strict=True):
        assert torch.equal(part, batch.views[1][members])
        keys[members] = rig.method.teacher([part], rig.encode)[0]
    query = rig.method.head(rig.encode(batch.views)[0])
    assert loss == pytest.approx(lightly_loss(query, keys, rows, 0.2), abs=1e-5)


def test_no_gradient_flows_through_the_keys_and_the_queue(checks):
    rig, batch = checks.build(MoCoV2), checks.batch()
    rig.loss(batch).backward()
    assert all(weight.grad is None for weight in rig.method.teacher.parameters())
    assert not rig.method.queue.rows.requires_grad
    head = rig.method.head
    rig.method.head = torch.nn.Module()
    rig.method.head.forward = lambda features: head(features).detach()
    assert not rig.loss(batch).requires_grad  # with the queries cut off, no path is left


def test_teacher_follows_by_the_same_momentum_throughout(checks):
    rig = checks.build(MoCoV2, momentum=0.9)
    student, teacher = rig.encoder.layers[0].weight, rig.method.teacher.encoder.layers[0].weight
    for step in (1, 100):
        old = teacher.clone()
        rig.method.after_step(step, 100)
        torch.testing.assert_close(teacher, 0.9 * old + 0.1 * student)
        student.data += 1


@pytest.mark.parametrize(("length", "expected"), [(4096, 48), (20, 20)])
def test_queue_holds_at_most_half_the_training_part(checks, length, expected):
    assert checks.task().num_samples == 96
    assert len(checks.build(MoCoV2, queue_length=length).method.queue.rows) == expected


def test_head_is_as_wide_as_the_encoder_unless_told_otherwise(checks):
    assert head_shapes(checks.build(MoCoV2).method) == [(32, 32), (128, 32)]
    assert head_shapes(checks.build(MoCoV2, hidden_dim=16, output_dim=8).method) == [(16, 32), (8, 16)]


def test_smallest_batch_gives_a_finite_loss(checks):
    assert checks.build(MoCoV2).loss(checks.batch(2)).isfinite()


def test_a_resumed_run_goes_on_with_its_queue(checks):
    straight, resumed = checks.build(MoCoV2, seed=0), checks.build(MoCoV2, seed=0)
    for seed in range(3):
        straight.loss(checks.batch(seed=seed))
    assert not torch.equal(straight.method.queue.rows, resumed.method.queue.rows)
    resumed.encoder.load_state_dict(straight.encoder.state_dict())
    resumed.method.load_state_dict(straight.method.state_dict())
    for seed in range(3, 5):
        assert torch.equal(straight.loss(checks.batch(seed=seed)), resumed.loss(checks.batch(seed=seed)))


def test_shuffling_draws_from_the_batchs_generator_alone(checks):
    batches = [checks.batch(64), checks.batch(64), checks.batch(64)]
    batches[2].generator.manual_seed(1)
    before = torch.get_rng_state()
    rigs = [checks.build(MoCoV2) for _ in batches]
    torch.set_rng_state(before)
    losses = [rig.loss(batch).item() for rig, batch in zip(rigs, batches, strict=True)]
    assert torch.equal(torch.get_rng_state(), before)
    assert losses[0] == losses[1]
    assert losses[0] != losses[2]  # other parts, other statistics
