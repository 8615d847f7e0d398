"""iBOT against loops in float64, and its masks."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer

from medssl.errors import OptionError
from medssl_methods._masks import draw_masks
from medssl_methods.ibot import IBOT

SIDE, PATCH = 16, 4


def build(checks, registers=0, **options):
    torch.manual_seed(0)
    vit = VisionTransformer(
        img_size=SIDE, patch_size=PATCH, embed_dim=32, depth=2, num_heads=2, num_classes=0, reg_tokens=registers
    ).eval()
    task = replace(checks.task(32), image_size=SIDE)
    return vit, IBOT(IBOT.Config(prototypes=11, bottleneck_dim=8, **options), vit, task)


def encode(views, encoder, *, beside=()):
    return tuple(encoder(*inputs) for inputs in (zip(views, beside, strict=True) if beside else zip(views)))


def batch(checks, count=5, step=3):
    draw = torch.Generator().manual_seed(1)
    views = tuple(torch.randn(count, 3, SIDE, SIDE, generator=draw) for _ in range(2))
    return replace(checks.batch(count, 0), views=views, step=step)


def softmax(values, temperature):
    top = max(values)
    raised = [math.exp((v - top) / temperature) for v in values]
    return [v / sum(raised) for v in raised]


def crossed(target, center, answer, temperature):
    """Cross-entropy of one pair of rows, in float64."""
    wanted = softmax([t - c for t, c in zip(target, center, strict=True)], temperature)
    found = softmax(answer, 0.1)
    return -sum(p * math.log(q) for p, q in zip(wanted, found, strict=True))


@pytest.mark.parametrize("registers", [0, 2])
def test_loss_equals_a_loop_over_pairs_of_views_and_hidden_patches(checks, registers):
    _, method = build(checks, registers, masked=1.0)
    with torch.no_grad():  # another teacher than the student, and centres that are not zero
        for weight in method.teacher.parameters():
            weight.add_(0.05 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(weight.numel())))
        buffers = [next(module.buffers()) for module in (method.tokens, method.patches)]
        for buffer, ends in zip(buffers, ((-0.2, 0.3), (0.1, -0.1)), strict=True):
            buffer.copy_(torch.linspace(*ends, 11).view_as(buffer))
    centers = [buffer.flatten().double().tolist() for buffer in buffers]
    data, seen = batch(checks), []

    def catch(views, encoder, *, beside=()):
        found = encode(views, encoder, beside=beside)
        seen.append((found, beside[0] if beside else None))
        return found

    loss = method.loss(data, catch).item()
    (wanted, none), *found = seen
    assert none is None
    extra = 1 + registers
    temperature = 0.04 + 0.03 * 3 / 10  # at step 3 of a warm-up of 10 steps
    heads = {"t": method.teacher.heads, "s": method.head}

    def rows(kind, tokens):
        with torch.no_grad():
            return heads[kind](tokens.flatten(0, 1)).view(*tokens.shape[:2], -1).double().tolist()

    teacher = [rows("t", tokens) for tokens in wanted]
    student = [rows("s", tokens[0]) for tokens, _ in found]
    pairs = [
        crossed(teacher[a][i][0], centers[0], student[b][i][0], temperature)
        for a, b in ((0, 1), (1, 0))
        for i in range(5)
    ]
    images = []
    for view, (_, hidden) in enumerate(found):
        for i in range(5):
            places = hidden[i].flatten().nonzero()[:, 0].tolist()
            each = [
                crossed(teacher[view][i][extra + p], centers[1], student[view][i][extra + p], temperature)
                for p in places
            ]
            images.append(sum(each) / max(1, len(each)))
    expected = sum(pairs) / len(pairs) + sum(images) / len(images)
    assert loss == pytest.approx(expected, rel=1e-4)


def test_hidden_patches_do_not_reach_the_student(checks):
    """The tokens are the same whatever the hidden patches show."""
    vit, method = build(checks)
    student = method._student[0]
    hidden = torch.zeros(1, 4, 4, dtype=torch.bool)
    hidden[0, 1, 2] = True
    image = torch.randn(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    other = image.clone()
    other[:, :, PATCH : 2 * PATCH, 2 * PATCH : 3 * PATCH] = 9
    with torch.no_grad():
        assert torch.equal(student(image, hidden), student(other, hidden))
        assert not torch.equal(student(image), student(other))
        torch.testing.assert_close(student(image), vit.forward_features(image))


def test_masks_have_the_share_that_is_wanted_in_rectangles():
    generator = torch.Generator().manual_seed(0)
    shares = torch.tensor([0.0, 0.01, 0.1, 0.3, 0.5] * 40)
    masks = draw_masks(shares, torch.rand(200, 40, 4, generator=generator), (14, 14))
    counts = masks.flatten(1).sum(1)
    wanted = (shares * 196).int()
    assert (counts[shares == 0] == 0).all()
    assert (counts[shares > 0] >= 1).all()
    assert (counts <= wanted.clamp_min(1)).all()
    assert (counts.float().mean() / wanted.float().mean()) > 0.95
    neighbours = (masks[:, 1:] & masks[:, :-1]).sum() / masks[:, 1:].sum()
    assert neighbours > 0.6  # of single patches at random, it would be the share itself


def test_a_network_without_patches_is_refused(checks):
    from medssl.conformance import toy

    with pytest.raises(OptionError, match="plain vision transformer with a class token"):
        IBOT(IBOT.Config(), toy.ToyEncoder(), checks.task())
