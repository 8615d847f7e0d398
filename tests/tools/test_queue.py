from __future__ import annotations

import io

import pytest
import torch
from torch.nn import functional as F

from medssl.tools import Queue


def drawn(n, *shape, seed=0):
    return torch.randn(n, *shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(3,), (2, 3)])
@pytest.mark.parametrize("length", [1, 4, 5, 12])
def test_holds_the_latest_rows_in_their_order_at_unit_length(length, shape):
    queue = Queue(length, *shape)
    expected = list(queue.rows)
    for seed, n in enumerate([2, 5, 3, 1]):
        z = drawn(n, *shape, seed=seed)
        queue.push(z)
        expected = [*expected, *F.normalize(z, dim=-1)][-length:]
    assert torch.equal(queue.rows, torch.stack(expected))
    torch.testing.assert_close(queue.rows.norm(dim=-1), torch.ones(length, *shape[:-1]))


def test_a_queue_of_no_length_stays_empty():
    queue = Queue(0, 3)
    queue.push(drawn(4, 3))
    assert queue.rows.shape == (0, 3)


def test_begins_with_random_directions_of_the_global_generator():
    torch.manual_seed(1)
    first = Queue(50, 8).rows
    torch.manual_seed(1)
    assert torch.equal(first, Queue(50, 8).rows)
    assert first.mean(dim=0).norm() < 0.4


def test_pushing_keeps_a_gradient_that_still_needs_the_old_rows_valid():
    queue, z = Queue(4, 3), drawn(2, 3).requires_grad_()
    old = queue.rows.clone()
    loss = (z @ queue.rows.T).sum()
    queue.push(z)
    loss.backward()
    torch.testing.assert_close(z.grad, old.sum(dim=0).expand(2, 3))
    assert not queue.rows.requires_grad


def test_state_is_restored_and_no_larger_than_the_rows():
    queue, other = Queue(1000, 8), Queue(1000, 8)
    queue.push(drawn(500, 8))
    file = io.BytesIO()
    torch.save(queue.state_dict(), file)
    assert file.tell() < 1000 * 8 * 4 + 4000
    other.load_state_dict(queue.state_dict())
    assert torch.equal(other.rows, queue.rows)
