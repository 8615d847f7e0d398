"""The image part of a model of the package open_clip: ``open_clip:owner/name``.

Features are the image embedding (``embedding: true``), or those of the image network before it. Mean, deviation and
size come from ``open_clip_config.json``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from medssl.contracts import Built, EncoderCard, Pooling
from medssl.errors import OptionError, PluginError
from medssl_encoders import _building, _cards, _convert
from medssl_encoders._hub import understood
from medssl_encoders._repository import FromRepository
from medssl_encoders._weights import Weights, load_weights

__all__ = ["OpenClip"]

#: OpenAI's CLIP, which open_clip's models expect if they say nothing else (open_clip.constants).
_CLIP = {"mean": [0.48145466, 0.4578275, 0.40821073], "std": [0.26862954, 0.26130258, 0.27577711]}
_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")


class OpenClip(FromRepository):
    """The image tower of a contrastive model of images and texts."""

    @dataclass(frozen=True, kw_only=True)
    class Config(FromRepository.Config):
        """Options.

        Attributes:
            repository: ``owner/name`` on the hub.
            revision: A branch, a tag or a commit; ``None``: the main branch.
            settings: The model's settings (``embed_dim``, ``vision_cfg``); ``None``: those of the repository.
            embedding: Whether features are the image embedding that is compared with texts; else the network before it.
            weights: ``pretrained``: those of the repository; a file with the same weights; ``None``: random.
        """

        repository: str = "microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224"
        settings: Mapping[str, Any] | None = None
        embedding: bool = True  # `encode_image`, what the model's authors evaluate

    config: Config

    @cached_property
    def _described(self) -> dict[str, Any]:
        return self._read_json("open_clip_config.json")

    @property
    def _settings(self) -> dict[str, Any]:
        return dict(self.config.settings if self.config.settings is not None else self._described["model_cfg"])

    def _describe(self) -> EncoderCard:
        """Return the card of ``open_clip_config.json``, or CLIP's if the options describe the model."""
        values = _CLIP if self.config.settings is not None else {**_CLIP, **self._described.get("preprocess_cfg", {})}
        card = _cards.of_config({**values, "interpolation": values.get("interpolation", "bicubic")})
        return replace(card, image_size=int(self._settings["vision_cfg"].get("image_size", 224)))

    def build(self, image_size: int, channels: int = 3) -> Built:
        """Create the image tower and load its weights."""
        _building.require_colour(self.config.repository, channels)
        with understood(self.config.repository):
            settings = self._settings
            make = partial(_tower, settings, self.config.embedding, image_size)
            _building.require_plausible(make, settings["vision_cfg"], self.config.repository)
            network = make()
        weights = self._open_weights(_FILES)
        if weights is not None:
            load_weights(network, _of_tower(weights, network))
        return Built(
            network=network,
            name=self.config.repository,
            rebuild={
                "repository": self.config.repository,
                "settings": {name: settings[name] for name in ("embed_dim", "vision_cfg")},
                "embedding": self.config.embedding,
            },
            origin={} if weights is None else weights.origin,
        )

    def features(self, network: nn.Module, images: Tensor) -> Tensor:
        """Encode ``(N, 3, H, W)`` into ``(N, F)``."""
        pooling: Pooling | None = self.config.pooling
        if pooling is None:
            found: Tensor = network(images)
            return found
        trunk = getattr(network, "trunk", None)
        if trunk is None:
            raise OptionError(f"{self.config.repository} has no tokens to pool. Leave out encoder.pooling.")
        return _building.pooled(trunk, images, pooling, self.config.repository)

    def blocks(self, network: nn.Module) -> Sequence[str]:
        """Return the names of the tower's blocks."""
        trunk = getattr(network, "trunk", None)
        if trunk is not None:
            return [f"trunk.{name}" for name in _building.names_of_blocks(trunk)]
        found = getattr(getattr(network, "transformer", None), "resblocks", ())
        return [f"transformer.resblocks.{i}" for i, _ in enumerate(found)]

    def runs(self) -> str:
        """Say what a conversion downloads and runs."""
        return (
            f"downloads {_FILES[1]} of {self.config.repository} and reads it with Python's pickle, which can run any "
            "program that the file contains"
        )

    def convert(self, target: Path) -> str:
        """Read the pickle of the repository, and write its tensors."""
        path = self._fetch_weights(_FILES[1:])
        return _convert.convert_pickle(path, target, self.card, f"{self.config.repository}, {path.name}")


def _tower(settings: Mapping[str, Any], embedding: bool, image_size: int) -> nn.Module:
    """Build the image tower alone; texts are not needed."""
    try:
        from open_clip.model import CLIPVisionCfg, _build_vision_tower  # noqa: PLC0415  (an extra)
    except ImportError as error:
        raise PluginError(
            'the encoder needs the package open_clip, which is not installed. Run pip install "medssl[open-clip]".'
        ) from error
    vision = {**settings["vision_cfg"], "image_size": image_size, "timm_model_pretrained": False}
    try:
        tower: nn.Module = _build_vision_tower(int(settings["embed_dim"]), CLIPVisionCfg(**vision))
    except (TypeError, ValueError, RuntimeError, AssertionError) as error:
        raise _building.unusable(str(vision.get("timm_model_name", "open_clip")), image_size, error) from error
    if not embedding and hasattr(tower, "head"):
        tower.head = nn.Identity()
    return tower


def _of_tower(weights: Weights, network: nn.Module) -> Weights:
    """Take the image tower's tensors out of a whole model's."""
    inside = {n.removeprefix("visual."): v for n, v in weights.tensors.items() if n.startswith("visual.")}
    kept = inside or weights.tensors
    own = network.state_dict()
    return replace(weights, tensors={n: v for n, v in kept.items() if n in own or not n.startswith("head.")})
