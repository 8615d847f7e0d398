"""Builds networks of timm: by name, for an image size, with a stem for small images; and reads their tokens.

N images, F features, T tokens, S side of an image.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import timm
import torch
from timm.layers.mlp import SwiGLUPacked
from timm.models.resnet import ResNet
from torch import Tensor, nn

from medssl.contracts import Pooling
from medssl.errors import OptionError, did_you_mean

__all__ = [
    "architecture_known",
    "count_parameters",
    "create",
    "maps_of",
    "names_of_blocks",
    "own_pooling",
    "pool",
    "pooled",
    "replace_stem",
    "require_architecture",
    "require_colour",
    "require_plausible",
    "unusable",
]

#: Classes that arguments of a network may name, as in the cards of published encoders.
_LAYERS: Mapping[str, Any] = {"SwiGLUPacked": SwiGLUPacked, "SiLU": nn.SiLU, "GELU": nn.GELU}
_MOST_PARAMETERS = 4 * 10**9  # as in the limits of medssl: 16 GB of float32
_MOST_LAYERS, _MOST_WIDTH = 1000, 100_000  # ViT-22B, the largest vision transformer, has 48 layers of width 6,144
_NO_SIZES = ("vocab_size", "num_labels", "num_classes", "rope_theta", "context_length")  # not of the image network
_LISTS = ("blocks", "layers", "stages")  # where timm's models keep their blocks


def architecture_known(name: str) -> Any:
    """Return timm's configuration of a model's weights; ``None`` if timm does not know the model or its tag."""
    try:
        return timm.get_pretrained_cfg(name) if timm.is_model(name) else None
    except RuntimeError:  # the tag after the dot is unknown for this model
        return None


def require_architecture(name: str) -> Any:
    """Return timm's configuration of a model.

    Raises:
        OptionError: timm does not know it.
    """
    configuration = architecture_known(name)
    if configuration is None:
        raise OptionError(
            f"timm has no model named '{name}'.{did_you_mean(name, timm.list_models())} "
            "--backbone takes any name of timm.list_models(), for instance resnet18, resnet50 or vit_small_patch16_224."
        )
    return configuration


def create(name: str, image_size: int, arguments: Mapping[str, Any] | None = None, channels: int = 3) -> nn.Module:
    """Create a model without classifier, with random weights from torch's global generator.

    Args:
        name: timm's name, with or without a tag.
        image_size: S; transformers get position embeddings for it, and interpolate them for smaller views if they can.
        arguments: Further arguments of the model; names of layers are replaced by the classes.
        channels: Channels of the images.

    Raises:
        OptionError: timm does not know it, or it cannot take images of this size.
    """
    configuration = require_architecture(name)
    own = {
        key: _LAYERS.get(value, value) if isinstance(value, str) else value for key, value in (arguments or {}).items()
    }
    own.pop("num_classes", None)
    if channels != 3:
        own["in_chans"] = channels
    sized: tuple[dict[str, Any], ...] = ({"img_size": image_size, "dynamic_img_size": True}, {"img_size": image_size})
    attempts = (*sized, {}) if configuration.fixed_input_size else ({},)
    for options in attempts:
        try:
            return timm.create_model(name, pretrained=False, num_classes=0, **{**own, **options})
        except TypeError as error:  # the model does not have this option
            if not options:
                raise OptionError(
                    f"the network '{name}' does not take the arguments {dict(own)}. {error}. Change encoder.arguments."
                ) from error
        except (AssertionError, RuntimeError, ValueError) as error:
            raise unusable(name, image_size, error) from error
    raise AssertionError  # the last attempt returns or raises


def require_plausible(make: Callable[[], nn.Module], settings: Any, name: str) -> None:
    """Refuse the settings of a repository if their network would fill the memory.

    Args:
        make: Builds the network.
        settings: Plain values that the repository gives.
        name: The repository, for messages.

    Raises:
        OptionError: A number is far larger than in any network, or the network has too many parameters.
    """
    if large := sorted(_large(settings)):
        raise OptionError(
            f"the settings of {name} have {', '.join(large[:3])}, which no network has. They are damaged."
        )
    count = count_parameters(make)
    if count is not None and count > _MOST_PARAMETERS:
        raise OptionError(f"the network of {name} has {count:,} parameters; at most {_MOST_PARAMETERS:,} are possible.")


def count_parameters(make: Callable[[], nn.Module]) -> int | None:
    """Count the parameters of a network without memory for them; ``None`` if it cannot be built this way."""
    try:
        with torch.device("meta"):
            return sum(parameter.numel() for parameter in make().parameters())
    except (TypeError, RuntimeError, ValueError, OptionError):
        return None  # its constructor reads numbers, or it cannot be built at all, which building it says


def _large(settings: Any, name: str = "") -> Iterator[str]:
    if isinstance(settings, Mapping):
        for key, value in settings.items():
            yield from _large(value, str(key))
    elif isinstance(settings, list | tuple):
        for value in settings:
            yield from _large(value, name)
    elif isinstance(settings, int | float):
        most = _MOST_LAYERS if any(part in name for part in ("depth", "layers")) else _MOST_WIDTH
        if name not in _NO_SIZES and not abs(settings) <= most:
            yield f"{name:.40} = {settings!s:.20}"


def replace_stem(network: nn.Module, name: str, channels: int = 3) -> None:
    """Replace the stem by a 3 x 3 convolution of stride 1 without max-pooling (SimCLR, appendix B.9).

    Raises:
        OptionError: It is not a ResNet.
    """
    if not isinstance(network, ResNet):
        raise OptionError(
            f"the backbone '{name}' has no small stem. Only timm's ResNets can have one. Use encoder.stem=standard."
        )
    width: Any = network.bn1.num_features
    convolution = nn.Conv2d(channels, width, kernel_size=3, stride=1, padding=1, bias=False)
    nn.init.kaiming_normal_(
        convolution.weight, mode="fan_out", nonlinearity="relu"
    )  # timm's initialisation of a ResNet
    network.register_module("conv1", convolution)
    network.register_module("maxpool", nn.Identity())


def require_colour(name: str, channels: int) -> None:
    """Raise an error if images have another number of channels than three.

    Raises:
        OptionError: They have, and the library of the network has no rule to adapt it.
    """
    if channels != 3:
        raise OptionError(
            f"the encoder '{name}' takes images of three channels, and these have {channels}. Choose an encoder of the "
            "plugins timm or hub, which adapt the first layer."
        )


def unusable(name: str, image_size: int, error: Exception) -> OptionError:
    """Return the error of a network that cannot take images of a size."""
    cause = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
    return OptionError(
        f"the backbone '{name}' cannot take images of {image_size} x {image_size} px. {cause}. "
        "Give another --image-size (a multiple of a transformer's patch size) or another --backbone."
    )


# ------------------------------------------------------------------------------------------------- tokens and features


def own_pooling(network: nn.Module) -> Pooling | None:
    """Return the pooling that a transformer of timm uses by itself; ``None``: another one, or it has no tokens."""
    pooling = getattr(network, "global_pool", None)
    if not hasattr(network, "num_prefix_tokens") or not isinstance(pooling, str):
        return None
    names: Mapping[str, Pooling] = {"token": "token", "avg": "mean"}  # nosec B105 # of a transformer
    return names.get(pooling)


def pooled(network: nn.Module, images: Tensor, pooling: Pooling | None, name: str) -> Tensor:
    """Return features ``(N, F)``: the network's own, or those of another pooling.

    Raises:
        OptionError: The network has no tokens, or no class token.
    """
    if pooling is None or pooling == own_pooling(network):
        found: Tensor = network(images)
        return found
    model: Any = network
    tokens = model.forward_features(images)
    if tokens.ndim != 3 or not hasattr(model, "num_prefix_tokens"):
        raise OptionError(
            f"the network '{name}' has no tokens to pool: it gives maps of features. Leave out encoder.pooling."
        )
    normalised: Any = getattr(model, "fc_norm", None) or nn.Identity()
    return pool(tokens, int(model.num_prefix_tokens), pooling, name, normalised)


def pool(tokens: Tensor, extra: int, pooling: Pooling, name: str, normalise: Any = nn.Identity()) -> Tensor:  # noqa: B008
    """Pool tokens ``(N, T, F)``; ``(N, 2 F)`` for ``token+mean``.

    Args:
        tokens: Class token, registers and patch tokens, in this order.
        extra: Number of tokens before the patch tokens.
        pooling: ``token``, ``mean`` or ``token+mean``.
        name: Name of the network, for the message.
        normalise: Applied to each pooled vector.

    Raises:
        OptionError: A class token is wanted and there is none.
    """
    if pooling != "mean" and not extra:
        raise OptionError(f"the network '{name}' has no class token. Use encoder.pooling=mean.")
    parts = {"token": [tokens[:, 0]], "mean": [tokens[:, extra:].mean(dim=1)]}
    parts["token+mean"] = parts["token"] + parts["mean"]
    return torch.cat([normalise(part) for part in parts[pooling]], dim=1)


def maps_of(network: nn.Module, images: Tensor, width: int, name: str) -> Tensor:
    """Return the feature maps ``(N, F, h, w)`` before pooling.

    If the network pools by a plain average (ResNets, EfficientNets, DenseNets), their mean over h and w equals the
    pooled features. ConvNeXts and others normalise after pooling. Most transformers use their class token as pooled
    feature, which is not part of the map.

    Args:
        network: A model of timm.
        images: ``(N, 3, H, W)``.
        width: F, the width of the pooled features.
        name: Name of the network, for the message.

    Raises:
        OptionError: The network has no such map, or its map has another width than its pooled features.
    """
    model: Any = network
    found: Tensor = model.forward_features(images)
    maps = _tokens_to_maps(found, images, int(getattr(network, "num_prefix_tokens", 0))) if found.ndim == 3 else found
    last = getattr(network, "output_fmt", "NCHW") == "NHWC" or maps.shape[1] != width
    maps = maps.movedim(-1, 1) if maps.ndim == 4 and last else maps
    if maps.ndim != 4 or maps.shape[1] != width:
        raise OptionError(
            f"the backbone '{name}' gives no map of its features. Before pooling they have the "
            f"shape {tuple(found.shape)}, after pooling {width} values per image. Use another "
            "--backbone for this method, for instance a ResNet."
        )
    return maps


def _tokens_to_maps(tokens: Tensor, images: Tensor, extra: int) -> Tensor:
    """Arrange tokens ``(N, T, F)`` as ``(N, h, w, F)`` without prefix tokens (class token); else return them."""
    patches = tokens[:, extra:]
    height, width = images.shape[2:]
    h = round(math.sqrt(patches.shape[1] * height / width))
    if h == 0 or patches.shape[1] % h:
        return tokens
    return patches.reshape(len(patches), h, -1, patches.shape[2])


def names_of_blocks(network: nn.Module) -> Sequence[str]:
    """Return the names of a network's blocks, from the input to the output: ``blocks.0`` or ``layer1.0`` and so on."""
    found = []
    for name, module in network.named_children():
        if isinstance(module, nn.Sequential | nn.ModuleList) and (name in _LISTS or name.startswith("layer")):
            for key, block in module.named_children():
                inner = getattr(block, "blocks", None)
                deeper = (
                    inner if isinstance(inner, nn.Sequential) else block if isinstance(block, nn.Sequential) else None
                )
                prefix = f"{name}.{key}.blocks" if isinstance(inner, nn.Sequential) else f"{name}.{key}"
                found += [f"{prefix}.{i}" for i in range(len(deeper))] if deeper is not None else [f"{name}.{key}"]
    return found
