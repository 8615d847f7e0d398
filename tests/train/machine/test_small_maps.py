"""Convolutions whose maps are below their stride run in float32, alone, and the record names them.

Their weight gradient in bfloat16 is wrong on some processors. Where these tests run it may be right: a convolution that
breaks that gradient on purpose stands in for such a processor.
"""

from __future__ import annotations

import copy
import pickle
from functools import partial

import pytest
import timm
import torch
from torch import nn
from torch.nn import functional as F

from medssl.conformance import toy
from medssl.train.encoder.building import build_encoder
from medssl.train.loop.batchnorm import JointEncode, PerView
from medssl.train.machine.device import Precision
from medssl.train.machine.small_maps import find_small_maps, protect
from medssl_encoders.timm import Timm

FLOAT32 = Precision(None, "test")
BFLOAT16 = Precision(torch.bfloat16, "test")
LAST = "layer4.0.conv1"  # of timm's resnet10t with its standard stem, all that a view of 16 px leaves on one pixel


class _Breaks(torch.autograd.Function):
    @staticmethod
    def forward(ctx, weight):
        return weight.view_as(weight)

    @staticmethod
    def backward(ctx, gradient):
        return torch.full_like(gradient, 1e26)


@pytest.fixture
def broken_processor(monkeypatch):
    """Break what AMX breaks; list the type in which each convolution ran, by the size of its kernel and of its map."""
    original, ran = F.conv2d, []

    def conv2d(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
        small = any(side < step for side, step in zip(x.shape[2:], stride, strict=True))
        cast = torch.is_autocast_enabled("cpu") and weight.shape[2] > 1
        y = original(x, _Breaks.apply(weight) if small and cast else weight, bias, stride, padding, dilation, groups)
        ran.append((small, y.dtype))
        return y

    monkeypatch.setattr(F, "conv2d", conv2d)
    return ran


def make_encoder(backbone="resnet10t", image_size=32):
    return build_encoder(Timm.of(backbone=backbone, stem="standard"), image_size, seed=0)


def unprotected(encoder):
    encoder = copy.deepcopy(encoder)
    for module in encoder.modules():
        vars(module).pop("forward", None)
    return encoder


def images(side, n=4):
    return torch.randn(n, 3, side, side, generator=torch.Generator().manual_seed(side))


def gradients(encoder, views, precision=BFLOAT16, *, other=None, **how):
    """Weights' gradients after one backward through ``encode``, by name."""
    network = encoder if other is None else other
    for features in JointEncode(encoder, precision, **how)(views, other):
        features.square().mean().backward(retain_graph=True)
    return {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}


def largest(found):
    return max(float(gradient.abs().max()) for gradient in found.values())


def test_without_the_correction_the_broken_gradient_is_seen(broken_processor):
    encoder = unprotected(make_encoder())
    with BFLOAT16.autocast():
        encoder(images(16)).square().mean().backward()
    assert float(encoder.network.get_submodule(LAST).weight.grad.min()) == pytest.approx(1e26)


@pytest.mark.parametrize("kind", ["joint", "dense", "teacher", "copy", "pickle", "compiled"])
def test_no_broken_gradient_reaches_an_encoder(broken_processor, monkeypatch, kind):
    encoder, views = make_encoder(), [images(32, 2), images(16, 2)]
    if kind == "compiled":  # a smaller one: tracing takes its time
        encoder = toy.ToyEncoder(depth=5)
        monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    if kind == "dense":
        for maps in JointEncode(encoder, BFLOAT16)(views, dense=True):
            maps.square().mean().backward(retain_graph=True)
        found = {name: p.grad for name, p in encoder.named_parameters()}
    elif kind == "teacher":  # an encoder that build_encoder never saw
        found = gradients(make_encoder(), views, other=unprotected(encoder))
    else:
        made = {"copy": copy.deepcopy, "pickle": lambda e: pickle.loads(pickle.dumps(e))}.get(kind, lambda e: e)(
            encoder
        )
        found = gradients(made, views, compiled=kind == "compiled")
    assert len(found) == len(list(encoder.parameters()))
    assert 0 < largest(found) < 1e3


def test_a_copy_protects_itself_and_not_the_original():
    encoder = make_encoder()
    layer, twin = (e.network.get_submodule(LAST) for e in (encoder, copy.deepcopy(encoder)))
    assert vars(layer)["forward"].args == (layer,)
    assert vars(twin)["forward"].args == (twin,)


def test_an_evaluator_that_trains_the_encoder_gets_no_broken_gradient(broken_processor):
    encoder, head = copy.deepcopy(make_encoder()), nn.Linear(512, 2)
    with BFLOAT16.autocast():  # what medssl.contracts.Images.autocast opens
        features = encoder(images(16))
    head(features.float()).square().mean().backward()
    assert 0 < max(float(p.grad.abs().max()) for p in encoder.parameters()) < 1e3


def test_only_layers_with_small_maps_run_in_float32(broken_processor):
    encoder = make_encoder()
    names = find_small_maps(encoder.network, [16], BFLOAT16)
    broken_processor.clear()
    JointEncode(encoder, BFLOAT16)([images(16)])
    dtypes = [dtype for _, dtype in broken_processor]
    assert dtypes.count(torch.float32) == len(names) == 1
    assert dtypes.count(torch.bfloat16) == len(dtypes) - 1 > 10
    assert all((dtype == torch.float32) is small for small, dtype in broken_processor)
    broken_processor.clear()
    JointEncode(encoder, BFLOAT16)([images(32), images(64)])
    assert {dtype for _, dtype in broken_processor} == {torch.bfloat16}


def test_layers_after_it_see_bfloat16():
    seen, encoder = [], make_encoder()
    encoder.network.get_submodule(LAST).register_forward_hook(lambda *found: seen.append(found[2].dtype))
    JointEncode(encoder, BFLOAT16)([images(16)])
    JointEncode(encoder, FLOAT32)([images(16)])
    assert seen == [torch.bfloat16, torch.float32]


@pytest.mark.parametrize(("side", "precision"), [(32, BFLOAT16), (64, FLOAT32), (16, FLOAT32)])
def test_nothing_changes_by_a_bit_elsewhere(side, precision):
    encoder = make_encoder()
    plain = unprotected(encoder)
    views = [images(side, 2), images(side, 2) + 1]  # few, because some processors only imitate bfloat16
    ours = gradients(encoder, views, precision)
    for features in _separate(plain, views, precision):
        features.square().mean().backward(retain_graph=True)
    for name, parameter in plain.named_parameters():
        assert torch.equal(ours[name], parameter.grad)


def _separate(plain, views, precision):
    """Encode in one forward as JointEncode does, without its protection."""
    with precision.autocast(), PerView(plain, len(views)):
        features = plain(torch.cat(views))
    return features.float().chunk(len(views))


@pytest.mark.parametrize(("kernel", "stride", "side"), [(3, 2, (1, 1)), (3, 2, (4, 1)), (7, 4, (3, 3)), (1, 2, (1, 1))])
def test_weight_gradient_equals_the_exact_one(kernel, stride, side):
    torch.manual_seed(0)
    layer = nn.Conv2d(64, 128, kernel, stride=stride, padding=kernel // 2, bias=False)
    protect(layer)
    protect(layer)
    x, how = torch.randn(8, 64, *side), {"stride": stride, "padding": kernel // 2}
    with BFLOAT16.autocast():
        y = layer(x)
    gradient = torch.randn_like(y)
    y.backward(gradient)
    exact = torch.nn.grad.conv2d_weight(x.double(), layer.weight.shape, gradient.double(), **how)
    torch.testing.assert_close(layer.weight.grad.double(), exact, rtol=1e-4, atol=1e-4 * float(exact.abs().max()))


def test_names_are_those_of_the_smallest_images_in_the_networks_order():
    network = make_encoder().network
    assert find_small_maps(network, [16], BFLOAT16) == (LAST,)
    assert find_small_maps(network, [64, 32], BFLOAT16) == ()
    assert find_small_maps(network, [64, 8], BFLOAT16) == ("layer3.0.conv1", LAST)
    assert find_small_maps(network, [8], FLOAT32) == ()
    assert find_small_maps(network, [8], Precision(torch.bfloat16, "test", "cuda")) == ()


def test_looking_leaves_the_network_alone():
    network = make_encoder().network.train()
    network.bn1.eval()
    before = copy.deepcopy(network.state_dict())
    modes, state = [module.training for module in network.modules()], torch.get_rng_state()
    find_small_maps(network, [16], BFLOAT16)
    assert [module.training for module in network.modules()] == modes
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not any(module._forward_pre_hooks for module in network.modules())


@pytest.mark.parametrize("name", ["test_convnext", "test_efficientnet", "test_vit", "mobilenetv3_small_050"])
def test_other_families_run_and_have_finite_gradients(name):
    side = 160 if name == "test_vit" else 32
    network = timm.create_model(name, num_classes=0)
    protect(network)
    found = gradients(network, [images(side)])
    assert largest(found) < 1e3
