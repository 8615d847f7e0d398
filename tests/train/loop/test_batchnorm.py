"""One forward over all views gives what one forward per view gives, statistics included."""

from __future__ import annotations

import copy
from functools import partial

import pytest
import torch
from timm.layers import BatchNormAct2d
from torch import nn

from medssl.conformance import toy
from medssl.errors import TrainingError
from medssl.train.encoder.building import build_encoder
from medssl.train.loop.batchnorm import JointEncode, PerView
from medssl.train.machine.device import Precision
from medssl_encoders.timm import Timm

FLOAT32 = Precision(None, "test")
BFLOAT16 = Precision(torch.bfloat16, "test")


def make_views(count, *shape, dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [
        (torch.randn(*shape, generator=generator, dtype=torch.float64) * (1 + v) + v).to(dtype) for v in range(count)
    ]


def run(layer, parts, joint):
    """One forward and backward: outputs, gradients of the inputs and buffers; gradients of the parameters."""
    layer = copy.deepcopy(layer)
    parts = [part.clone().requires_grad_() for part in parts]
    if joint:
        with PerView(layer, len(parts)):
            out = layer(torch.cat(parts))
    else:
        out = torch.cat([layer(part) for part in parts])
    (out.float() * torch.linspace(-1, 1, out.numel()).view(out.shape)).sum().backward()
    return [out.detach(), *(part.grad for part in parts), *layer.buffers()], [p.grad for p in layer.parameters()]


LAYERS = {
    "1d": (nn.BatchNorm1d(6), (8, 6)),
    "2d": (nn.BatchNorm2d(6), (8, 6, 5, 5)),
    "3d": (nn.BatchNorm3d(6), (4, 6, 3, 3, 3)),
    "with activation": (BatchNormAct2d(6), (8, 6, 5, 5)),
    "cumulative average": (nn.BatchNorm2d(6, momentum=None), (8, 6, 5, 5)),
    "no running statistics": (nn.BatchNorm2d(6, track_running_stats=False), (8, 6, 5, 5)),
    "no affine": (nn.BatchNorm2d(6, affine=False), (8, 6, 5, 5)),
}


@pytest.mark.parametrize("views", [2, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", LAYERS)
def test_layer_equals_separate_forwards_bit_for_bit(name, dtype, views):
    layer, shape = LAYERS[name]
    parts = make_views(views, *shape, dtype=dtype)
    if len(shape) == 4:
        parts = [part.contiguous(memory_format=torch.channels_last) for part in parts]
    (joint, joint_gradients), (separate, gradients) = (run(layer, parts, joint) for joint in (True, False))
    for a, b in zip(joint, separate, strict=True):
        assert torch.equal(a, b)
    for a, b in zip(joint_gradients, gradients, strict=True):
        torch.testing.assert_close(a, b)  # a sum over views, in whichever order


def test_layout_survives():
    layer = nn.BatchNorm2d(6)
    x = torch.cat(make_views(2, 4, 6, 5, 5)).contiguous(memory_format=torch.channels_last).requires_grad_()
    with PerView(layer, 2):
        out = layer(x)
    out.square().sum().backward()
    assert out.is_contiguous(memory_format=torch.channels_last)
    assert x.grad.is_contiguous(memory_format=torch.channels_last)


@pytest.fixture
def encoder():
    return build_encoder(Timm.of(backbone="test_resnet"), 32, seed=0)


def gradients(network):
    return torch.cat([p.grad.flatten() for p in network.parameters()])


@pytest.mark.parametrize(("batch_norm", "exact"), [("per-view", True), ("joint", False)])
def test_encoder_in_float64_equals_separate_forwards_only_per_view(encoder, batch_norm, exact):
    encoder.double()
    views = make_views(3, 4, 3, 32, 32, dtype=torch.float64)
    other = copy.deepcopy(encoder)
    separate = [other(view) for view in views]
    torch.cat(separate).square().sum().backward()
    with PerView(encoder, 3) if exact else torch.enable_grad():
        joint = encoder(torch.cat(views)).chunk(3)
    torch.cat(joint).square().sum().backward()
    assert all(torch.allclose(a, b, rtol=1e-9, atol=1e-12) for a, b in zip(joint, separate, strict=True)) is exact
    assert torch.allclose(gradients(encoder), gradients(other), rtol=1e-7, atol=1e-9) is exact
    for (name, a), b in zip(encoder.named_buffers(), other.buffers(), strict=True):
        if "running" in name:
            assert torch.allclose(a, b, rtol=1e-12, atol=0) is exact, name


@pytest.mark.parametrize("precision", [FLOAT32, BFLOAT16], ids=lambda p: p.name)
def test_encode_equals_separate_forwards_in_each_precision(encoder, precision):
    views = make_views(2, 8, 3, 32, 32)
    other = copy.deepcopy(encoder)
    with precision.autocast():
        separate = [other(view).float() for view in views]
    together = JointEncode(encoder, precision)(views)
    for a, b in zip(together, separate, strict=True):
        assert a.dtype == torch.float32
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(encoder.network.bn1.running_var, other.network.bn1.running_var)
    assert encoder.network.bn1.num_batches_tracked == 2


def test_joint_statistics_are_those_of_plain_batch_norm(encoder):
    views = make_views(2, 8, 3, 32, 32)
    other = copy.deepcopy(encoder)
    together = JointEncode(encoder, FLOAT32, "joint")(views)
    torch.testing.assert_close(torch.cat(together), other(torch.cat(views)), rtol=0, atol=0)
    assert encoder.network.bn1.num_batches_tracked == 1


def test_views_of_two_sizes_take_one_forward_each_and_come_back_in_order(encoder):
    large, small = make_views(2, 4, 3, 32, 32), make_views(3, 4, 3, 24, 24, seed=1)
    order = [small[0], large[0], small[1], large[1], small[2]]
    batches = []
    encoder.register_forward_hook(lambda _, inputs, __: batches.append(tuple(inputs[0].shape)))
    encode = JointEncode(encoder, FLOAT32)
    found = encode(order)
    assert batches == [(12, 3, 24, 24), (8, 3, 32, 32)]
    encoder.eval()  # and here every sample stands alone, so the order can be checked
    found = encode(order)
    for features, view in zip(found, order, strict=True):
        torch.testing.assert_close(features, encoder(view), rtol=1e-4, atol=1e-5)


def test_teacher_is_encoded_by_its_own_weights_and_statistics(encoder):
    teacher = build_encoder(Timm.of(backbone="test_resnet"), 32, seed=1)
    views = make_views(2, 4, 3, 32, 32)
    before = encoder.network.bn1.running_mean.clone()
    encode = JointEncode(encoder, FLOAT32)
    with torch.no_grad():
        found = encode(views, encoder=teacher)
    assert not found[0].requires_grad
    assert torch.equal(encoder.network.bn1.running_mean, before)
    assert teacher.network.bn1.num_batches_tracked == 2
    assert encode.latest is None
    encode(views)
    assert encode.latest.shape == (8, encoder.feature_dim)
    assert not encode.latest.requires_grad


def test_an_empty_container_can_be_a_teacher():
    encode = JointEncode(nn.Flatten(), FLOAT32)
    x = torch.randn(2, 3, 4, 4)
    assert encode([x], encoder=nn.Sequential())[0].shape == x.shape  # a module without children is falsy


def test_evaluation_uses_running_statistics_inside_the_context_too():
    layer = nn.BatchNorm2d(3).eval()
    x = torch.randn(4, 3, 2, 2)
    plain = layer(x)
    with PerView(layer, 2):
        assert torch.equal(layer(x), plain)


def test_nothing_is_left_behind_even_after_an_error(encoder):
    keys = list(encoder.state_dict())
    with pytest.raises(RuntimeError, match="expected"), PerView(encoder, 2):
        encoder(torch.zeros(2, 5, 32, 32))
    layers = [m for m in encoder.modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(layers) > 5
    assert not any("forward" in vars(layer) for layer in layers)
    assert list(encoder.state_dict()) == keys


def compare_compiled(encoder, monkeypatch, backend):
    """Two rounds of views of two sizes, compiled and not: features, gradients, statistics; and the graphs made."""
    torch._dynamo.reset()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    before = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    found = []
    for network, compiled in ((copy.deepcopy(encoder), True), (encoder, False)):
        encode = JointEncode(network, FLOAT32, compiled=compiled)
        for seed in (0, 1):
            views = [*make_views(2, 4, 3, 32, 32, seed=seed), *make_views(3, 4, 3, 24, 24, seed=seed)]
            features = torch.cat(encode(views))
            features.square().sum().backward()
        found.append(
            [features.detach(), gradients(network), torch.cat([b.flatten().float() for b in network.buffers()])]
        )
    return *found, torch._dynamo.utils.counters["stats"]["unique_graphs"] - before


@pytest.mark.slow
def test_a_compiler_sees_the_statistics_of_each_view_and_compiles_once_per_size(monkeypatch):
    compiled, eager, graphs = compare_compiled(toy.ToyEncoder(), monkeypatch, "aot_eager")
    for a, b in zip(compiled, eager, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    assert graphs == 2


@pytest.mark.slow
def test_compiled_equals_eager_to_a_ten_thousandth(monkeypatch):
    compiled, eager, graphs = compare_compiled(toy.ToyEncoder(), monkeypatch, "inductor")
    for a, b in zip(compiled, eager, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4 * float(b.abs().max()))
    assert graphs == 2


@pytest.mark.slow
def test_an_encoder_that_cannot_be_compiled_says_what_to_do(monkeypatch):
    def broken(graph, inputs):
        raise OSError("no C++ compiler")

    torch._dynamo.reset()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=broken))
    with pytest.raises(TrainingError, match=r"could not be compiled.*no C\+\+ compiler.*train.compile=false"):
        JointEncode(toy.ToyEncoder(), FLOAT32, compiled=True)(make_views(2, 4, 3, 32, 32))


def test_contexts_can_be_nested(encoder):
    layer = nn.BatchNorm1d(3)
    outer = torch.cat(make_views(4, 5, 3))
    other = copy.deepcopy(layer)
    with PerView(layer, 2), PerView(layer, 2):
        out = layer(outer)
    torch.testing.assert_close(out, torch.cat([other(part) for part in outer.chunk(4)]))
    assert "forward" not in vars(layer)


def test_batch_that_does_not_divide_is_refused():
    layer = nn.BatchNorm1d(3)
    with pytest.raises(ValueError, match="5 samples for 2 views"), PerView(layer, 2):
        layer(torch.zeros(5, 3))


@pytest.mark.parametrize("precision", [FLOAT32, BFLOAT16], ids=lambda p: p.name)
def test_dense_features_equal_those_of_separate_forwards_in_each_precision(encoder, precision):
    large, small = make_views(2, 4, 3, 32, 32), make_views(2, 4, 3, 16, 16, seed=1)
    views = [large[0], small[0], large[1], small[1]]
    other = copy.deepcopy(encoder)
    with precision.autocast():
        separate = {i: other.dense(views[i]).float() for i in (0, 2, 1, 3)}
    encode = JointEncode(encoder, precision)
    together = encode(views, dense=True)
    for i, maps in enumerate(together):
        assert maps.dtype == torch.float32
        torch.testing.assert_close(maps, separate[i], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(encoder.network.bn1.running_var, other.network.bn1.running_var)
    torch.testing.assert_close(encode.latest, torch.cat([together[0], together[2]]).mean(dim=(2, 3)))


def test_dense_features_of_a_teacher_are_its_own(encoder):
    teacher = build_encoder(Timm.of(backbone="test_resnet"), 32, seed=1).eval()
    (view,) = make_views(1, 4, 3, 32, 32)
    encode = JointEncode(encoder, FLOAT32)
    with torch.no_grad():
        (maps,) = encode([view], encoder=teacher, dense=True)
    torch.testing.assert_close(maps, teacher.dense(view))
    assert encode.latest is None
