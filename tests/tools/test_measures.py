"""Measures of features against loops in float64 and known cases."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from medssl.tools import alignment, effective_rank, feature_std, uniformity


@pytest.fixture
def x():
    return torch.randn(40, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 0.5


def unit(row):
    return row / math.sqrt(sum(value * value for value in row))


def test_feature_std_equals_a_loop_over_channels(x):
    rows = np.stack([unit(row) for row in x.numpy()])
    by_channel = [math.sqrt(sum((v - c.mean()) ** 2 for v in c) / (len(c) - 1)) for c in rows.T]
    assert feature_std(x) == pytest.approx(sum(by_channel) / 7 * math.sqrt(7), rel=1e-12)


def test_feature_std_of_isotropic_features_is_near_one_and_of_collapsed_ones_zero():
    isotropic = torch.randn(4000, 64, generator=torch.Generator().manual_seed(0))
    assert feature_std(isotropic) == pytest.approx(1, abs=0.01)
    assert feature_std(torch.ones(5, 64) * torch.arange(1.0, 6.0)[:, None]) == pytest.approx(0, abs=1e-6)


def test_effective_rank_equals_the_entropy_of_numpys_singular_values(x):
    sigma = np.linalg.svd(x.numpy(), compute_uv=False)
    p = [s / sum(sigma) + 1e-7 for s in sigma]
    assert effective_rank(x) == pytest.approx(math.exp(-sum(q * math.log(q) for q in p)), rel=1e-12)


@pytest.mark.parametrize("rank", [1, 3, 8])
def test_effective_rank_counts_equally_used_dimensions(rank):
    x = torch.eye(8, dtype=torch.float64)[:, :rank].repeat(4, 1) @ torch.eye(rank, 8, dtype=torch.float64)
    assert effective_rank(x) == pytest.approx(rank, rel=1e-4)


def test_effective_rank_of_features_that_are_all_zero_is_a_number():
    assert effective_rank(torch.zeros(6, 4)) == pytest.approx(1, abs=1e-3)


def test_alignment_equals_a_loop_over_pairs(x):
    y = x.flip(1)
    pairs = zip(x.numpy(), y.numpy(), strict=True)
    expected = np.mean([np.linalg.norm(unit(a) - unit(b)) ** 3 for a, b in pairs])
    assert alignment(x, y, alpha=3) == pytest.approx(expected, rel=1e-12)
    assert alignment(x, 2 * x) == pytest.approx(0, abs=1e-12)
    assert alignment(x, -x) == pytest.approx(4, rel=1e-12)


def test_uniformity_equals_a_loop_over_pairs(x):
    rows = [unit(row) for row in x.numpy()]
    potentials = [math.exp(-2 * ((rows[i] - rows[j]) ** 2).sum()) for i in range(40) for j in range(i)]
    assert uniformity(x) == pytest.approx(math.log(np.mean(potentials)), rel=1e-12)


def test_uniformity_of_collapsed_features_is_zero():
    assert uniformity(torch.ones(9, 5)) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_reduced_precision_is_measured_in_float32(x, dtype):
    low = x.to(dtype)
    for measure in (feature_std, effective_rank, uniformity):
        assert measure(low.requires_grad_()) == pytest.approx(measure(low.detach().float()), rel=1e-6)


def test_spread_bounds_the_mean_cosine_similarity(x):
    """What the limit of a complete collapse is derived from: spread squared is at most one less the mean cosine."""
    unit_rows = np.stack([unit(row) for row in x.numpy()])
    cosine = [unit_rows[i] @ unit_rows[j] for i in range(40) for j in range(i)]
    assert feature_std(x) ** 2 <= 1 - np.mean(cosine) + 1e-12
