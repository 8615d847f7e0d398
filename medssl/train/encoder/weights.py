"""Weight files in timm's format: reads them, and fits them to a network without a classifier."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as parse_safetensors
from torch import Tensor, nn

from medssl.errors import CheckpointError
from medssl.io.files import checksum
from medssl.recipe.settings import EncoderSettings
from medssl.train.encoder.pretrained import fetch_pretrained

__all__ = ["Weights", "find_weights", "has_small_stem", "load_weights", "read_weights"]

_WRAPPERS = ("state_dict", "model")  # timm's own training script and several others store the weights under these


@dataclass(frozen=True)
class Weights:
    """Initial weights.

    Attributes:
        tensors: Tensors by timm's names.
        path: The file that contains them.
        source: Their source: the file, or timm's name and their repository on the hub.
        sha256: Checksum of the file.
    """

    tensors: dict[str, Tensor]
    path: Path
    source: str
    sha256: str


def find_weights(settings: EncoderSettings) -> Weights | None:
    """Read the weights that ``encoder.weights`` names; ``None`` for random weights.

    Raises:
        OptionError: timm has no weights for this backbone.
        CheckpointError: A file is missing or broken, or timm's weights cannot be downloaded.
    """
    if settings.weights is None:
        return None
    if isinstance(settings.weights, Path):
        path, source = settings.weights, str(settings.weights)
    else:
        path, source = fetch_pretrained(settings.backbone)
    tensors = read_weights(path)
    return Weights(tensors, path, source, checksum(path))


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a state dict: ``.safetensors``, or a PyTorch file of plain tensors.

    Raises:
        CheckpointError: The file is missing, broken, or contains anything other than tensors.
    """
    try:
        if path.suffix == ".safetensors":
            return dict(parse_safetensors(path.read_bytes()))
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise CheckpointError(
            f"the weights file {path} does not exist. It was given with --init or encoder.weights. Check the path."
        ) from error
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} is not a file of plain weights. It is broken, or contains Python objects, which could run code "
            "when loaded. Save model.state_dict() with torch.save or safetensors and use that file."
        ) from error
    except (SafetensorError, OSError, RuntimeError, ValueError, EOFError) as error:
        raise CheckpointError(f"the weights file {path} cannot be read. {error}. Copy or download it again.") from error
    return _unwrap(content, path)


def _unwrap(content: Any, path: Path) -> dict[str, Tensor]:
    for key in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise CheckpointError(
            f"{path} contains no state dict. Expected tensors by name. Save model.state_dict() and use that file."
        )
    return {str(name).removeprefix("module."): value for name, value in content.items()}


def has_small_stem(weights: Mapping[str, Tensor]) -> bool:
    """Whether a ResNet's weights have a stem of one 3 x 3 convolution."""
    first = weights.get("conv1.weight")
    return first is not None and first.shape[-1] == 3


def load_weights(network: nn.Module, weights: Mapping[str, Tensor], path: Path) -> None:
    """Load a state dict into a timm model without classifier, in place.

    The classifier in the file is dropped. If names or shapes differ, timm's own converter for this model family is
    used; for instance, it resizes a transformer's position embeddings to the image size.

    Args:
        network: The model.
        weights: Tensors by timm's names.
        path: The file that they come from, for messages.

    Raises:
        CheckpointError: Weights are missing, unexpected, or of another shape.
    """
    own = network.state_dict()
    given = _without_classifier(weights, network, own)
    if _differences(given, own):
        given = _without_classifier(_convert(dict(given), network), network, own)
    if found := _differences(given, own):
        raise CheckpointError(
            f"the weights of {path} do not fit the backbone. {'; '.join(found)}. Give the backbone and the stem that "
            "they were trained with."
        )
    network.load_state_dict(given)


def _without_classifier(
    weights: Mapping[str, Tensor], network: nn.Module, own: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    classifier = (getattr(network, "pretrained_cfg", None) or {}).get("classifier") or ()
    heads = tuple(f"{name}." for name in ([classifier] if isinstance(classifier, str) else classifier))
    return {name: value for name, value in weights.items() if name in own or not name.startswith(heads)}


def _convert(weights: dict[str, Tensor], network: nn.Module) -> Mapping[str, Tensor]:
    family = sys.modules[type(network).__module__]
    converter: Callable[..., Mapping[str, Tensor]] | None = getattr(family, "checkpoint_filter_fn", None)
    if converter is None:
        return weights
    try:
        return converter(weights, network)
    except (KeyError, RuntimeError, AttributeError, TypeError, ValueError):  # the converter does not know this file
        return weights


def _differences(given: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> list[str]:
    shapes = [
        f"{name} has the shape {tuple(given[name].shape)}, expected {tuple(own[name].shape)}"
        for name in own
        if name in given and given[name].shape != own[name].shape
    ]
    found = [f"missing: {_some([name for name in own if name not in given])}"] if own.keys() - given.keys() else []
    if given.keys() - own.keys():
        found.append(f"unexpected: {_some([name for name in given if name not in own])}")
    return found + shapes[:3]


def _some(names: list[str], shown: int = 3) -> str:
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more
