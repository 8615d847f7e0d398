from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from lightly.loss import NTXentLoss
from torch.nn import functional as F

from medssl_methods._contrast import info_nce


def loop(queries, keys, temperature, negatives=None):
    """Equation 1 of MoCo, query by query in float64; without a queue the other samples' keys are the negatives."""
    q, k = (np.asarray(x.detach(), dtype=np.float64) for x in (queries, keys))
    q, k = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (q, k))
    total = 0.0
    for i in range(len(q)):
        others = [k[j] for j in range(len(k)) if j != i] if negatives is None else np.asarray(negatives, np.float64)
        own = q[i] @ k[i] / temperature
        total += math.log(math.exp(own) + sum(math.exp(q[i] @ other / temperature) for other in others)) - own
    return total / len(q)


@pytest.mark.parametrize("temperature", [0.07, 0.2, 1.0])
@pytest.mark.parametrize(("n", "d"), [(2, 1), (3, 4), (17, 8)])
def test_loss_equals_the_float64_loop(embeddings, n, d, temperature):
    queries, keys = embeddings(n, d, seed=n)
    negatives = F.normalize(embeddings(2 * n, d, seed=99)[0], dim=1)
    assert info_nce(queries, keys, temperature).item() == pytest.approx(loop(queries, keys, temperature), abs=1e-5)
    with_queue = info_nce(queries, keys, temperature, negatives).item()
    assert with_queue == pytest.approx(loop(queries, keys, temperature, negatives), abs=1e-5)


def test_loss_equals_lightlys_with_a_memory_bank(embeddings):
    (queries, keys), negatives = embeddings(9), F.normalize(embeddings(20)[0], dim=1)
    theirs = NTXentLoss(0.2, memory_bank_size=(20, 5))
    theirs.memory_bank.bank = negatives
    assert info_nce(queries, keys, 0.2, negatives).item() == pytest.approx(theirs(queries, keys).item(), abs=1e-6)


def test_hand_values_of_two_samples():
    z = torch.eye(2)
    assert info_nce(z, z, 0.5).item() == pytest.approx(math.log(1 + math.exp(-1 / 0.5)))
    assert info_nce(z, z.flip(0), 0.5).item() == pytest.approx(math.log(1 + math.exp(1 / 0.5)))
    assert info_nce(z, z, 0.5, torch.tensor([[0.0, -1.0]])).item() == pytest.approx(
        (math.log(1 + math.exp(-1 / 0.5)) + math.log(1 + math.exp(-2 / 0.5))) / 2
    )


def test_gradient_agrees_with_finite_differences(embeddings):
    queries, keys = (z.double().requires_grad_() for z in embeddings(4, 3))
    negatives = F.normalize(embeddings(5, 3, seed=1)[0], dim=1).double()
    assert torch.autograd.gradcheck(lambda q, k: info_nce(q, k, 0.3), (queries, keys))
    assert torch.autograd.gradcheck(lambda q, k: info_nce(q, k, 0.3, negatives), (queries, keys))


@pytest.mark.parametrize("temperature", [1e-3, 1e3])
def test_extreme_temperatures_give_finite_losses_and_gradients(embeddings, temperature):
    queries, keys = (z.requires_grad_() for z in embeddings(9))
    loss = info_nce(queries, keys, temperature)
    loss.backward()
    assert loss.isfinite()
    assert queries.grad.isfinite().all()
