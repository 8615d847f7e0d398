"""Weight files: reads them, removes the names that other programs put before timm's, and fits them to a network."""

from __future__ import annotations

import hashlib
import logging
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from timm.models import adapt_input_conv
from torch import Tensor, nn

from medssl.errors import CheckpointError
from medssl.tools import read_weights

__all__ = [
    "Weights",
    "differences",
    "has_small_stem",
    "load_weights",
    "open_weights",
    "without_prefix",
]

_log = logging.getLogger("medssl.encoders")

# what programs write before the encoder's names; the first that fits is taken
_PREFIXES = (
    "module.encoder_q.",  # MoCo v1, v2
    "module.base_encoder.",  # MoCo v3
    "encoder_q.",
    "base_encoder.",
    "module.backbone.",  # DINO
    "backbone.",  # DINO, solo-learn, lightly
    "student.backbone.",
    "teacher.backbone.",
    "model.backbone.",
    "encoder.",
    "model.",
    "module.",  # SwAV, and torch's DataParallel
)
# parts of a method that are not the encoder
_HEADS = ("projection_head", "prototypes", "projector", "predictor", "prediction_head", "queue", "momentum_", "head")
# lightly's examples keep a torchvision ResNet as nn.Sequential(*list(resnet.children())[:-1])
_NUMBERED = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"}


@dataclass(frozen=True)
class Weights:
    """Weights of an encoder.

    Attributes:
        tensors: Tensors by name.
        path: The file that contains them.
        source: Where they come from: the file, or the repository on the hub.
        sha256: Checksum of the file.
    """

    tensors: dict[str, Tensor]
    path: Path
    source: str
    sha256: str

    @property
    def origin(self) -> dict[str, str]:
        """The entries of a result about these weights."""
        return {"source": self.source, "sha256": self.sha256}


def open_weights(path: Path, source: str = "") -> Weights:
    """Read a weights file.

    Args:
        path: The file.
        source: Where it comes from; empty: the file itself.

    Raises:
        CheckpointError: See :func:`read_weights`.
    """
    tensors = read_weights(path)
    with path.open("rb") as file:
        return Weights(tensors, path, source or str(path), hashlib.file_digest(file, "sha256").hexdigest())


def has_small_stem(weights: Mapping[str, Tensor]) -> bool:
    """Whether a ResNet's weights have a stem of one 3 x 3 convolution."""
    stems = (f"{prefix}{stem}" for prefix in ("", *_PREFIXES) for stem in ("conv1.weight", "0.weight"))
    first = next((weights[stem] for stem in stems if stem in weights), None)
    return first is not None and first.ndim == 4 and first.shape[-1] == 3


def load_weights(network: nn.Module, weights: Weights) -> None:
    """Load weights into a network without classifier, in place.

    The classifier in the file is dropped. If names or shapes differ, timm's own converter for this model family is
    used, which for instance resizes a transformer's position embeddings to the image size. If they still differ,
    prefixes and heads of other programs are removed, and a warning says which.

    Raises:
        CheckpointError: Weights are missing, unexpected, or of another shape; the message names the tensors.
    """
    own = network.state_dict()
    given, found = _fitted(weights.tensors, network, own)
    if found:
        bare, words = without_prefix(weights.tensors, own)
        if words:
            bared, rest = _fitted(bare, network, own)
            if len(rest) <= len(found):
                given, found = bared, rest
            if not rest:
                _log.warning("initial weights %s: %s left out", weights.path.name, words)
    if found:
        raise CheckpointError(
            f"the weights of {weights.path} do not fit the backbone. {'; '.join(found)}. Give the backbone and the "
            "stem that they were trained with."
        )
    network.load_state_dict(given)


def _fitted(
    tensors: Mapping[str, Tensor], network: nn.Module, own: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], list[str]]:
    """Return the tensors for a network without classifier, converted by timm if needed, and how they still differ."""
    given = _without_classifier(tensors, network, own)
    if differences(given, own):
        given = _without_classifier(_convert(dict(given), network), network, own)
    given = _adapt_channels(given, own, network)
    return given, differences(given, own)


def _adapt_channels(given: dict[str, Tensor], own: Mapping[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """Fit the first layer to the model's number of channels; the change is that of timm."""
    named = (getattr(network, "pretrained_cfg", None) or {}).get("first_conv") or ()
    for name in [named] if isinstance(named, str) else named:
        key = f"{name}.weight"
        if key in given and key in own and given[key].shape[1] == 3 != own[key].shape[1] and given[key].ndim == 4:
            adapted: Tensor = adapt_input_conv(own[key].shape[1], given[key])
            given = {**given, key: adapted}
    return given


def without_prefix(tensors: Mapping[str, Tensor], own: Iterable[str]) -> tuple[dict[str, Tensor], str]:
    """Remove what other programs write before the names of an encoder's tensors, and the parts beside it.

    Args:
        tensors: Tensors by the names of the file.
        own: The names of the network.

    Returns:
        The encoder's tensors, and what was removed in words; these are empty if nothing was removed.
    """
    wanted = set(own)
    best, prefix = 0, ""
    for candidate in ("", *_PREFIXES):
        found = sum(_renamed(name.removeprefix(candidate)) in wanted for name in tensors if name.startswith(candidate))
        if found > best:  # of equally good ones the first: a student before its teacher
            best, prefix = found, candidate
    inside = {_renamed(n.removeprefix(prefix)): value for n, value in tensors.items() if n.startswith(prefix)}
    kept = {name: value for name, value in inside.items() if name in wanted or not name.startswith(_HEADS)}
    words = [f"the prefix '{prefix}'"] if prefix else []
    heads = sorted({name.partition(".")[0] for name in tensors if not name.startswith(prefix)})
    heads += sorted({name.partition(".")[0] for name in inside if name not in kept})
    if heads:
        words.append(f"the parts {', '.join(dict.fromkeys(heads))}, which are not the encoder")
    return (kept, " and ".join(words)) if words or kept.keys() != tensors.keys() else (dict(tensors), "")


def _renamed(name: str) -> str:
    first, dot, rest = name.partition(".")
    return f"{_NUMBERED[first]}{dot}{rest}" if first in _NUMBERED else name


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


def differences(given: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> list[str]:
    """Say how tensors differ from those of a network: missing, unexpected, and up to three of another shape."""
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
