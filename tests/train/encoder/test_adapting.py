"""Which weights are trained, how fast, and adapters beside them."""

from __future__ import annotations

import copy

import pytest
import timm
import torch
from safetensors.torch import save_file

from medssl.errors import CheckpointError, OptionError
from medssl.recipe.settings import TrainSettings
from medssl.tools import layer_groups, number_layers
from medssl.train.encoder.adapting import adapt, describe_adaptation, finish_adapting
from medssl.train.encoder.building import build_encoder
from medssl.train.encoder.checkpoint import read_encoder, save_adapter
from medssl.train.encoder.lora import read_adapter
from medssl.train.loop.optim import build_optimizer
from medssl_encoders.timm import Timm

SIDE = 32


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """Files of weights, as another program would have left them."""
    folder = tmp_path_factory.mktemp("weights")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        for name in ("test_vit", "test_resnet"):
            save_file(timm.create_model(name, num_classes=0).state_dict(), folder / f"{name}.safetensors")
    return folder


def opened(given, name="test_vit", **options):
    return build_encoder(Timm.of(backbone=name, weights=given / f"{name}.safetensors", **options), SIDE, seed=0)


def images(n=4):
    return torch.randn(n, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


def train(encoder, steps=3, **settings):
    """A few steps on a loss that every weight can lower; returns the names of the tensors that changed."""
    before = copy.deepcopy(encoder.network.state_dict())
    optimizer = build_optimizer([encoder], TrainSettings(optimizer="adamw", learning_rate=0.01, **settings))
    target = torch.randn(4, encoder.feature_dim, generator=torch.Generator().manual_seed(2))
    encoder.train()
    for _ in range(steps):
        optimizer.zero_grad()
        (encoder(images()) - target).square().mean().backward()
        optimizer.step()
    after = encoder.network.state_dict()
    return {name for name in before if not torch.equal(before[name], after[name])}


# -------------------------------------------------------------------------------------------------------------- layers


def test_layers_are_numbered_from_the_input_to_the_output(given):
    encoder = opened(given)
    layers = number_layers(encoder.network, encoder.blocks)
    count = len(encoder.blocks)
    assert layers["pos_embed"] == layers["patch_embed.proj.weight"] == 0
    assert [layers[f"blocks.{i}.attn.qkv.weight"] for i in range(count)] == list(range(1, count + 1))
    last = {layers[name] for name in layers if name.startswith(("norm.", "fc_norm."))}
    assert last == {count + 1}


def test_a_layer_between_blocks_belongs_to_the_block_after_it():
    network = timm.create_model("test_convnext", num_classes=0)
    encoder = build_encoder(Timm.of(backbone="test_convnext"), SIDE, seed=0)
    layers = number_layers(network, encoder.blocks)
    between = next(name for name in layers if "downsample" in name)
    stage = between.partition(".downsample")[0]
    assert layers[between] == layers[f"{stage}.blocks.0.conv_dw.weight"]
    assert layers["stem.0.weight"] == 0
    assert layers["head.norm.weight"] == len(encoder.blocks) + 1


@pytest.mark.parametrize("decay", [1.0, 0.5])
def test_layer_wise_decay_is_a_power_of_the_distance_to_the_output(given, decay):
    encoder = opened(given)
    count = len(encoder.blocks)
    names = {id(parameter): name for name, parameter in encoder.network.named_parameters()}
    scales = {
        names[id(p)]: group["scale"]
        for group in layer_groups(encoder.network, encoder.blocks, 0.1, decay)
        for p in group["params"]
    }
    assert scales.keys() == set(names.values())
    expected = {
        name: decay ** (count + 1 - layer) for name, layer in number_layers(encoder.network, encoder.blocks).items()
    }
    assert scales == expected


def test_optimizer_trains_each_weight_once_and_heads_at_the_full_rate(given):
    encoder, head = opened(given), torch.nn.Linear(4, 2)
    optimizer = build_optimizer([encoder, head], TrainSettings(layer_decay=0.5))
    listed = [id(p) for group in optimizer.param_groups for p in group["params"]]
    both = [*encoder.parameters(), *head.parameters()]
    assert sorted(listed) == sorted(map(id, both))
    of_head = [g for g in optimizer.param_groups if any(p is head.weight for p in g["params"])]
    assert of_head[0].get("scale", 1.0) == 1.0


# --------------------------------------------------------------------------------------------------------- last blocks


@pytest.mark.parametrize("name", ["test_vit", "test_resnet"])
def test_only_the_last_blocks_and_what_follows_are_trained(given, name):
    encoder = opened(given, name)
    adapt(encoder, TrainSettings(last_blocks=1))
    last = encoder.blocks[-1]
    changed = train(encoder)
    layers = number_layers(encoder.network, encoder.blocks)
    assert any(tensor.startswith(f"{last}.") for tensor in changed)
    trained = {n for n, layer in layers.items() if layer >= len(encoder.blocks)}
    statistics = {n for n in changed if n not in layers}  # running statistics of BatchNorm
    assert changed - statistics <= trained
    assert all(n.startswith(f"{last}.") for n in statistics)
    finish_adapting(encoder)
    assert all(parameter.requires_grad for parameter in encoder.parameters())
    assert all(module.training for module in encoder.train().modules())


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"last_blocks": 99}, "has [0-9]+ blocks"),
        ({"lora_rank": 2, "lora_layers": "attention"}, "Set train.lora_layers=all"),
    ],
)
def test_settings_that_do_not_fit_are_said(given, settings, words):
    pytest.importorskip("peft")
    with pytest.raises(OptionError, match=words):
        adapt(opened(given, "test_resnet"), TrainSettings(**settings))


# ---------------------------------------------------------------------------------------------------------------- LoRA


@pytest.fixture(scope="module")
def tuned(given, tmp_path_factory):
    """An encoder with trained adapters, the file of these alone, and its features before they were merged."""
    pytest.importorskip("peft")
    encoder = opened(given)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        adapt(encoder, TrainSettings(lora_rank=2))
    facts = describe_adaptation(encoder, TrainSettings(lora_rank=2))
    changed = train(encoder)
    with torch.no_grad():
        apart = encoder.eval()(images())
    finish_adapting(encoder)
    path = tmp_path_factory.mktemp("adapter") / "adapter.safetensors"
    save_adapter(path, encoder, {"encoder": '{"plugin": "timm", "backbone": "test_vit"}'})
    return encoder.eval(), path, apart, changed, facts


def test_only_adapters_are_trained_and_they_are_few(given, tuned):
    encoder, _, _, changed, facts = tuned
    assert changed
    assert all(".lora_" in name for name in changed)
    width, count = encoder.feature_dim, len(encoder.blocks)
    by_hand = count * 2 * ((width + 3 * width) + (width + width))  # rank 2 beside qkv and proj of each block
    assert facts["trained_parameters"] == by_hand
    assert facts["lora"]["layers"] == 2 * count


def test_merged_adapters_are_the_plain_network_and_equal_equation_3(given, tuned):
    encoder, path, apart, _, _ = tuned
    base = opened(given)
    assert encoder.network.state_dict().keys() == base.network.state_dict().keys()
    with torch.no_grad():
        torch.testing.assert_close(encoder(images()), apart, atol=1e-5, rtol=1e-5)
    adapter = read_adapter(path)
    layer = "blocks.0.attn.qkv"
    a, b = (adapter.tensors[f"{layer}.lora_{one}.default.weight"].double() for one in "AB")
    plain = base.network.get_submodule(layer).weight.detach().double()
    expected = plain + adapter.alpha / adapter.rank * b @ a
    torch.testing.assert_close(encoder.network.get_submodule(layer).weight.detach().double(), expected)


def test_adapters_alone_load_back_beside_their_base(given, tuned, tmp_path):
    encoder, path, _, _, _ = tuned
    size = path.stat().st_size
    assert size < 0.5 * (given / "test_vit.safetensors").stat().st_size
    found, _ = read_encoder(path, given / "test_vit.safetensors")
    with torch.no_grad():
        assert torch.equal(found(images()), encoder(images()))
    for file in (path, given / "test_vit.safetensors"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    found, _ = read_encoder(tmp_path / path.name)  # the base lies in the same folder
    with torch.no_grad():
        assert torch.equal(found(images()), encoder(images()))
    assert found.origin["adapter"]


def test_adapters_without_their_base_say_which_weights_are_missing(given, tuned, tmp_path):
    _, path, _, _, _ = tuned
    lonely = tmp_path / "adapter.safetensors"
    lonely.write_bytes(path.read_bytes())
    with pytest.raises(CheckpointError, match=r"belong to other weights.*these are random"):
        read_encoder(lonely)
    state = timm.create_model("test_vit", num_classes=0).state_dict()
    save_file(state, tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match=r"belong to other weights.*these have"):
        read_encoder(lonely, tmp_path / "other.safetensors")


def test_adapters_beside_random_weights_are_refused():
    pytest.importorskip("peft")
    encoder = build_encoder(Timm.of(backbone="test_vit"), SIDE, seed=0)
    with pytest.raises(OptionError, match="has random ones"):
        adapt(encoder, TrainSettings(lora_rank=2))


def test_convolutions_get_adapters_too(given):
    pytest.importorskip("peft")
    encoder = opened(given, "test_resnet")
    adapt(encoder, TrainSettings(lora_rank=2, lora_layers="all", last_blocks=1))
    last = encoder.blocks[-1]
    changed = train(encoder)
    assert changed
    assert all(name.startswith(f"{last}.") and ".lora_" in name for name in changed)
    with torch.no_grad():
        apart = encoder.eval()(images())
        finish_adapting(encoder)
        torch.testing.assert_close(encoder.eval()(images()), apart, atol=1e-5, rtol=1e-4)
