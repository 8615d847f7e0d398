"""Any network of timm, from random weights, from the weights that timm provides, or from a file.

``--backbone NAME`` and ``--init FILE|pretrained`` set its options. Random weights are drawn with the run's seed. With
given weights, mean, deviation and interpolation are those that the weights were trained with: a file's own header comes
first, then timm's configuration of the network. timm is R. Wightman, PyTorch Image Models, doi 10.5281/zenodo.4414861.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from timm.models.resnet import ResNet
from torch import Tensor, nn

from medssl.contracts import Built, EncoderCard, EncoderPlugin
from medssl_encoders import _building, _cards
from medssl_encoders._hub import fetch_timm
from medssl_encoders._weights import Weights, has_small_stem, load_weights, open_weights

__all__ = ["Timm"]

_SMALL_IMAGE = 64  # pixels; below it, the last stage of a ResNet with the standard stem has one pixel


class Timm(EncoderPlugin):
    """A model of timm without its classifier."""

    @dataclass(frozen=True, kw_only=True)
    class Config(EncoderPlugin.Config):
        """Options.

        Attributes:
            backbone: Any timm model name.
            weights: Initial weights: a state dict (.safetensors, .pth, or an encoder of an earlier run);
                ``pretrained``: the weights that timm provides for this backbone, most trained on ImageNet; ``None``:
                random.
            stem: ``small``: 3 x 3 first convolution, stride 1, no max-pooling (SimCLR appendix B.9); ``standard``: the
                backbone's own; ``auto``: small for ResNets below 64 px. With weights, ``auto`` is the stem that they
                were trained with.
        """

        backbone: str = "resnet18"
        weights: Literal["pretrained"] | Path | None = None
        stem: Literal["auto", "small", "standard"] = "auto"

    argument: ClassVar[str] = "backbone"
    config: Config

    @property
    def weights(self) -> Path | str | None:
        """The file, timm's name of its weights, or ``None``."""
        given = self.config.weights
        return f"timm's {self.config.backbone}" if given == "pretrained" else given

    def read_card(self) -> EncoderCard:
        """Return the card of the weights; random weights expect ImageNet's mean and deviation."""
        if self.config.weights is None:
            return EncoderCard()
        known = _cards.of_timm(_building.require_architecture(self.config.backbone))
        if isinstance(self.config.weights, Path):
            return _cards.of_file(self.config.weights, known)
        return known

    def build(self, image_size: int, channels: int = 3) -> Built:
        """Create the network; with weights, load them."""
        config = self.config
        network = _building.create(config.backbone, image_size, channels=channels)
        weights = self._find_weights()
        stem = self._choose_stem(network, image_size, weights)
        if stem == "small":
            _building.replace_stem(network, config.backbone, channels)
        if weights is not None:
            load_weights(network, weights)
        return Built(
            network=network,
            name=config.backbone,
            rebuild={"backbone": config.backbone, "stem": stem},
            origin={} if weights is None else weights.origin,
        )

    def _find_weights(self) -> Weights | None:
        given = self.config.weights
        if given is None:
            return None
        return open_weights(given) if isinstance(given, Path) else open_weights(*fetch_timm(self.config.backbone))

    def _choose_stem(self, network: nn.Module, image_size: int, weights: Weights | None) -> str:
        if self.config.stem != "auto":
            return self.config.stem
        if not isinstance(network, ResNet):
            return "standard"
        small = image_size < _SMALL_IMAGE if weights is None else has_small_stem(weights.tensors)
        return "small" if small else "standard"

    def features(self, network: nn.Module, images: Tensor) -> Tensor:
        """Encode ``(N, 3, H, W)`` into ``(N, F)``, with the network's own pooling or the chosen one."""
        return _building.pooled(network, images, self.config.pooling, self.config.backbone)

    def dense(self, network: nn.Module, images: Tensor, width: int) -> Tensor:
        """Encode ``(N, 3, H, W)`` into the feature maps before pooling."""
        return _building.maps_of(network, images, width, self.config.backbone)

    def blocks(self, network: nn.Module) -> Sequence[str]:
        """Return the names of the network's blocks."""
        return _building.names_of_blocks(network)
