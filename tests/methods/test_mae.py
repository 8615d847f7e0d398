from __future__ import annotations

import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from medssl.errors import OptionError
from medssl_methods.mae import MAE

SIDE, PATCH = 16, 4


def build(checks, seed=0, pool="token", **options):
    """A method on a vision transformer of 16 patches of 4 x 4 pixels, and an ``encode`` that calls what it is given."""
    torch.manual_seed(seed)
    vit = VisionTransformer(
        img_size=SIDE, patch_size=PATCH, embed_dim=32, depth=2, num_heads=2, num_classes=0, global_pool=pool
    )
    task = replace(checks.task(32), image_size=SIDE)
    return vit, MAE(MAE.Config(**({"decoder_depth": 1} | options)), vit, task)


def encode(views, encoder, *, beside):
    return tuple(encoder(*inputs) for inputs in zip(views, beside, strict=True))


def stripes(count, seed):
    """Images (count, 3, 16, 16) of stripes in one of three directions under noise, and the directions."""
    rng = torch.Generator().manual_seed(seed)
    label = torch.arange(count) % 3
    angle, phase = label * math.pi / 3, 2 * math.pi * torch.rand(count, generator=rng)
    y, x = torch.meshgrid(*[torch.arange(SIDE) * 2 * math.pi / 8] * 2, indexing="ij")
    wave = [torch.sin(a.cos() * x + a.sin() * y + p) for a, p in zip(angle, phase, strict=True)]
    images = torch.stack(wave)[:, None].repeat(1, 3, 1, 1)
    return images + 0.5 * torch.randn(images.shape, generator=rng), label


def batch(checks, count=6, seed=0, side=SIDE):
    views = (torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(seed)),)
    return replace(checks.batch(count, seed), views=views)


def cut(image, row, column):
    """The pixels of one patch, channel by channel and row by row, normalised in float64."""
    pixels = image[:, PATCH * row : PATCH * (row + 1), PATCH * column : PATCH * (column + 1)].double().numpy().ravel()
    return (pixels - pixels.mean()) / np.sqrt(pixels.var() + 1e-6)


def test_loss_equals_the_float64_loop_over_hidden_patches(checks):
    _, method = build(checks)
    data, caught = batch(checks), {}

    def catch(views, encoder, *, beside):
        caught["visible"], caught["predicted"] = beside[0], encoder(views[0], beside[0])
        return (caught["predicted"],)

    loss = method.loss(data, catch).item()
    errors = []
    for i, image in enumerate(data.views[0]):
        for place in set(range(16)) - set(caught["visible"][i].tolist()):
            predicted = caught["predicted"][i, place].detach().double().numpy()
            errors.append(((predicted - cut(image, place // 4, place % 4)) ** 2).mean())
    assert len(errors) == 6 * 12
    assert loss == pytest.approx(np.mean(errors), rel=1e-5)


def test_encoder_sees_the_visible_patches_and_the_class_token_only(checks):
    vit, method = build(checks)
    shapes = []
    vit.blocks[0].register_forward_hook(lambda _, inputs, __: shapes.append(tuple(inputs[0].shape)))
    method.loss(batch(checks), encode)
    assert shapes == [(6, 1 + 4, 32)]


def test_prediction_ignores_the_pixels_of_hidden_patches(checks):
    _, method = build(checks)
    found = []

    def catch(views, encoder, *, beside):
        (visible,) = beside
        place = visible[0].sort().values
        changed = views[0].clone()
        for hidden in set(range(16)) - set(place.tolist()):
            y, x = PATCH * (hidden // 4), PATCH * (hidden % 4)
            changed[0, :, y : y + PATCH, x : x + PATCH] = 100.0
        found.extend([encoder(views[0], visible)[0], encoder(changed, visible)[0]])
        return (encoder(views[0], visible),)

    method.loss(batch(checks), catch)
    torch.testing.assert_close(*found)


def test_with_every_patch_visible_the_encoder_is_timms(checks):
    from medssl_methods.mae import _Autoencoder

    class Tokens(nn.Module):
        def forward(self, tokens, visible, grid):
            return tokens

    vit, _ = build(checks)
    images = batch(checks).views[0]
    order = torch.arange(16).flip(0).expand(6, -1)
    tokens = _Autoencoder(vit, Tokens(), (4, 4))(images, order)
    expected = vit.forward_features(images)
    torch.testing.assert_close(tokens[:, 0], expected[:, 0])
    torch.testing.assert_close(tokens[:, 1:], expected[:, 1:].flip(1))


@pytest.mark.parametrize(("ratio", "visible"), [(0.75, 4), (0.5, 8), (0.99, 1)])
def test_mask_hides_the_share_it_is_told_and_each_image_differently(checks, ratio, visible):
    _, method = build(checks, mask_ratio=ratio)
    caught = []

    def catch(views, encoder, *, beside):
        caught.append(beside[0])
        return encode(views, encoder, beside=beside)

    method.loss(batch(checks), catch)
    assert caught[0].shape == (6, visible)
    assert len({tuple(sorted(row)) for row in caught[0].tolist()}) > 1


def test_masks_come_from_the_batchs_generator_alone(checks):
    _, method = build(checks)
    data = [batch(checks) for _ in range(3)]
    data[2].generator.manual_seed(1)
    before = torch.get_rng_state()
    losses = [method.loss(each, encode).item() for each in data]
    assert torch.equal(torch.get_rng_state(), before)
    assert losses[0] == losses[1] != losses[2]


def test_images_of_another_size_are_reconstructed_where_the_backbone_takes_them(checks):
    torch.manual_seed(0)
    vit = VisionTransformer(
        img_size=16, patch_size=4, embed_dim=32, depth=1, num_heads=2, num_classes=0, dynamic_img_size=True
    )
    method = MAE(MAE.Config(), vit, checks.task(32))
    assert method.loss(batch(checks, side=24), encode).isfinite()


def test_backbone_is_trained_but_not_owned(checks):
    vit, method = build(checks)
    method.loss(batch(checks), encode).backward()
    weights = [*vit.named_parameters(), *method.named_parameters()]
    assert len({id(weight) for _, weight in weights}) == len(weights)
    for name, weight in weights:
        assert weight.grad is not None, name
        assert weight.grad.isfinite().all(), name


@pytest.mark.parametrize("hybrid", [False, True])
def test_backbone_without_patches_of_the_image_is_refused(checks, hybrid):
    encoder = build(checks)[0] if hybrid else nn.Sequential(nn.Flatten(), nn.Linear(16, 32))
    if hybrid:
        encoder.patch_embed = nn.Conv2d(3, 32, 4, stride=4)  # timm's hybrids have a ResNet there
    with pytest.raises(OptionError, match=r"MAE needs a plain vision transformer.*--backbone vit_tiny_patch16_224"):
        MAE(MAE.Config(), encoder, checks.task())


def test_an_image_of_one_patch_is_refused(checks):
    _, method = build(checks)
    with pytest.raises(OptionError, match=r"none of the 1 patches.*4 px high.*--image-size"):
        method.loss(batch(checks, side=4), encode)


@pytest.mark.parametrize(
    ("feature_dim", "asked", "width"), [(1024, None, 512), (192, None, 96), (32, None, 32), (192, 50, 64)]
)
def test_decoder_is_half_as_wide_as_the_encoder_unless_told(checks, feature_dim, asked, width):
    vit = VisionTransformer(img_size=8, patch_size=4, embed_dim=feature_dim, depth=1, num_heads=2, num_classes=0)
    method = MAE(MAE.Config(decoder_dim=asked), vit, checks.task(feature_dim))
    assert method.decoder.embed.weight.shape == (width, feature_dim)
    assert len(method.decoder.blocks) == 8


def test_smallest_batch_gives_a_finite_loss(checks):
    loss = build(checks)[1].loss(batch(checks, count=2), encode)
    assert loss.isfinite()
    assert loss.dtype == torch.float32


def test_saved_state_gives_the_equal_loss(checks):
    (vit, method), (other_vit, other) = (build(checks, seed) for seed in (0, 1))
    assert method.loss(batch(checks), encode) != other.loss(batch(checks), encode)
    other_vit.load_state_dict(vit.state_dict())
    other.load_state_dict(method.state_dict())
    assert method.loss(batch(checks), encode) == other.loss(batch(checks), encode)


def neighbour_accuracy(encoder):
    """Share of 200 new images whose nearest of 200 others, by cosine of the centred features, is of the same class."""
    frozen = copy.deepcopy(encoder).eval()
    with torch.no_grad():
        (a, train), (b, test) = ((frozen(images), label) for images, label in (stripes(200, 1001), stripes(200, 1002)))
    a, b = (nn.functional.normalize(x - x.mean(dim=0), dim=1) for x in (a, b))
    return (train[(b @ a.T).argmax(dim=1)] == test).float().mean().item()


def test_learns_the_direction_of_stripes(checks):
    vit, method = build(checks)
    untrained = neighbour_accuracy(vit)
    optimizer = torch.optim.AdamW([*vit.parameters(), *method.parameters()], lr=3e-3)
    losses = []
    for step in range(100):
        loss = method.loss(replace(batch(checks, 32, step), views=(stripes(32, step)[0],)), encode)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert np.mean(losses[-10:]) < np.mean(losses[:10])
    assert neighbour_accuracy(vit) > untrained + 0.3
