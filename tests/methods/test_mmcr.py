from __future__ import annotations

import numpy as np
import pytest
import torch

from medssl_methods.mmcr import MMCR, mmcr_loss


def nuclear(matrix):
    """Sum of the singular values, as square roots of the eigenvalues of the Gram matrix."""
    return np.sqrt(np.linalg.eigvalsh(matrix @ matrix.T).clip(0)).sum()


def loop(z, compression):
    z = np.asarray(z.detach(), dtype=np.float64)
    z = z / np.linalg.norm(z, axis=2, keepdims=True)
    own = [nuclear(z[:, i]) for i in range(z.shape[1])]
    return compression * np.mean(own) - nuclear(z.mean(axis=0))


@pytest.mark.parametrize("compression", [0.0, 0.5])
@pytest.mark.parametrize(("views", "n", "d"), [(2, 2, 3), (2, 7, 4), (4, 5, 9)])
def test_loss_equals_the_float64_loop(embeddings, views, n, d, compression):
    z = torch.stack([*embeddings(n, d, seed=n), *embeddings(n, d, seed=n + 1)][:views])
    assert mmcr_loss(z, compression).item() == pytest.approx(loop(z, compression), rel=1e-5)


def test_loss_and_gradient_equal_lightlys_at_unit_length(embeddings):
    from lightly.loss.mmcr_loss import MMCRLoss

    z = torch.nn.functional.normalize(torch.stack(embeddings(8, 5)), dim=2).requires_grad_()
    ours, theirs = mmcr_loss(z, 0.1), MMCRLoss(lmda=0.1)(z[:1].transpose(0, 1), z[1:].transpose(0, 1))
    torch.testing.assert_close(ours, theirs)
    gradients = [torch.autograd.grad(loss, z)[0] for loss in (ours, theirs)]
    tangential = [g - (g * z).sum(dim=2, keepdim=True) * z for g in gradients]  # ours normalises once more
    torch.testing.assert_close(*tangential, atol=1e-5, rtol=1e-4)


def test_equal_views_in_orthogonal_directions_reach_the_smallest_value():
    z = 3 * torch.eye(4)[None].repeat(2, 1, 1)
    assert mmcr_loss(z, 0.0).item() == pytest.approx(-4)


def test_collapsed_embeddings_have_a_single_direction():
    z = torch.ones(2, 9, 5)
    assert mmcr_loss(z, 0.0).item() == pytest.approx(-3)  # nine unit vectors in one direction


def test_opposite_views_cancel():
    z, _ = torch.randn(2, 4, 5, generator=torch.Generator().manual_seed(0))
    assert mmcr_loss(torch.stack([z, -z]), 0.0).item() == pytest.approx(0, abs=1e-6)


def test_gradient_agrees_with_finite_differences(embeddings):
    z = torch.stack(embeddings(4, 3)).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda z: mmcr_loss(z, 0.5), z)


def test_equal_singular_values_and_more_samples_than_dimensions_give_finite_gradients():
    for z in (torch.eye(4)[None].repeat(2, 1, 1), torch.ones(2, 9, 5)):
        z.requires_grad_()
        mmcr_loss(z, 0.5).backward()
        assert z.grad.isfinite().all()


def test_method_applies_the_loss_to_the_embeddings_of_all_views(checks):
    rig = checks.build(MMCR, view_count=3, compression=0.2)
    batch = rig.batch()
    z = torch.stack([rig.method.head(features) for features in rig.encode(batch.views)])
    assert len(batch.views) == 3
    assert rig.loss(batch).item() == pytest.approx(loop(z, 0.2), rel=1e-4)


@pytest.mark.parametrize(("feature_dim", "hidden"), [(32, 32), (2048, 512)])
def test_head_is_no_wider_than_the_encoder(checks, feature_dim, hidden):
    method = MMCR(MMCR.Config(), torch.nn.Identity(), checks.task(feature_dim))
    shapes = [tuple(x.weight.shape) for x in method.head.layers if isinstance(x, torch.nn.Linear)]
    assert shapes == [(hidden, feature_dim), (128, hidden)]


def test_smallest_batch_gives_a_finite_loss(checks):
    rig = checks.build(MMCR)
    assert rig.loss(rig.batch(2)).isfinite()


def test_head_takes_its_statistics_from_each_view_alone(checks):
    checks.statistics_are_of_each_view_alone(MMCR)
