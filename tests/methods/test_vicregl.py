from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from medssl.errors import OptionError
from medssl_methods.vicregl import VICRegL, locate, match


def criterion(z0, z1, invariance, variance, covariance):
    """VICReg's criterion of two (n, d) arrays in float64, entry by entry."""
    (n, d), total = z0.shape, 0.0
    for z in (z0, z1):
        x = z - z.mean(axis=0)
        deviation = np.sqrt((x**2).sum(axis=0) / (n - 1) + 1e-4)
        total += variance * np.maximum(0, 1 - deviation).sum() / (2 * d)
        cross = x.T @ x / (n - 1)
        total += covariance * sum(cross[a, b] ** 2 for a in range(d) for b in range(d) if a != b) / d
    return total + invariance * ((z0 - z1) ** 2).sum() / (n * d)


def matched(z, other, at, other_at, count):
    """The pairs of one image, in float64: each cell's nearest, then the closest pairs first."""
    pairs = []
    for p in range(len(z)):
        distances = [np.linalg.norm(at[p] - q) for q in other_at]
        pairs.append((min(distances), p, int(np.argmin(distances))))
    return [(z[p], other[q]) for _, p, q in sorted(pairs)[:count]]


def local_loop(maps, geometry, count, weights):
    z = [m.detach().double().flatten(2).mT.numpy() for m in maps]  # (n, cells, d)
    places = []
    for m, affine in zip(maps, geometry, strict=True):
        h, w = m.shape[2:]
        cells = [((2 * j + 1) / w - 1, (2 * i + 1) / h - 1, 1.0) for i in range(h) for j in range(w)]
        places.append(np.array([[a @ np.array(c) for c in cells] for a in affine.double().numpy()]))
    total = 0.0
    for a, b in ((0, 1), (1, 0)):
        for by in (z, places):
            pairs = [matched(z[a][i], z[b][i], by[a][i], by[b][i], count) for i in range(len(z[a]))]
            kept = len(pairs[0])
            per_pair = [
                criterion(
                    np.array([image[m][0] for image in pairs]), np.array([image[m][1] for image in pairs]), *weights
                )
                for m in range(kept)
            ]
            total += np.mean(per_pair) / 2
    return total


def maps_of(shapes, n=5, d=6, seed=0):
    rng = torch.Generator().manual_seed(seed)
    shared = torch.randn(n, d, 1, 1, generator=rng)
    return [0.5 * shared + 0.5 * torch.randn(n, d, *shape, generator=rng) for shape in shapes]


def without_heads(checks, **options):
    """The method's loss as a function of two feature maps."""
    rig = checks.build(VICRegL, **options)
    rig.method.expander = rig.method.local_head = nn.Identity()

    def loss(maps):
        return rig.method.loss(rig.batch(len(maps[0])), lambda views, dense: maps)

    return loss, rig


@pytest.mark.parametrize("weights", [(25.0, 25.0, 0.5), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)])
@pytest.mark.parametrize(("shapes", "count"), [(((3, 3), (3, 3)), 4), (((2, 3), (4, 2)), 5), (((2, 2), (2, 2)), 20)])
def test_local_loss_equals_the_float64_loop_term_by_term(checks, shapes, count, weights):
    names = ("invariance", "variance", "covariance")
    loss, rig = without_heads(checks, global_share=0.0, matches=count, **dict(zip(names, weights, strict=True)))
    maps = maps_of(shapes)
    expected = local_loop(maps, rig.batch(5).geometry, count, weights)
    assert loss(maps).item() == pytest.approx(expected, rel=1e-5)


def test_global_loss_is_that_of_vicreg_on_the_means_of_the_maps(checks):
    loss, _ = without_heads(checks, global_share=1.0)
    maps = maps_of([(3, 3), (2, 2)])
    means = [m.double().mean(dim=(2, 3)).numpy() for m in maps]
    assert loss(maps).item() == pytest.approx(criterion(*means, 25, 25, 0.5), rel=1e-5)


@pytest.mark.parametrize("share", [0.75, 0.0, 1.0])
def test_loss_and_gradient_equal_lightlys(checks, share):
    from lightly.loss.vicregl_loss import VICRegLLoss

    loss, rig = without_heads(checks, global_share=share, matches=4)
    maps = [m.requires_grad_() for m in maps_of([(3, 3), (3, 3)])]
    grids = [locate(3, 3, place).unflatten(1, (3, 3)) for place in rig.batch(5).geometry]
    features = [(m.mean(dim=(2, 3)), m.movedim(1, -1)) for m in maps]
    ours = loss(maps)
    theirs = VICRegLLoss(alpha=share, num_matches=(4, 4))(features, grids)
    torch.testing.assert_close(ours, theirs.squeeze())
    gradients = [torch.autograd.grad(value, maps, allow_unused=True) for value in (ours, theirs.squeeze())]
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_cells_are_located_by_their_centres():
    whole = torch.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])
    expected = [[-2 / 3, -0.5], [0, -0.5], [2 / 3, -0.5], [-2 / 3, 0.5], [0, 0.5], [2 / 3, 0.5]]
    torch.testing.assert_close(locate(2, 3, whole)[0], torch.tensor(expected))
    mirrored_right_half = torch.tensor([[[-0.5, 0.0, 0.5], [0.0, 1.0, 0.0]]])
    torch.testing.assert_close(locate(1, 2, mirrored_right_half)[0], torch.tensor([[0.75, 0.0], [0.25, 0.0]]))


def test_a_mirrored_view_is_matched_to_its_mirror_image():
    whole, mirrored = (torch.tensor([[[s, 0.0, 0.0], [0.0, 1.0, 0.0]]]) for s in (1.0, -1.0))
    z = torch.arange(9.0).view(1, 3, 3, 1)
    ours, theirs = match(z.flatten(1, 2), z.flip(2).flatten(1, 2), locate(3, 3, whole), locate(3, 3, mirrored), count=9)
    assert torch.equal(ours, theirs)


def test_closest_pairs_come_first_and_the_others_are_left_out():
    z, other = torch.tensor([[[0.0], [5.0], [10.0]]]), torch.tensor([[[10.1], [4.0], [0.5]]])
    ours, theirs = match(z, other, z, other, count=2)
    assert ours.flatten().tolist() == [10.0, 0.0]
    assert theirs.flatten().tolist() == pytest.approx([10.1, 0.5])


def test_one_encoding_serves_both_parts(checks):
    rig, calls = checks.build(VICRegL), []

    def encode(views, encoder=None, *, dense=False):
        calls.append(dense)
        return rig.encode(views, encoder, dense=dense)

    rig.method.loss(rig.batch(), encode)
    assert calls == [True]
    assert rig.method.views.geometry


def test_features_of_a_class_token_are_refused(checks):
    encoder = nn.Module()
    encoder.network = nn.Module()
    encoder.network.global_pool = "token"
    with pytest.raises(OptionError, match=r"pools its feature map by average.*class token"):
        VICRegL(VICRegL.Config(), encoder, checks.task())


@pytest.mark.parametrize(("feature_dim", "asked", "width"), [(2048, None, 512), (32, None, 8), (32, 5, 5)])
def test_local_head_is_a_quarter_as_wide_as_the_encoder_unless_told(checks, feature_dim, asked, width):
    method = VICRegL(VICRegL.Config(local_dim=asked, hidden_dim=4), nn.Identity(), checks.task(feature_dim))
    shapes = [tuple(x.weight.shape) for x in method.local_head.layers if isinstance(x, nn.Linear)]
    assert shapes == [(width, feature_dim), (width, width), (width, width)]


def test_smallest_batch_gives_a_finite_loss(checks):
    rig = checks.build(VICRegL)
    assert rig.loss(rig.batch(2)).isfinite()


def test_copy_of_the_method_gives_the_equal_loss(checks):
    rig = checks.build(VICRegL)
    assert torch.equal(copy.deepcopy(rig).loss(rig.batch()), rig.loss(rig.batch()))
