from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch
from lightly.loss import DCLWLoss

from medssl.errors import TrainingError
from medssl_methods.dcl import dcl_loss
from medssl_methods.dclw import DCLW, dclw_loss, von_mises_fisher_weight


def loop(z0, z1, temperature, sigma, anchors=2):
    """Equation 6 with a weight on each positive pair, anchor by anchor in float64; the loss and the weights."""
    z = [view / np.linalg.norm(view, axis=1, keepdims=True) for view in (np.asarray(z0, float), np.asarray(z1, float))]
    n, total = len(z[0]), 0.0
    agreement = [math.exp(z[0][i] @ z[1][i] / sigma) for i in range(n)]
    weights = [2 - agreement[i] / (sum(agreement) / n) for i in range(n)]
    for k in range(anchors):
        for i in range(n):
            others = [z[k][i] @ z[v][j] / temperature for v in range(2) for j in range(n) if j != i]
            total += math.log(sum(math.exp(s) for s in others)) - weights[i] * (z[0][i] @ z[1][i]) / temperature
    return total / (anchors * n), weights


def lightly_loss(z0, z1, temperature, sigma):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "To copy construct from a tensor", UserWarning)
        return DCLWLoss(temperature, sigma)(z0, z1)


@pytest.mark.parametrize(("temperature", "sigma"), [(0.05, 0.5), (0.1, 0.5), (0.5, 0.1), (2.0, 2.0)])
@pytest.mark.parametrize(("n", "d"), [(2, 1), (2, 5), (3, 2), (17, 8), (64, 128)])
def test_loss_equals_the_float64_loop_and_lightly(embeddings, n, d, temperature, sigma):
    z0, z1 = embeddings(n, d, seed=n)
    loss = dclw_loss(z0, z1, temperature, sigma).item()
    expected, weights = loop(z0, z1, temperature, sigma)
    assert loss == pytest.approx(expected, rel=1e-6, abs=1e-5)
    assert loss == pytest.approx(lightly_loss(z0, z1, temperature, sigma).item(), rel=1e-6, abs=1e-6)
    assert von_mises_fisher_weight(z0, z1, sigma).tolist() == pytest.approx(weights, abs=1e-5)


@pytest.mark.parametrize("n", [2, 7])
def test_one_way_loss_has_the_first_view_as_its_only_anchor(embeddings, n):
    z0, z1 = embeddings(n, 5)
    expected, _ = loop(z0, z1, 0.3, 0.5, anchors=1)
    assert dclw_loss(z0, z1, 0.3, 0.5, symmetric=False).item() == pytest.approx(expected, rel=1e-6)


def test_weights_that_are_not_detached_are_learnt_from(embeddings):
    z0, z1 = (z.double().requires_grad_() for z in embeddings(6, 3))
    loss = dclw_loss(z0, z1, 0.3, 0.5, detach_weight=False)
    assert loss.item() == pytest.approx(dclw_loss(z0, z1, 0.3, 0.5).item())
    (gradient,) = torch.autograd.grad(loss, z0)
    step = torch.zeros_like(z0)
    step[2, 1] = 1e-6
    above, below = (loop((z0 + s * step).detach(), z1.detach(), 0.3, 0.5)[0] for s in (1, -1))
    assert gradient[2, 1].item() == pytest.approx((above - below) / 2e-6, rel=1e-5)


def test_hand_value_of_two_samples():
    z0 = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    z1 = torch.tensor([[1.0, 0.0], [1.0, 0.0]])  # cosines of the pairs: 1 and 0
    weight = 2 / (math.exp(2) + 1)  # of the first pair, 2 - 2 e^2 / (e^2 + 1); the second pair's cosine is 0
    negatives = [math.log(1 + math.e), math.log(2), math.log(1 + math.e), 1 + math.log(2)]
    assert von_mises_fisher_weight(z0, z1, 0.5).tolist() == pytest.approx([weight, 2 - weight])
    assert dclw_loss(z0, z1, 1.0, 0.5).item() == pytest.approx(sum(negatives) / 4 - weight / 2)


@pytest.mark.parametrize("sigma", [0.05, 0.5, 5.0])
def test_weights_average_to_one_and_stay_below_two(embeddings, sigma):
    weight = von_mises_fisher_weight(*embeddings(64), sigma)
    assert weight.mean().item() == pytest.approx(1, abs=1e-5)
    assert weight.max() <= 2


def test_one_pair_that_agrees_alone_has_a_negative_weight():
    z0 = torch.nn.functional.one_hot(torch.arange(16)).float()
    z1 = -z0
    z1[0] = z0[0]
    weight = von_mises_fisher_weight(z0, z1, 0.5)
    share = math.exp(2) / (math.exp(2) + 15 * math.exp(-2))
    assert weight[0].item() == pytest.approx(2 - 16 * share)
    assert weight[0] < -10
    assert dclw_loss(z0, z1, 0.1, 0.5).isfinite()


def test_a_wide_sigma_gives_the_unweighted_loss(embeddings):
    z0, z1 = embeddings(9)
    assert dclw_loss(z0, z1, 0.1, 1e6).item() == pytest.approx(dcl_loss(z0, z1, 0.1).item(), abs=1e-4)


def test_gradient_treats_the_weights_as_constants(embeddings):
    z0, z1 = (z.double().requires_grad_() for z in embeddings(6, 3))
    weight = torch.tensor(loop(z0.detach(), z1.detach(), 0.3, 0.5)[1], dtype=torch.float64)
    ours = torch.autograd.grad(dclw_loss(z0, z1, 0.3, 0.5), (z0, z1))
    constant = torch.autograd.grad(dcl_loss(z0, z1, 0.3, weight), (z0, z1))
    theirs = torch.autograd.grad(lightly_loss(z0, z1, 0.3, 0.5), (z0, z1))
    for a, b, c in zip(ours, constant, theirs, strict=True):
        torch.testing.assert_close(a, b, atol=1e-12, rtol=1e-10)
        torch.testing.assert_close(a, c, atol=1e-12, rtol=1e-10)


def test_swapping_the_views_or_reordering_the_samples_changes_nothing(embeddings):
    z0, z1 = embeddings(9)
    order = torch.randperm(9, generator=torch.Generator().manual_seed(1))
    loss = dclw_loss(z0, z1, 0.1, 0.5).item()
    assert dclw_loss(z1, z0, 0.1, 0.5).item() == pytest.approx(loss, abs=1e-5)
    assert dclw_loss(z0[order], z1[order], 0.1, 0.5).item() == pytest.approx(loss, abs=1e-5)


@pytest.mark.parametrize("scale", [1e-6, 1e-2, 1e3, 1e15])
def test_the_length_of_an_embedding_changes_nothing(embeddings, scale):
    z0, z1 = embeddings(9)
    lengths = scale * torch.arange(1, 10).unsqueeze(1)
    scaled = dclw_loss(z0 * lengths, z1, 0.1, 0.5).item()
    assert scaled == pytest.approx(dclw_loss(z0, z1, 0.1, 0.5).item(), abs=1e-5)


@pytest.mark.parametrize(("temperature", "sigma"), [(1e-3, 1e-6), (1e3, 1e-6), (0.1, 1e6), (1e6, 1e6)])
def test_extreme_temperatures_give_finite_losses_and_gradients(embeddings, temperature, sigma):
    z0, z1 = (z.requires_grad_() for z in embeddings(9))
    loss = dclw_loss(z0, z1, temperature, sigma)
    loss.backward()
    assert loss.isfinite()
    assert z0.grad.isfinite().all()
    assert z1.grad.isfinite().all()


def test_half_precision_input_is_computed_in_float32(embeddings):
    z0, z1 = (z.half() for z in embeddings(9))
    loss = dclw_loss(z0, z1, 0.1, 0.5)
    assert loss.dtype == torch.float32
    assert loss.item() == dclw_loss(z0.float(), z1.float(), 0.1, 0.5).item()


def test_one_sample_has_no_negatives_and_is_refused(embeddings):
    with pytest.raises(TrainingError, match="at least 2 samples in a batch"):
        dclw_loss(*embeddings(1), 0.1, 0.5)


@pytest.mark.slow
def test_the_loss_compiles_into_one_graph(embeddings):
    z0, z1 = embeddings(9)
    compiled = torch.compile(dclw_loss, backend="eager", fullgraph=True)
    assert torch.equal(compiled(z0, z1, 0.1, 0.5), dclw_loss(z0, z1, 0.1, 0.5))


def test_method_applies_the_loss_to_the_heads_embeddings_with_its_options(checks):
    rig, batch = checks.build(DCLW, temperature=0.3, sigma=0.2), checks.batch()
    z0, z1 = (rig.method.head(features).detach() for features in rig.encode(batch.views))
    assert rig.loss(batch).item() == pytest.approx(loop(z0, z1, 0.3, 0.2)[0], abs=1e-5)


def test_head_is_as_wide_as_the_encoder_unless_told_otherwise(checks):
    checks.head_is_as_wide_as_the_encoder(DCLW)


def test_head_takes_its_statistics_from_each_view_alone(checks):
    checks.statistics_are_of_each_view_alone(DCLW)
