"""Every encoder of the catalogue is built with random weights: its size, its width, its pooling."""

from __future__ import annotations

import pytest
import torch

from medssl.catalog import load_catalog
from medssl.errors import OptionError
from medssl.recipe import choose
from medssl.train.encoder.building import build_encoder

CATALOG = load_catalog()
NAMES = [name for name in CATALOG.presets("encoder") if "plugin" in CATALOG.entry("encoder", name)]

# What the repositories' own files say, where the catalogue leaves it to them.
DINOV2_G = {"model_type": "dinov2", "hidden_size": 1536, "num_hidden_layers": 40, "num_attention_heads": 24}
DINOV3_B = {"model_type": "dinov3_vit", "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12}
SIGLIP = {"model_type": "siglip_vision_model", "hidden_size": 1152, "num_hidden_layers": 27, "num_attention_heads": 16}
FROM_THE_HUB = {
    "midnight-12k": {"settings": {**DINOV2_G, "patch_size": 14, "image_size": 518, "use_swiglu_ffn": True}},
    "dinov3-b-facebook": {
        "settings": {**DINOV3_B, "intermediate_size": 3072, "patch_size": 16, "num_register_tokens": 4}
    },
    "medsiglip": {"settings": {**SIGLIP, "intermediate_size": 4304, "patch_size": 14, "image_size": 448}},
    "gigapath": {
        "architecture": "vit_giant_patch14_dinov2",
        "arguments": {"patch_size": 16, "embed_dim": 1536, "depth": 40, "num_heads": 24, "mlp_ratio": 5.33334},
    },
    "h0-mini": {
        "architecture": "vit_base_patch14_reg4_dinov2",
        "arguments": {"mlp_layer": "SwiGLUPacked", "act_layer": "SiLU", "mlp_ratio": 5.33334},
    },
}
# Published numbers of weights, in millions.
PUBLISHED = {
    "dinov2-s": 22, "dinov2-b": 86, "dinov2-l": 304, "dinov3-s": 21.6, "dinov3-b": 85.7, "dinov3-l": 303.1,
    "rad-dino": 86.6, "uni": 303.4, "uni2-h": 681, "virchow": 632, "virchow2": 632, "phikon-v2": 304,
    "h-optimus-0": 1135, "h-optimus-1": 1135, "h0-mini": 86, "gigapath": 1135, "midnight-12k": 1136, "medsiglip": 428,
    "kaiko-s": 21.7, "lunit-s8": 21.7, "retfound-cfp": 303.3, "retfound-oct": 303.3, "retfound-dinov2": 304,
    "dinov2-b-facebook": 86.6, "dinov3-b-facebook": 85.7, "dinov3-convnext-t": 27.8, "efficientnet-lite0": 3.37,
    "biomedclip": 86.2, "biomedclip-trunk": 85.8,  # without classifier and text model
}  # fmt: skip
NEEDS = {"transformers": "transformers", "open_clip": "open_clip"}
LARGE = 150  # millions of weights; above it, only shapes are computed


def opened(name, **options):
    plugin = CATALOG.entry("encoder", name)["plugin"]
    if plugin in NEEDS:
        pytest.importorskip(NEEDS[plugin])
    choice = choose("encoder", name, {"weights": None, **FROM_THE_HUB.get(name, {}), **options}, CATALOG)
    return choice.plugin(choice.config, choice.facts)


def side_of(source) -> int:
    """A size that it takes: its own, or 224 px for those that are large for a test."""
    size = source.card.image_size or 224
    return 224 if size in (448, 518) else size


@pytest.mark.parametrize("name", NAMES)
def test_shapes_and_counts_are_those_of_the_card(name, monkeypatch):
    """On the meta device, which computes shapes alone."""
    monkeypatch.setattr(torch.Tensor, "clamp_", lambda weights, **_: weights)  # most of what initial weights cost
    source = opened(name)
    side = side_of(source) if name != "medsiglip" else 448
    with torch.device("meta"):
        built = source.build(side)
        features = source.features(built.network.eval(), torch.zeros(2, 3, side, side))
    assert features.shape == (2, CATALOG.entry("encoder", name)["features"])
    count = sum(value.numel() for value in built.network.parameters()) / 1e6
    assert count == pytest.approx(PUBLISHED[name], rel=0.02)
    blocks = source.blocks(built.network)
    assert len(blocks) >= 12
    assert set(blocks) <= {name for name, _ in built.network.named_modules()}


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_features_of_an_image_are_computed(name):
    source = opened(name)
    side = side_of(source) if name != "medsiglip" else 448
    with torch.device("meta"):
        count = sum(value.numel() for value in source.build(side).network.parameters()) / 1e6
    if count > LARGE:
        pytest.skip(f"{count:.0f} million weights: shapes are tested")
    encoder = build_encoder(source, side, seed=0).eval()
    images = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        features, alone = encoder(images), encoder(images[:1])
    assert features.isfinite().all()
    assert features.std() > 0
    torch.testing.assert_close(features[:1], alone, atol=1e-4, rtol=1e-4)


# ------------------------------------------------------------------------------------------------------------- pooling


def by_hand(tokens, extra, pooling):
    """Pool with loops over tokens, in float64."""
    rows = []
    for image in tokens.double():
        token = image[0]
        total = torch.zeros_like(token)
        for patch in image[extra:]:
            total += patch
        mean = total / (len(image) - extra)
        rows.append({"token": token, "mean": mean, "token+mean": torch.cat([token, mean])}[pooling])
    return torch.stack(rows)


@pytest.mark.parametrize("pooling", ["token", "mean", "token+mean"])
@pytest.mark.parametrize("registers", [0, 4])
def test_pooling_of_timm_equals_a_loop_over_tokens(pooling, registers):
    from medssl_encoders.hub import Hub

    small = {"depth": 2, "embed_dim": 32, "num_heads": 2, "reg_tokens": registers}
    source = Hub.of(architecture="vit_tiny_patch16_224", arguments=small, weights=None, pooling=pooling)
    encoder = build_encoder(source, 64, seed=0).eval()
    images = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        tokens, found = encoder.network.forward_features(images), encoder(images)
    torch.testing.assert_close(found.double(), by_hand(tokens, 1 + registers, pooling), atol=1e-6, rtol=1e-5)
    assert encoder.feature_dim == (64 if pooling == "token+mean" else 32)


@pytest.mark.parametrize("pooling", [None, "token", "mean", "token+mean"])
def test_pooling_of_transformers_equals_a_loop_over_tokens(pooling):
    pytest.importorskip("transformers")
    from medssl_encoders.transformers import Transformers

    small = {"model_type": "dinov2", "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    source = Transformers.of(settings={**small, "patch_size": 14, "image_size": 56}, weights=None, pooling=pooling)
    encoder = build_encoder(source, 56, seed=0).eval()
    images = torch.randn(3, 3, 56, 56, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        output, found = encoder.network(pixel_values=images), encoder(images)
    expected = by_hand(output.last_hidden_state, 1, pooling or "token")
    torch.testing.assert_close(found.double(), expected, atol=1e-6, rtol=1e-5)
    if pooling is None:
        torch.testing.assert_close(found, output.pooler_output)


# Register tokens of each row, as its authors describe it; the others have none.
REGISTERS = {
    **dict.fromkeys(["dinov2-s", "dinov2-b", "dinov2-l", "dinov3-s", "dinov3-b", "dinov3-l", "dinov3-b-facebook"], 4),
    **dict.fromkeys(["h-optimus-0", "h-optimus-1", "h0-mini", "virchow2"], 4),
    "uni2-h": 8,
}
MEAN_OF_AUTHORS = ("retfound-cfp", "retfound-oct")  # global_pool="avg", which normalises after the mean
WITHOUT_CLASS_TOKEN = {
    "medsiglip": "has no class token",
    "dinov3-convnext-t": "no tokens to pool",
    "efficientnet-lite0": "no tokens to pool",
}
TOKENS = [name for name in NAMES if name not in WITHOUT_CLASS_TOKEN]


def with_one_layer(name, **options):
    """The row with its own width, patches, registers and norms, and one layer: pooling depends on no other."""
    row = CATALOG.entry("encoder", name)
    given = {**row["options"], **FROM_THE_HUB.get(name, {})}
    if row["plugin"] == "transformers":
        options["settings"] = {**given["settings"], "num_hidden_layers": 1}
    elif name in TOKENS and row["plugin"] == "hub":
        options["arguments"] = {**given.get("arguments", {}), "depth": 1}
    return opened(name, **options)


def tokens_of(network, images):
    """The tokens that the network of a row returns before pooling."""
    if hasattr(network, "config"):
        return network(pixel_values=images, interpolate_pos_encoding=True).last_hidden_state
    return getattr(network, "trunk", network).forward_features(images)


def layer_norm(norm, vector):
    centred = vector - sum(vector) / len(vector)
    scaled = centred / (sum(centred**2) / len(vector) + norm.eps) ** 0.5
    return scaled * norm.weight.double() + norm.bias.double()


def attention_pooled(head, tokens):
    """The pooling of SigLIP with a loop over images and heads: a learnt query attends to the tokens."""
    attention, rows = head.attention, []
    weights = zip(attention.in_proj_weight.double().chunk(3), attention.in_proj_bias.double().chunk(3), strict=True)
    (wq, bq), (wk, bk), (wv, bv) = weights
    for image in tokens.double():
        query, keys, values = wq @ head.probe[0, 0].double() + bq, image @ wk.T + bk, image @ wv.T + bv
        parts = []
        for one in torch.arange(len(query)).chunk(attention.num_heads):
            scores = torch.stack([sum(query[one] * key[one]) / len(one) ** 0.5 for key in keys])
            parts.append(sum(share * value[one] for share, value in zip(scores.softmax(0), values, strict=True)))
        out = attention.out_proj.weight.double() @ torch.cat(parts) + attention.out_proj.bias.double()
        hidden = head.mlp.fc1.weight.double() @ layer_norm(head.layernorm, out) + head.mlp.fc1.bias.double()
        hidden = torch.nn.functional.gelu(hidden, approximate="tanh")
        rows.append(out + head.mlp.fc2.weight.double() @ hidden + head.mlp.fc2.bias.double())
    return torch.stack(rows)


@torch.no_grad()
@pytest.mark.slow
@pytest.mark.parametrize("name", TOKENS)
def test_every_pooling_of_a_row_equals_a_loop_over_its_tokens(name):
    side = 224 if CATALOG.entry("encoder", name)["plugin"] == "open_clip" else 112  # it takes no other size
    network = build_encoder(with_one_layer(name), side, seed=0).eval().network
    images = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    tokens = tokens_of(network, images)
    norm = network.fc_norm if name in MEAN_OF_AUTHORS else None
    chosen = CATALOG.entry("encoder", name)["options"].get("pooling")
    for pooling in ("token", "mean", "token+mean", None):
        used = pooling or chosen or ("mean" if name in MEAN_OF_AUTHORS else "token")
        expected = by_hand(tokens, 1 + REGISTERS.get(name, 0), used)
        if norm is not None:
            parts = [list(row.chunk(2 if used == "token+mean" else 1)) for row in expected]
            expected = torch.stack([torch.cat([layer_norm(norm, part) for part in row]) for row in parts])
        if pooling is None and name == "biomedclip":  # its embedding: a linear map after the class token
            expected = expected @ network.head.proj.weight.double().T
        found = with_one_layer(name, pooling=pooling or chosen).features(network, images)
        torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=1e-4, msg=lambda m, p=pooling: f"{p}: {m}")
    patch = next(module for module in network.modules() if isinstance(module, torch.nn.Conv2d)).kernel_size[0]
    assert len(tokens[0]) == (side // patch) ** 2 + 1 + REGISTERS.get(name, 0)


@torch.no_grad()
@pytest.mark.slow
@pytest.mark.parametrize("name", WITHOUT_CLASS_TOKEN)
def test_own_pooling_of_a_row_without_class_token_equals_a_loop(name):
    encoder = build_encoder(with_one_layer(name), 112, seed=0).eval()
    network, images = encoder.network, torch.randn(2, 3, 112, 112, generator=torch.Generator().manual_seed(0))
    tokens = tokens_of(network, images)
    if name == "medsiglip":
        expected = attention_pooled(network.head, tokens)
        mean = with_one_layer(name, pooling="mean").features(network, images)
        torch.testing.assert_close(mean.double(), by_hand(tokens, 0, "mean"), atol=1e-5, rtol=1e-4)
    else:
        places = tokens.flatten(2).transpose(1, 2)
        expected = by_hand(places, 0, "mean")
        if name == "dinov3-convnext-t":  # it normalises after the mean
            expected = torch.stack([layer_norm(network.head.norm, row) for row in expected])
    torch.testing.assert_close(encoder(images).double(), expected, atol=1e-5, rtol=1e-4)
    for pooling in ("token", "token+mean"):
        with pytest.raises(OptionError, match=WITHOUT_CLASS_TOKEN[name]):
            with_one_layer(name, pooling=pooling).features(network, images)


def test_network_without_tokens_says_so():
    from medssl_encoders.timm import Timm

    with pytest.raises(OptionError, match=r"'test_resnet' has no tokens to pool.*Leave out encoder\.pooling"):
        build_encoder(Timm.of(backbone="test_resnet", pooling="token"), 32, seed=0)


def test_pooling_of_the_authors_is_the_default_and_can_be_overridden():
    assert opened("virchow2").card.pooling == "token+mean"
    assert opened("dinov3-b").card.pooling == "token"
    assert opened("dinov3-b", pooling="mean").card.pooling == "mean"
