"""A repository of the Hugging Face Hub in timm's format: ``hub:owner/name``.

Such a repository has a ``config.json`` with timm's name of the network, its arguments, and mean, deviation, size and
pooling. An entry of the catalogue can give these instead; then only the weights are fetched. Files in the hub's cache
are used first. To use a file that you have brought, give it with ``--init FILE``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from medssl.contracts import Built, EncoderCard, Pooling, PositiveInt
from medssl.errors import CheckpointError, OptionError
from medssl_encoders import _building, _cards, _convert
from medssl_encoders._hub import FILES, understood
from medssl_encoders._repository import FromRepository
from medssl_encoders._weights import load_weights

__all__ = ["Hub"]

_POOLINGS: Mapping[str, Pooling] = {"token": "token", "avg": "mean"}  # nosec B105 # of a transformer


class Hub(FromRepository):
    """A network of timm with the weights of a repository."""

    @dataclass(frozen=True, kw_only=True)
    class Config(FromRepository.Config):
        """Options.

        Attributes:
            repository: ``owner/name`` on the hub.
            revision: A branch, a tag or a commit; ``None``: the main branch.
            architecture: timm's name of the network; ``None``: as the repository's ``config.json`` says.
            arguments: Arguments of the network; ``None``: as ``config.json`` says.
            size: Side of its images in pixels; ``None``: as ``config.json`` says, else the recipe's.
            file: Name of the weights file in the repository; ``None``: the usual names.
            weights: ``pretrained``: those of the repository; a file with the same weights; ``None``: random.
        """

        repository: str = "timm/resnet18.a1_in1k"  # the default backbone
        architecture: str | None = None
        arguments: Mapping[str, Any] | None = None
        size: PositiveInt | None = None
        file: str | None = None

    config: Config

    @cached_property
    def _described(self) -> dict[str, Any]:
        """The repository's ``config.json``; empty if the options describe the network."""
        if self.config.architecture is not None:
            return {}
        try:
            values = self._read_json("config.json")
        except CheckpointError as error:
            if "contains none of" not in str(error):
                raise
            raise OptionError(
                f"the repository {self.config.repository} has no config.json, so it is not in timm's format. Name its "
                "network with --set encoder.architecture=NAME, or use the plugin transformers or open_clip."
            ) from error
        if not isinstance(values.get("architecture"), str):
            raise OptionError(
                f"the config.json of {self.config.repository} names no network of timm. It is written for another "
                "library. Try --encoder transformers:OWNER/NAME, or --set encoder.architecture=NAME."
            )
        return values

    @property
    def _architecture(self) -> str:
        return self.config.architecture or str(self._described["architecture"])

    @property
    def _arguments(self) -> dict[str, Any]:
        if self.config.arguments is not None:
            return dict(self.config.arguments)
        described = dict(self._described.get("model_args") or {})
        if (pool := self._described.get("global_pool")) and "global_pool" not in described:
            described["global_pool"] = pool
        return described

    def _describe(self) -> EncoderCard:
        """Return the card of ``config.json``; without it, only what the options say."""
        if described := self._described:
            card = _cards.of_config(described.get("pretrained_cfg") or described)
            size = (described.get("pretrained_cfg") or described).get("input_size")
            card = replace(card, pooling=_POOLINGS.get(str(described.get("global_pool"))))
            card = replace(card, image_size=int(size[-1]) if size else None)
        else:
            card = EncoderCard()
        return replace(card, image_size=self.config.size) if self.config.size else card

    def build(self, image_size: int, channels: int = 3) -> Built:
        """Create the network and load the weights."""
        config = self.config
        with understood(config.repository):
            arguments = self._arguments
            make = partial(_building.create, self._architecture, image_size, arguments, channels)
            _building.require_plausible(make, arguments, config.repository)
            network = make()
        weights = self._open_weights(FILES if config.file is None else (config.file,))
        if weights is not None:
            load_weights(network, weights)
        return Built(
            network=network,
            name=self._architecture,
            rebuild={"architecture": self._architecture, "arguments": arguments},
            origin={} if weights is None else weights.origin,
        )

    def features(self, network: nn.Module, images: Tensor) -> Tensor:
        """Encode ``(N, 3, H, W)`` into ``(N, F)``."""
        return _building.pooled(network, images, self.config.pooling, self._architecture)

    def dense(self, network: nn.Module, images: Tensor, width: int) -> Tensor:
        """Encode ``(N, 3, H, W)`` into the feature maps before pooling."""
        return _building.maps_of(network, images, width, self._architecture)

    def blocks(self, network: nn.Module) -> Sequence[str]:
        """Return the names of the network's blocks."""
        return _building.names_of_blocks(network)

    @property
    def _pickle(self) -> str:
        return self.config.file or "pytorch_model.bin"

    def runs(self) -> str:
        """Say what a conversion downloads and runs."""
        return (
            f"downloads {self._pickle} of {self.config.repository} and reads it with Python's pickle, which can run "
            "any program that the file contains"
        )

    def convert(self, target: Path) -> str:
        """Read the pickle of the repository, and write its tensors and the card."""
        path = self._fetch_weights((self._pickle,))
        return _convert.convert_pickle(path, target, self.card, f"{self.config.repository}, {path.name}")
