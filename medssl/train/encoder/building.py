"""Builds an encoder from a plugin: reproducible random weights, and a wrapper that the rest of the core uses."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from medssl.contracts import Built, EncoderPlugin
from medssl.contracts.crossing.encoders import blocks_problems, built_problems, features_problems
from medssl.contracts.crossing.values import require_no_problems
from medssl.errors import OptionError
from medssl.io.files import checksum
from medssl.results.privacy import hidden_paths
from medssl.train.encoder.lora import Adapter, apply_adapter
from medssl.train.machine.small_maps import protect

__all__ = ["Encoder", "build_encoder", "count_parameters"]


class Encoder(nn.Module):
    """A network with its plugin: images ``(N, C, H, W)`` to pooled features ``(N, F)``.

    Attributes:
        network: The network; the names of ``encoder.network.state_dict()`` are those of its library (timm's, mostly).
        feature_dim: F.
        in_channels: C, 3 for colour and for grey images.
        backbone_name: Name of the architecture.
        rebuild: Options of the plugin that build this network with random weights.
        image_size: Side length of the full-size images that it was built for, in pixels.
        origin: ``source`` and ``sha256`` of its initial weights; empty for random weights.
        float32_layers: Convolutions that run in float32 because the run's smallest images have small maps, see
            :mod:`medssl.train.machine.small_maps`; set by the run.
        source: The plugin that built it; ``None``: the network itself returns features.
        frozen: Names of modules of the network that stay in evaluation mode in training; see
            :mod:`medssl.train.encoder.adapting`.
        adapter: The low-rank adapters that are trained, or were trained and merged.
    """

    adapter: Adapter | None

    def __init__(
        self,
        network: nn.Module,
        *,
        backbone_name: str,
        image_size: int,
        feature_dim: int,
        in_channels: int = 3,
        rebuild: Mapping[str, Any] | None = None,
        origin: Mapping[str, str] | None = None,
        source: EncoderPlugin | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.backbone_name = backbone_name
        self.image_size = image_size
        self.feature_dim = feature_dim
        self.in_channels = in_channels
        self.rebuild = dict(rebuild or {})
        self.origin = dict(origin or {})
        self.source = source
        self.float32_layers: tuple[str, ...] = ()
        self.frozen: tuple[str, ...] = ()
        self.adapter = None
        protect(network)

    def train(self, mode: bool = True) -> Self:
        """Set the training mode; frozen modules stay in evaluation mode, so BatchNorm keeps their given statistics."""
        super().train(mode)
        for name in self.frozen:
            self.network.get_submodule(name).eval()
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Encode ``(N, C, H, W)`` into ``(N, F)``."""
        if self.source is None:
            features: Tensor = self.network(images)
            return features
        features = self.source.features(self.network, images)
        require_no_problems(self.source, "features()", features_problems(features, images.shape[0], self.feature_dim))
        return features

    def dense(self, images: Tensor) -> Tensor:
        """Encode ``(N, C, H, W)`` into feature maps ``(N, F, h, w)``, see :meth:`EncoderPlugin.dense`.

        Raises:
            OptionError: The network has no such map.
        """
        if self.source is None:
            raise OptionError(f"the network '{self.backbone_name}' gives no map of its features. Use another encoder.")
        maps = self.source.dense(self.network, images, self.feature_dim)
        require_no_problems(self.source, "dense()", features_problems(maps, images.shape[0], self.feature_dim, -1, -1))
        return maps

    @property
    def blocks(self) -> tuple[str, ...]:
        """Names of the network's blocks, from the input to the output, as in ``network.named_modules()``."""
        if self.source is None:
            return ()
        names = self.source.blocks(self.network)
        require_no_problems(self.source, "blocks()", blocks_problems(names, dict(self.network.named_modules())))
        return tuple(names)


def build_encoder(source: EncoderPlugin, image_size: int, seed: int, channels: int = 3) -> Encoder:
    """Build a plugin's encoder.

    Args:
        source: The plugin with its options.
        image_size: Side length of a full-size view in pixels; determines the position embeddings of transformers.
        seed: Seed of the random weights; the global random state does not change.
        channels: Channels of the images.

    Raises:
        OptionError: The network is unknown, has no pooled features, or cannot process images of this size.
        CheckpointError: The weights cannot be found or read, or do not fit.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would reset the GPUs' seeds too
        built = source.build(image_size, channels)
    require_no_problems(source, "build()", built_problems(built))
    origin = dict(built.origin)
    if (adapter := source.config.adapter) is not None:
        apply_adapter(built.network, adapter, origin.get("sha256"))
        origin["adapter"] = checksum(adapter)
    return Encoder(
        built.network,
        backbone_name=built.name,
        image_size=image_size,
        feature_dim=_feature_dim(source, built, image_size, channels),
        in_channels=channels,
        rebuild=built.rebuild,
        origin=_named(origin),
        source=source,
    )


def count_parameters(source: EncoderPlugin, image_size: int) -> int | None:
    """Return the number of parameters of an encoder, without memory for them; ``None`` if it cannot be built this way.

    Args:
        source: The plugin with its options, for random weights.
        image_size: Side length of its images in pixels.

    Raises:
        OptionError: The network is unknown, or cannot take images of this size.
    """
    try:
        with torch.device("meta"):
            return sum(parameter.numel() for parameter in source.build(image_size).network.parameters())
    except (NotImplementedError, TypeError):  # its constructor reads numbers, which the device `meta` does not have
        return None


def _feature_dim(source: EncoderPlugin, built: Built, image_size: int, channels: int) -> int:
    """Measure the width of the output: what a library says of it differs in some model families."""
    network = built.network.eval()
    try:
        with torch.no_grad():
            found = source.features(network, torch.zeros(1, channels, image_size, image_size))
    except (AssertionError, RuntimeError, ValueError, TypeError) as error:
        raise _unusable(built.name, image_size, error) from error
    if isinstance(found, Tensor) and found.ndim != 2:
        raise OptionError(
            f"the backbone '{built.name}' gives no pooled features. Its output has the shape {tuple(found.shape)}, not "
            "(N, F). Choose another backbone."
        )
    problems = features_problems(found, 1, -1)
    if not problems and not found.isfinite().all():
        problems = ["the result must be finite"]
    require_no_problems(source, "features()", problems)
    network.train()
    return int(found.shape[1])


def _unusable(name: str, image_size: int, error: Exception) -> OptionError:
    cause = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
    return OptionError(
        f"the backbone '{name}' cannot take images of {image_size} x {image_size} px. {cause}. "
        "Give another --image-size (a multiple of a transformer's patch size) or another --backbone."
    )


def _named(origin: Mapping[str, str]) -> dict[str, str]:
    """Give a file of weights its private name; a name of the catalogue or of a repository is kept."""
    source = origin.get("source", "")
    found: dict[str, str] = hidden_paths(dict(origin), (source,) if Path(source).is_file() else (), {})
    return found
