"""An encoder from a weights file: of an earlier run, of timm, torchvision, MoCo, DINO, SwAV, lightly or solo-learn.

An encoder of a run names its network itself. For other files the network is the one of the usual ResNets and vision
transformers that has exactly these tensors; if none or several have, name it with ``encoder.backbone``. What other
programs write before the names, and the heads of their methods, are removed, and a warning says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from medssl.contracts import Built, EncoderCard, EncoderPlugin
from medssl.errors import CheckpointError, OptionError
from medssl.tools import read_weights
from medssl_encoders import _building, _cards, _convert
from medssl_encoders._weights import differences, has_small_stem, without_prefix
from medssl_encoders.timm import Timm

__all__ = ["File"]

_SLACK = 10_000_000  # parameters that a network may have beside those of a file, for instance another stem
#: Networks that a file without a name is compared with: those in which these programs publish weights.
_USUAL = (
    *("resnet18", "resnet34", "resnet50", "resnet101", "vit_tiny_patch16_224", "vit_small_patch16_224"),
    *("vit_base_patch16_224", "vit_large_patch16_224", "vit_small_patch8_224", "vit_base_patch8_224"),
)


class File(EncoderPlugin):
    """The network of a weights file, with these weights."""

    @dataclass(frozen=True, kw_only=True)
    class Config(EncoderPlugin.Config):
        """Options.

        Attributes:
            weights: The file, or the folder of a run; for a run it is its ``encoder.safetensors``.
            backbone: timm's name of the network; ``None``: as the file says, else recognised by its tensors.
            stem: As of the plugin timm.
        """

        weights: Path | None = None
        backbone: str | None = None
        stem: Literal["auto", "small", "standard"] = "auto"

    argument: ClassVar[str] = "weights"
    config: Config

    @property
    def weights(self) -> Path | None:
        """The file."""
        path = self.config.weights
        return path / "encoder.safetensors" if path is not None and path.is_dir() else path

    @cached_property
    def _header(self) -> dict[str, str]:
        if self.weights is None:
            return {}
        if not self.weights.is_file():
            raise CheckpointError(
                f"there is no encoder at {self.weights}. Give the folder of a run or a weights file with --encoder."
            )
        return _cards.header_of(self.weights)

    @cached_property
    def _network(self) -> Timm:
        """The plugin timm with the file's network."""
        own, header = self.config, self._header
        named = own.backbone or header.get("backbone") or header.get("timm_model") or self._recognised()
        if not _building.architecture_known(named) and own.backbone is None:
            raise OptionError(
                f"the network '{named}' of {self.weights} is not one of timm. Another plugin wrote this file. Give the "
                "file itself with --encoder, without `file:`."
            )
        if own.backbone is None:
            self._require_size(named)
        stem: Any = own.stem if own.stem != "auto" else header.get("stem", "auto")
        shared = {name: getattr(own, name) for name in ("pooling", "mean", "std", "interpolation", "crop")}
        return Timm.of(backbone=named, weights=self.weights, stem=stem, **shared)

    def _require_size(self, named: str) -> None:
        """Refuse a header that names a network much larger than its file, before memory is requested for it."""
        size = self.weights.stat().st_size if self.weights is not None else 0
        count = _building.count_parameters(partial(_building.create, named, 224))
        if count is not None and count > size + _SLACK:
            raise CheckpointError(
                f"{self.weights} names the network '{named}' of {count:,} parameters, but has {size:,} bytes. It is "
                "damaged. Use the original file, or name its network with --set encoder.backbone=NAME."
            )

    def _recognised(self) -> str:
        if self.weights is None:
            raise OptionError("the encoder 'file' has no file. Give it as --encoder FILE or --encoder file:FILE.")
        tensors = read_weights(self.weights)
        patches = any("patch_embed" in key for key in tensors)
        fitting = [name for name in _USUAL if name.startswith("vit_") == patches and _fits(tensors, name)]
        if len(fitting) == 1:
            return fitting[0]
        found = f"Its tensors fit {' and '.join(fitting)}" if fitting else "Its tensors fit none of the usual networks"
        raise OptionError(
            f"{self.weights} does not say which network its weights belong to. {found}. Name the network with "
            "--set encoder.backbone=NAME."
        )

    def read_card(self) -> EncoderCard:
        """Return the card of the file."""
        card = self._network.read_card()
        size = self._header.get("image_size") or self._header.get("input_size", "").rpartition(",")[2]
        return replace(card, image_size=int(size)) if size.isdecimal() and len(size) < 6 else card

    def build(self, image_size: int, channels: int = 3) -> Built:
        """Build the network and load the file."""
        return self._network.build(image_size, channels)

    def features(self, network: nn.Module, images: Tensor) -> Tensor:
        """Encode ``(N, 3, H, W)`` into ``(N, F)``."""
        return self._network.features(network, images)

    def dense(self, network: nn.Module, images: Tensor, width: int) -> Tensor:
        """Encode ``(N, 3, H, W)`` into the feature maps before pooling."""
        return self._network.dense(network, images, width)

    def blocks(self, network: nn.Module) -> Sequence[str]:
        """Return the names of the network's blocks."""
        return self._network.blocks(network)

    def runs(self) -> str:
        """Say what a conversion reads and runs."""
        return f"reads {self.weights} with Python's pickle, which can run any program that the file contains"

    def convert(self, target: Path) -> str:
        """Read the file as a pickle, and write its tensors."""
        if self.weights is None:
            raise OptionError("there is no file to convert. Give it as `medssl encoder convert FILE`.")
        return _convert.convert_pickle(self.weights, target, None, self.weights.name)


@cache
def _tensors_of(name: str) -> Mapping[str, Tensor]:
    """Return a network's tensors without their values, and without positions, which follow the size of an image."""
    with torch.device("meta"):
        network = _building.create(name, 224)
    return {key: value for key, value in network.state_dict().items() if key != "pos_embed"}


def _fits(tensors: Mapping[str, Any], name: str) -> bool:
    """Whether a network has exactly these tensors, but for prefixes, heads and a small stem."""
    own = dict(_tensors_of(name))
    if has_small_stem(tensors) and "conv1.weight" in own:
        own["conv1.weight"] = own["conv1.weight"][..., :3, :3]
    bare, _ = without_prefix(tensors, own)
    bare = {
        key: value for key, value in bare.items() if key in own or not key.startswith(("fc.", "head.", "pos_embed"))
    }
    return not differences(bare, own)
