from __future__ import annotations

import numpy as np
import pytest
import torch

from medssl.errors import TrainingError
from medssl_methods.wmse import WMSE, pairwise_distance, whiten


def loop(views, parts=(...,)):
    """W-MSE in float64: whiten each view of each part, then average over pairs of views and samples."""
    views = [np.asarray(z.detach(), dtype=np.float64) for z in views]
    distances = []
    for part in parts:
        whitened = []
        for z in views:
            x = z[part] - z[part].mean(axis=0)
            factor = np.linalg.cholesky(np.cov(x.T).reshape(z.shape[1], -1))
            rows = [np.linalg.solve(factor, row) for row in x]
            whitened.append([row / np.linalg.norm(row) for row in rows])
        for i in range(len(views)):
            for j in range(i):
                distances += [((a - b) ** 2).sum() for a, b in zip(whitened[i], whitened[j], strict=True)]
    return np.mean(distances)


def without_head(checks, **options):
    """The method's loss as a function of the embeddings themselves."""
    rig = checks.build(WMSE, **options)
    rig.method.head = torch.nn.Identity()
    return lambda *z: rig.method.loss(checks.batch(), lambda views: z)


@pytest.mark.parametrize("views", [2, 4])
@pytest.mark.parametrize(("n", "d"), [(3, 1), (6, 3), (15, 8)])
def test_loss_equals_the_float64_loop(checks, embeddings, n, d, views):
    z = [*embeddings(n, d, seed=n), *embeddings(n, d, seed=n + 1)][:views]
    loss = without_head(checks, shrinkage=0.0, view_count=views)(*z).item()
    assert loss == pytest.approx(loop(z), rel=1e-4)


def test_loss_equals_lightlys(embeddings):
    from lightly.loss.wmse_loss import WMSELoss

    z = embeddings(16, 5)
    theirs = WMSELoss(embedding_dim=5, w_size=16, num_samples=2)(torch.cat(z)).item()
    ours = pairwise_distance(whiten(torch.stack(z), 0.0)).item()
    assert ours == pytest.approx(theirs, rel=1e-4)


def test_whitened_embeddings_have_mean_zero_and_the_identity_as_covariance(embeddings):
    z = torch.stack(embeddings(40, 6)).double() * torch.logspace(-3, 3, 6) + 5
    for view in whiten(z, 0.0):
        torch.testing.assert_close(view.mean(dim=0), torch.zeros(6).double(), atol=1e-9, rtol=0)
        torch.testing.assert_close(torch.cov(view.T), torch.eye(6).double())


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_shrinkage_keeps_embeddings_in_a_line_finite_whatever_their_scale(scale):
    line = scale * torch.randn(8, 1, generator=torch.Generator().manual_seed(0)) * torch.ones(1, 4)
    line.requires_grad_()
    whitened = whiten(line, 1e-3)
    whitened.square().sum().backward()
    assert whitened.isfinite().all()
    assert line.grad.isfinite().all()
    torch.testing.assert_close(whitened, whiten(line / scale, 1e-3), rtol=1e-2, atol=1e-2)


def test_large_batches_are_whitened_in_parts_that_the_batchs_generator_draws(checks, embeddings):
    z = embeddings(13, 3)
    loss = without_head(checks, shrinkage=0.0)
    order = torch.randperm(13, generator=torch.Generator().manual_seed(0)).tolist()
    assert loss(*z).item() == pytest.approx(loop(z, [order[:7], order[7:]]), rel=1e-4)
    repeated = without_head(checks, shrinkage=0.0, whitenings=2)(*z).item()
    assert repeated != pytest.approx(loss(*z).item(), rel=1e-4)


def test_gradient_agrees_with_finite_differences(embeddings):
    z = torch.stack(embeddings(7, 3)).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda z: pairwise_distance(whiten(z, 1e-3)), z)


def test_equal_views_cost_nothing_and_opposite_ones_four(checks, embeddings):
    z, _ = embeddings(9, 4)
    loss = without_head(checks)
    assert loss(z, z).item() == pytest.approx(0, abs=1e-5)
    assert loss(z, -z).item() == pytest.approx(4, abs=1e-5)


@pytest.mark.parametrize(("batch_size", "dim"), [(2, 1), (3, 1), (16, 8), (64, 32), (256, 64)])
def test_embedding_is_half_as_wide_as_the_batch_and_64_at_most(checks, batch_size, dim):
    from dataclasses import replace

    method = WMSE(WMSE.Config(), torch.nn.Identity(), replace(checks.task(512), batch_size=batch_size))
    shapes = [tuple(x.weight.shape) for x in method.head.layers if isinstance(x, torch.nn.Linear)]
    assert shapes == [(1024, 512), (dim, 1024)]


def test_smallest_batch_gives_a_finite_loss(checks):
    rig = checks.build(WMSE, output_dim=1)
    assert rig.loss(rig.batch(2)).isfinite()


def test_too_few_samples_are_refused_with_both_numbers(checks):
    rig = checks.build(WMSE, output_dim=12)
    with pytest.raises(TrainingError, match=r"12 dimensions with the 12 samples.*method\.output_dim"):
        rig.loss(rig.batch(12))


def test_head_takes_its_statistics_from_each_view_alone(checks):
    checks.statistics_are_of_each_view_alone(WMSE)
