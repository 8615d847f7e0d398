"""Rank measures against NumPy, scikit-learn and spectra made by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from medssl.tools import effective_rank
from medssl_evaluators.rank import Rank, decay


def observe(x, **options):
    observer = Rank(Rank.Config(**options), 0).fit(None, None)
    return observer.observe(x), observer


@pytest.fixture
def x():
    scale = torch.arange(1, 21, dtype=torch.float64) ** -1.0
    return torch.randn(200, 20, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * scale + 0.3


def test_effective_rank_equals_the_entropy_of_numpys_singular_values(x):
    sigma = np.linalg.svd(x.numpy(), compute_uv=False)
    p = [s / sum(sigma) + 1e-7 for s in sigma]
    seen, _ = observe(x)
    assert seen.values["effective_rank"] == pytest.approx(math.exp(-sum(q * math.log(q) for q in p)), rel=1e-9)


def test_principal_components_of_95_per_cent_equal_scikit_learns(x):
    seen, _ = observe(x)
    assert seen.values["dimensions_95"] == PCA(n_components=0.95, svd_solver="full").fit(x.numpy()).n_components_


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0])
def test_decay_of_a_power_law_is_its_exponent(alpha):
    variance = 3 * torch.arange(1, 101, dtype=torch.float64) ** -alpha
    assert decay(variance, 11, 500) == pytest.approx(alpha)


def test_decay_equals_numpys_least_squares(x):
    variance = torch.linalg.eigvalsh(x.T.cov()).flip(0)
    slope, _ = np.polyfit(np.log(np.arange(3, 16)), np.log(variance[2:15].numpy()), 1)
    seen, _ = observe(x, fit=(3, 15))
    assert seen.values["alpha"] == pytest.approx(-slope)


def test_decay_is_left_out_where_too_few_eigenvalues_are_left(x):
    seen, _ = observe(x[:9])
    assert set(seen.values) == {"effective_rank", "dimensions_95"}


def test_collapsed_features_have_rank_one_and_no_component():
    seen, _ = observe(torch.ones(30, 8))
    assert seen.values["effective_rank"] == pytest.approx(1, abs=1e-3)
    assert seen.values["dimensions_95"] == 0
    assert effective_rank(torch.zeros(4, 3)) == pytest.approx(1, abs=1e-3)


def test_fewer_samples_than_features_are_said(x):
    assert observe(x[:20])[1].notes == ("With 20 test images, the rank of the 20 features cannot exceed 20.",)
    assert observe(x)[1].notes == ()
