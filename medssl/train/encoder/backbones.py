"""Builds an encoder from any timm model: pooled features, a stem for small images, reproducible random weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import timm
import torch
from timm.models.resnet import ResNet
from torch import Tensor, nn

from medssl.errors import OptionError, did_you_mean
from medssl.recipe.settings import EncoderSettings
from medssl.train.encoder.weights import Weights, find_weights, has_small_stem, load_weights
from medssl.train.machine.small_maps import protect

__all__ = ["Encoder", "build_encoder"]

_SMALL_IMAGE = 64  # pixels; below it, the last stage of a ResNet with the standard stem has one pixel


class Encoder(nn.Module):
    """A timm model without its classifier: images ``(N, 3, H, W)`` to pooled features ``(N, F)``.

    Attributes:
        network: The timm model; ``encoder.network.state_dict()`` has timm's names.
        feature_dim: F.
        backbone_name: timm's name of the model.
        stem: ``standard``, or ``small`` if the first convolution was replaced.
        image_size: Side length of the full-size images that it was built for, in pixels.
        origin: ``source`` and ``sha256`` of its initial weights; empty for random weights.
        float32_layers: Convolutions that run in float32 because the run's smallest images have small maps, see
            :mod:`medssl.train.machine.small_maps`; set by the run.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        backbone_name: str,
        stem: str,
        image_size: int,
        feature_dim: int,
        origin: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.backbone_name = backbone_name
        self.stem = stem
        self.image_size = image_size
        self.feature_dim = feature_dim
        self.origin = dict(origin or {})
        self.float32_layers: tuple[str, ...] = ()
        protect(network)

    def forward(self, images: Tensor) -> Tensor:
        """Encode ``(N, 3, H, W)`` into ``(N, F)``."""
        features: Tensor = self.network(images)
        return features

    def dense(self, images: Tensor) -> Tensor:
        """Encode ``(N, 3, H, W)`` into feature maps ``(N, F, h, w)``, the last ones before pooling.

        If the network pools by a plain average (ResNets, EfficientNets, DenseNets), their mean over h and w equals the
        output of :meth:`forward`. ConvNeXts and others normalise after pooling. Most transformers use their class token
        as pooled feature, which is not part of the map.

        Raises:
            OptionError: The network has no such map, or its map has another width than its pooled features.
        """
        network: Any = self.network
        found: Tensor = network.forward_features(images)
        maps = self._tokens_to_maps(found, images) if found.ndim == 3 else found
        last = getattr(network, "output_fmt", "NCHW") == "NHWC" or maps.shape[1] != self.feature_dim
        maps = maps.movedim(-1, 1) if maps.ndim == 4 and last else maps
        if maps.ndim != 4 or maps.shape[1] != self.feature_dim:
            raise OptionError(
                f"the backbone '{self.backbone_name}' gives no map of its features. Before pooling they have the "
                f"shape {tuple(found.shape)}, after pooling {self.feature_dim} values per image. Use another "
                "--backbone for this method, for instance a ResNet."
            )
        return maps

    def _tokens_to_maps(self, tokens: Tensor, images: Tensor) -> Tensor:
        """Arrange tokens ``(N, T, F)`` as ``(N, h, w, F)`` without prefix tokens (class token); else return them."""
        patches = tokens[:, int(getattr(self.network, "num_prefix_tokens", 0)) :]
        height, width = images.shape[2:]
        h = round(math.sqrt(patches.shape[1] * height / width))
        if h == 0 or patches.shape[1] % h:
            return tokens
        return patches.reshape(len(patches), h, -1, patches.shape[2])


def build_encoder(settings: EncoderSettings, image_size: int, seed: int) -> Encoder:
    """Build an encoder with random weights from a seed, weights from a file, or the weights that timm provides.

    Args:
        settings: Model name, weights file, stem. With weights, ``stem="auto"`` is the stem that the weights were
            trained with.
        image_size: Side length of a full-size view in pixels; determines the position embeddings of transformers.
        seed: Seed of the random weights; the global random state does not change.

    Raises:
        OptionError: timm does not know the model, or the model has no pooled features, cannot process images of this
            size, or has no small stem.
        CheckpointError: The weights cannot be read or do not fit.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would reset the GPUs' seeds too
        network = _create(settings.backbone, image_size)
        weights = find_weights(settings)
        stem = _choose_stem(settings, network, image_size, weights)
        if stem == "small":
            _replace_stem(network, settings.backbone)
    if weights is not None:
        load_weights(network, weights.tensors, weights.path)
    return Encoder(
        network,
        backbone_name=settings.backbone,
        stem=stem,
        image_size=image_size,
        feature_dim=_feature_dim(network, settings.backbone, image_size),
        origin=None if weights is None else {"source": weights.source, "sha256": weights.sha256},
    )


def _create(name: str, image_size: int) -> nn.Module:
    try:
        configuration = timm.get_pretrained_cfg(name) if timm.is_model(name) else None
    except RuntimeError:  # the tag after the dot is unknown for this model
        configuration = None
    if configuration is None:
        raise OptionError(
            f"timm has no model named '{name}'.{did_you_mean(name, timm.list_models())} "
            "--backbone takes any name of timm.list_models(), for instance resnet18, resnet50 or vit_small_patch16_224."
        )
    # transformers: position embeddings for this size, interpolated for smaller views if the model supports it
    sized: tuple[dict[str, Any], ...] = ({"img_size": image_size, "dynamic_img_size": True}, {"img_size": image_size})
    attempts = (*sized, {}) if configuration.fixed_input_size else ({},)
    for options in attempts:
        try:
            return timm.create_model(name, pretrained=False, num_classes=0, **options)
        except TypeError:  # the model does not have this option
            if not options:
                raise
        except (AssertionError, RuntimeError, ValueError) as error:
            raise _unusable(name, image_size, error) from error
    raise AssertionError  # the last attempt returns or raises


def _choose_stem(settings: EncoderSettings, network: nn.Module, image_size: int, weights: Weights | None) -> str:
    if settings.stem != "auto":
        return settings.stem
    if not isinstance(network, ResNet):
        return "standard"
    small = image_size < _SMALL_IMAGE if weights is None else has_small_stem(weights.tensors)
    return "small" if small else "standard"


def _replace_stem(network: nn.Module, name: str) -> None:
    """Replace the stem by a 3 x 3 convolution of stride 1 without max-pooling (SimCLR, appendix B.9)."""
    if not isinstance(network, ResNet):
        raise OptionError(
            f"the backbone '{name}' has no small stem. Only timm's ResNets can have one. Use encoder.stem=standard."
        )
    width: Any = network.bn1.num_features
    convolution = nn.Conv2d(3, width, kernel_size=3, stride=1, padding=1, bias=False)
    nn.init.kaiming_normal_(
        convolution.weight, mode="fan_out", nonlinearity="relu"
    )  # timm's initialisation of a ResNet
    network.register_module("conv1", convolution)
    network.register_module("maxpool", nn.Identity())


def _feature_dim(network: nn.Module, name: str, image_size: int) -> int:
    """Measure the width of the output: timm's ``num_features`` differs from it in some model families."""
    network.eval()
    try:
        with torch.no_grad():
            shape = network(torch.zeros(1, 3, image_size, image_size)).shape
    except (AssertionError, RuntimeError, ValueError, TypeError) as error:
        raise _unusable(name, image_size, error) from error
    if len(shape) != 2:
        raise OptionError(
            f"the backbone '{name}' gives no pooled features. Its output has the shape {tuple(shape)}, not (N, F). "
            "Choose another backbone."
        )
    network.train()
    return int(shape[1])


def _unusable(name: str, image_size: int, error: Exception) -> OptionError:
    cause = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
    return OptionError(
        f"the backbone '{name}' cannot take images of {image_size} x {image_size} px. {cause}. "
        "Give another --image-size (a multiple of a transformer's patch size) or another --backbone."
    )
