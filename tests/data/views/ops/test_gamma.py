"""Gamma beside numpy's power in float64."""

from __future__ import annotations

import numpy as np
import torch

from medssl.data.views.ops.gamma import Gamma


def test_gamma_is_the_power_of_every_grey_level_where_it_was_drawn(draw):
    drawn = draw(40, gamma=0.5, gamma_range=(0.5, 2), seed=7)
    gamma, x = drawn.p["gamma"], torch.rand(40, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    x[:, :, 0, 0], x[:, :, 0, 1] = 0, 1
    result = drawn.apply(x.clone(), Gamma)
    np.testing.assert_allclose(result.numpy(), x.double().numpy() ** gamma[:, None, None, None], atol=1e-6)
    still = torch.from_numpy(gamma == 1)
    assert 10 < still.sum() < 30
    assert torch.equal(result[still], x[still])
