from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from lightly.loss import DCLLoss

from medssl.errors import TrainingError
from medssl_methods.dcl import DCL, dcl_loss


def loop(z0, z1, temperature):
    """Equation 6, anchor by anchor in float64, divided by the number of anchors."""
    views = [np.asarray(z, dtype=np.float64) for z in (z0, z1)]
    z = [view / np.linalg.norm(view, axis=1, keepdims=True) for view in views]
    n, total = len(z[0]), 0.0
    for k in range(2):
        for i in range(n):
            others = [z[k][i] @ z[v][j] / temperature for v in range(2) for j in range(n) if j != i]
            largest = max(others)
            total += largest + math.log(sum(math.exp(s - largest) for s in others))
            total -= z[0][i] @ z[1][i] / temperature
    return total / (2 * n)


@pytest.mark.parametrize("temperature", [0.05, 0.1, 0.5, 2.0])
@pytest.mark.parametrize(("n", "d"), [(2, 1), (2, 5), (3, 2), (17, 8), (64, 128)])
def test_loss_equals_the_float64_loop_and_lightly(embeddings, n, d, temperature):
    z0, z1 = embeddings(n, d, seed=n)
    loss = dcl_loss(z0, z1, temperature).item()
    assert loss == pytest.approx(loop(z0, z1, temperature), rel=1e-6, abs=5e-6)
    assert loss == pytest.approx(DCLLoss(temperature)(z0, z1).item(), rel=1e-6, abs=1e-6)
    exact = dcl_loss(z0.double(), z1.double(), temperature).item()
    assert exact == pytest.approx(loop(z0, z1, temperature), abs=1e-12, rel=1e-12)


def test_two_samples_that_agree_and_are_orthogonal_give_log_two_less_the_pair():
    z = torch.eye(2)
    assert dcl_loss(z, z, 0.5).item() == pytest.approx(math.log(2) - 1 / 0.5)


def test_two_samples_with_exchanged_views_give_the_soft_plus_of_the_negative():
    z = torch.eye(2)
    assert dcl_loss(z, z.flip(0), 0.5).item() == pytest.approx(math.log(1 + math.exp(1 / 0.5)))


@pytest.mark.parametrize("n", [2, 5, 64])
def test_collapsed_embeddings_give_the_logarithm_of_the_number_of_negatives(n):
    z = torch.ones(n, 4)
    assert dcl_loss(z, z, 0.1).item() == pytest.approx(math.log(2 * n - 2), abs=1e-5)


def test_gradient_agrees_with_finite_differences(embeddings):
    z0, z1 = (z.double().requires_grad_() for z in embeddings(4, 3))
    weight = torch.tensor([0.5, 1.5, -0.5, 2.5], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda a, b: dcl_loss(a, b, 0.3), (z0, z1))
    assert torch.autograd.gradcheck(lambda a, b: dcl_loss(a, b, 0.3, weight), (z0, z1))


def test_swapping_the_views_changes_nothing(embeddings):
    z0, z1 = embeddings(9)
    assert dcl_loss(z0, z1, 0.1).item() == pytest.approx(dcl_loss(z1, z0, 0.1).item(), abs=1e-5)


def test_reordering_the_samples_changes_nothing(embeddings):
    z0, z1 = embeddings(9)
    order = torch.randperm(9, generator=torch.Generator().manual_seed(1))
    assert dcl_loss(z0[order], z1[order], 0.1).item() == pytest.approx(dcl_loss(z0, z1, 0.1).item(), abs=1e-5)


@pytest.mark.parametrize("scale", [1e-6, 1e-2, 1e3, 1e15])
def test_the_length_of_an_embedding_changes_nothing(embeddings, scale):
    z0, z1 = embeddings(9)
    lengths = scale * torch.arange(1, 10).unsqueeze(1)
    assert dcl_loss(z0 * lengths, z1, 0.1).item() == pytest.approx(dcl_loss(z0, z1, 0.1).item(), abs=1e-5)


@pytest.mark.parametrize("temperature", [1e-6, 1e-3, 1e3, 1e6])
def test_extreme_temperatures_give_finite_losses_and_gradients(embeddings, temperature):
    z0, z1 = (z.requires_grad_() for z in embeddings(9))
    loss = dcl_loss(z0, z1, temperature)
    loss.backward()
    assert loss.item() == pytest.approx(loop(z0.detach(), z1.detach(), temperature), rel=1e-5)
    assert z0.grad.isfinite().all()
    assert z1.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_input_is_computed_in_float32(embeddings, dtype):
    z0, z1 = (z.to(dtype) for z in embeddings(9))
    loss = dcl_loss(z0, z1, 0.1)
    assert loss.dtype == torch.float32
    assert loss.item() == dcl_loss(z0.float(), z1.float(), 0.1).item()


def test_one_sample_has_no_negatives_and_is_refused(embeddings):
    with pytest.raises(TrainingError, match="at least 2 samples in a batch, but this one has 1"):
        dcl_loss(*embeddings(1), 0.1)


@pytest.mark.slow
def test_the_loss_compiles_into_one_graph(embeddings):
    z0, z1 = embeddings(9)
    compiled = torch.compile(dcl_loss, backend="eager", fullgraph=True)
    assert torch.equal(compiled(z0, z1, 0.1), dcl_loss(z0, z1, 0.1))


def test_method_applies_the_loss_to_the_heads_embeddings_at_its_temperature(checks):
    rig, batch = checks.build(DCL, temperature=0.3), checks.batch()
    z0, z1 = (rig.method.head(features).detach() for features in rig.encode(batch.views))
    assert rig.loss(batch).item() == pytest.approx(loop(z0, z1, 0.3), abs=1e-5)


@pytest.mark.parametrize(("feature_dim", "hidden"), [(64, 64), (512, 512), (2048, 2048)])
def test_head_is_as_wide_as_the_encoder_unless_told_otherwise(checks, feature_dim, hidden):
    head = DCL(DCL.Config(), torch.nn.Identity(), checks.task(feature_dim)).head
    assert [layer.weight.shape for layer in head.layers if isinstance(layer, torch.nn.Linear)] == [
        (hidden, feature_dim),
        (128, hidden),
    ]
    head = DCL(DCL.Config(hidden_dim=16, output_dim=8), torch.nn.Identity(), checks.task(feature_dim)).head
    assert head(torch.randn(4, feature_dim)).shape == (4, 8)
    assert head.layers[0].weight.shape == (16, feature_dim)


def test_head_takes_its_statistics_from_each_view_alone(checks):
    checks.statistics_are_of_each_view_alone(DCL)
