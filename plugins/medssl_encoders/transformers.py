"""A vision model of the package transformers: ``transformers:owner/name``.

Features are the image embedding of a model of images and texts, else the chosen pooling of the last hidden state. Mean,
deviation and size come from ``preprocessor_config.json``. Only safetensors are loaded, and no code of the repository is
run; `medssl encoder convert` does that once, if you agree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from medssl.contracts import Built, EncoderCard, PositiveInt
from medssl.errors import OptionError
from medssl_encoders import _building, _cards, _convert, _vision_models
from medssl_encoders._hub import understood
from medssl_encoders._repository import FromRepository
from medssl_encoders._weights import load_weights

__all__ = ["Transformers"]

_RESAMPLE = {2: "bilinear", 3: "bicubic"}  # Pillow's numbers


class Transformers(FromRepository):
    """A vision model of the package transformers."""

    @dataclass(frozen=True, kw_only=True)
    class Config(FromRepository.Config):
        """Options.

        Attributes:
            repository: ``owner/name`` on the hub.
            revision: A branch, a tag or a commit; ``None``: the main branch.
            settings: The model's settings, as in ``config.json``; ``None``: those of the repository.
            size: Side of its images in pixels; ``None``: as ``preprocessor_config.json`` says.
            weights: ``pretrained``: those of the repository; a file with the same weights; ``None``: random.
        """

        repository: str = "facebook/dinov2-base"
        settings: Mapping[str, Any] | None = None
        size: PositiveInt | None = None

    config: Config

    @cached_property
    def _settings(self) -> dict[str, Any]:
        if self.config.settings is not None:
            return dict(self.config.settings)
        values = self._read_json("config.json")
        if "model_type" not in values:
            raise OptionError(
                f"the config.json of {self.config.repository} is not one of the package transformers. Try --encoder "
                f"hub:{self.config.repository}."
            )
        return values

    @property
    def _vision(self) -> dict[str, Any]:
        """The settings of the image model alone."""
        return dict(self._settings.get("vision_config") or self._settings)

    def _describe(self) -> EncoderCard:
        """Return the card of ``preprocessor_config.json``, unless the options describe the model."""
        card = EncoderCard(image_size=self.config.size or self._vision.get("image_size"), pooling="token")
        if self.config.settings is None:
            values = self._read_json("preprocessor_config.json")
            resized, cut = values.get("size") or {}, values.get("do_center_crop", "crop_size" in values)
            squash = not cut and isinstance(resized, Mapping) and "height" in resized
            size = values.get("crop_size") or resized
            side = size if isinstance(size, int) else size.get("height") or size.get("shortest_edge")
            found = _cards.of_config(
                {
                    "mean": values.get("image_mean"),
                    "std": values.get("image_std"),
                    "interpolation": _RESAMPLE.get(values.get("resample", 3)),
                    "resize_mode": "squash" if squash else None,
                }
            )
            card = replace(card, preprocessing=found.preprocessing, image_size=self.config.size or side)
        return card

    def build(self, image_size: int, channels: int = 3) -> Built:  # noqa: ARG002  (models interpolate their positions)
        """Create the model from its settings and load the weights."""
        _building.require_colour(self.config.repository, channels)
        with understood(self.config.repository):
            make = partial(_vision_models.create, self._vision, self.config.repository)
            _building.require_plausible(make, self._vision, self.config.repository)
            network = make()
        weights = self._open_weights(("model.safetensors",))
        if weights is not None:
            inner = {
                n.removeprefix("vision_model."): v for n, v in weights.tensors.items() if not n.startswith("text_")
            }
            load_weights(network, replace(weights, tensors=_vision_models.of_vision(inner, network)))
        return Built(
            network=network,
            name=self.config.repository,
            rebuild={"repository": self.config.repository, "settings": self._settings},
            origin={} if weights is None else weights.origin,
        )

    def features(self, network: nn.Module, images: Tensor) -> Tensor:
        """Encode ``(N, 3, H, W)`` into ``(N, F)``: the pooled output of SigLIP, else the pooling of the tokens."""
        model: Any = network
        options = {"interpolate_pos_encoding": True} if _vision_models.interpolates(model) else {}
        found = model(pixel_values=images, **options)
        pooling = self.config.pooling
        if pooling is None and "siglip" in str(model.config.model_type):
            pooled: Tensor = found.pooler_output
            return pooled
        return _building.pool(
            found.last_hidden_state, _vision_models.tokens_before(model), pooling or "token", self.config.repository
        )

    def dense(self, network: nn.Module, images: Tensor, width: int) -> Tensor:
        """Encode ``(N, 3, H, W)`` into the maps of the patch tokens ``(N, F, h, w)``."""
        model: Any = network
        tokens = model(pixel_values=images).last_hidden_state[:, _vision_models.tokens_before(model) :]
        patch = int(model.config.patch_size)
        maps: Tensor = tokens.unflatten(1, (images.shape[2] // patch, images.shape[3] // patch)).permute(0, 3, 1, 2)
        if maps.shape[1] != width:
            raise OptionError(
                f"the maps of {self.config.repository} are narrower than its features. Use pooling=token."
            )
        return maps

    def blocks(self, network: nn.Module) -> Sequence[str]:
        """Return the names of the model's layers."""
        lists = [name for name, module in network.named_modules() if isinstance(module, nn.ModuleList)]
        longest = max(lists, key=lambda name: len(list(network.get_submodule(name).children())), default=None)
        return (
            ()
            if longest is None
            else [f"{longest}.{i}" for i, _ in enumerate(network.get_submodule(longest).children())]
        )

    def runs(self) -> str:
        """Say what a conversion downloads and runs."""
        return f"downloads the repository {self.config.repository} and runs the Python files in it (trust_remote_code)"

    def convert(self, target: Path) -> str:
        """Load the model with the repository's own code, and write its tensors."""
        model = _vision_models.package().AutoModel.from_pretrained(self.config.repository, trust_remote_code=True)
        return _convert.write_converted(model.state_dict(), target, self.card, self.config.repository)
