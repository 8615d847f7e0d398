"""The sections of ``result.json`` as typed values: attributes instead of keys. The scores are in a module of their own.

Entries that earlier versions did not write have a default. Unknown entries are left out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import PlainValidator, TypeAdapter, ValidationError

from medssl.contracts.targets import Classes, Target, target_from_dict
from medssl.errors import CheckpointError

__all__ = [
    "CONFOUNDING",
    "LEAK",
    "Adaptation",
    "CopiesSeen",
    "EncoderSeen",
    "Environment",
    "FirstWeights",
    "Fold",
    "LabelsUsed",
    "Lora",
    "PartSeen",
    "RunData",
    "Training",
    "read_section",
    "validated",
]

#: How the warnings of a result start that a page and a table show first: test images that the encoder was trained on,
#: and what predicts the target beside the disease.
LEAK, CONFOUNDING = "leak: ", "confounding: "
_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True)
class Fold:
    """The fold that is the test part.

    Attributes:
        index: Number of the fold, from 0.
        count: Number of folds.
        left_out: The left-out group or site, if the protocol leaves one out.
    """

    index: int
    count: int
    left_out: str | None = None


@dataclass(frozen=True, kw_only=True)
class LabelsUsed:
    """Labels that the evaluators saw.

    Attributes:
        fraction: Requested fraction, above 0 and up to 1.
        seed: Seed of the choice.
        train: Labels in the training part.
        val: Labels in the validation part.
    """

    fraction: float
    seed: int
    train: int
    val: int


@dataclass(frozen=True, kw_only=True)
class CopiesSeen:
    """Images of a part with a duplicate in an earlier part.

    Attributes:
        images: All images of the part.
        equal: Images with a duplicate.
        near: Images with a near-duplicate.
        either: Images with either.
    """

    images: int = 0
    equal: int = 0
    near: int = 0
    either: int = 0


@dataclass(frozen=True, kw_only=True)
class PartSeen:
    """Images of a part that the encoder has seen in its training.

    Attributes:
        images: All images of the part.
        equal: Images that it was trained on.
        near: Near-duplicates of images that it was trained on; ``None``: not searched.
        group: Other images of a group that it was trained on.
        either: Any of these.
        by_split: Those with a duplicate, or an image of their group, in this run's own training part.
    """

    images: int
    equal: int
    near: int | None
    group: int
    either: int
    by_split: int


@dataclass(frozen=True, kw_only=True)
class EncoderSeen:
    """The validation and test images that the initial weights had seen.

    Attributes:
        known: Whether the weights have a complete record.
        images: Images in that record.
        allowed: Whether seen images were allowed.
        val: Seen images of the validation part.
        test: Seen images of the test part.
    """

    known: bool
    images: int
    allowed: bool
    val: PartSeen
    test: PartSeen


def _target(values: object) -> Target:
    if not isinstance(values, Mapping):
        raise ValueError("a target must be a mapping")
    return target_from_dict(values)


@dataclass(frozen=True, kw_only=True)
class RunData:
    """The images of a run and their split.

    Attributes:
        directory: Folder of the images.
        images: Number of all images.
        train: Images of the training part.
        val: Images of the validation part.
        test: Images of the test part.
        unused: Images in no part.
        target: The target of the images.
        groups: Groups in each part; ``None`` for a split that does not keep groups together.
        group_kind: The kind of group, for instance ``patient``.
        site_kind: The kind of site, for instance ``hospital``; ``None`` if no site is known.
        chosen: What the options chose of the dataset, for titles; empty: nothing that a title must name.
        shared_groups: Validation and test images whose group also has training images; ``None``: groups are not known.
        split: Protocol of the split.
        split_reason: The reason for this protocol.
        split_sha256: Checksum of the ids in each part.
        fold: The fold that is the test part; ``None`` for a protocol without folds.
        labels: Labels that the evaluators saw.
        samples_sha256: Checksum of every id with its label, group and official part.
        seen_before: By part (``val``, ``test``), images with a duplicate in an earlier part.
        confounding: What predicts the target beside the disease, as plain values; ``None``: not measured.
        encoder_seen: The images that the initial weights had seen; ``None`` for random weights.
        store: Checksum (``key``), size (``bytes``) of the decoded images, and whether any was ``reduced``.
        warnings: Warnings for the reader, the most serious first.
    """

    directory: Path
    images: int
    train: int
    val: int
    test: int
    unused: int = 0
    target: Annotated[Target, PlainValidator(_target)]
    groups: Mapping[str, int] | None = None
    group_kind: str | None = None
    site_kind: str | None = None
    chosen: str = ""
    shared_groups: Mapping[str, int] | None = None
    split: str
    split_reason: str = ""
    split_sha256: str = ""
    fold: Fold | None = None
    labels: LabelsUsed | None = None
    samples_sha256: str | None = None
    seen_before: Mapping[str, CopiesSeen] = field(default_factory=dict)
    confounding: Mapping[str, Any] | None = None
    encoder_seen: EncoderSeen | None = None
    store: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def positive(self) -> str | None:
        """The positive class of two classes; ``None`` for another target."""
        target = self.target
        if isinstance(target, Classes) and target.outputs == 2:
            return target.names[target.positive_index]
        return None


@dataclass(frozen=True, kw_only=True)
class FirstWeights:
    """The weights that pre-training started from.

    Attributes:
        source: A file, or timm's name of them.
        sha256: Checksum of their content.
        adapter: Checksum of the adapters that were added to them; ``None``: none.
    """

    source: str
    sha256: str
    adapter: str | None = None


@dataclass(frozen=True, kw_only=True)
class Lora:
    """The low-rank adapters that a run trained.

    Attributes:
        rank: Rank of each.
        alpha: They are scaled by ``alpha / rank``.
        layers: Number of layers that have one.
        base: Checksum of the frozen weights beside them.
    """

    rank: int
    alpha: float
    layers: int
    base: str


@dataclass(frozen=True, kw_only=True)
class Adaptation:
    """How given weights were trained.

    Attributes:
        trained_parameters: Trained parameters of the encoder.
        parameters: All its parameters, with adapters.
        last_blocks: Number of trained blocks; ``None``: all.
        layer_decay: Factor of the learning rate from one block to the block before it.
        lora: Its low-rank adapters.
    """

    trained_parameters: int
    parameters: int
    last_blocks: int | None = None
    layer_decay: float = 1.0
    lora: Lora | None = None


@dataclass(frozen=True, kw_only=True)
class Training:
    """The pre-training of a run.

    Attributes:
        epochs: Passes over the training images; 0 if nothing was trained.
        steps: Optimiser steps.
        seconds: Wall time of the training alone.
        images_per_second: An image counts once per view; ``None`` if nothing was trained.
        final_loss: Mean over the last epoch; ``None`` if nothing was trained.
        uses_labels: Whether the method learns from the training labels.
        init: The weights that it started from; ``None`` for random ones.
        adaptation: How they were trained; ``None``: all at one rate.
        reused: Folder of the run whose encoder was reused; ``None``: this run trained its own.
    """

    epochs: int
    steps: int = 0
    seconds: float
    images_per_second: float | None = None
    final_loss: float | None = None
    uses_labels: bool = False
    init: FirstWeights | None = None
    adaptation: Adaptation | None = None
    reused: str | None = None


@dataclass(frozen=True, kw_only=True)
class Environment:
    """Software and hardware of a run. ``result.values["environment"]`` has the versions of more packages.

    Attributes:
        python: Version of Python.
        torch: Version of PyTorch.
        platform: Operating system.
        processor: Its name.
        gpu: Names of the GPUs.
        device: Device of the run, for instance ``cpu`` or ``cuda:0``.
        precision: ``float32``, ``bfloat16`` or ``float16``.
        precision_reason: The reason for this precision.
        float32_layers: Layers that ran in float32 although the precision is lower.
        devices: Number of devices that trained together.
    """

    python: str | None = None
    torch: str | None = None
    platform: str | None = None
    processor: str | None = None
    gpu: tuple[str, ...] = ()
    device: str | None = None
    precision: str | None = None
    precision_reason: str | None = None
    float32_layers: tuple[str, ...] = ()
    devices: int = 1


@cache
def _adapter(shape: Any) -> TypeAdapter[Any]:
    return TypeAdapter(shape)


def read_section(values: Mapping[str, Any], name: str, shape: type[_T], file: Path) -> _T:
    """Read a section of a result.

    Args:
        values: Content of ``result.json``.
        name: Name of the section.
        shape: Its type.
        file: Where the values come from, for the message.

    Raises:
        CheckpointError: The section or an entry of it is missing, or of the wrong type.
    """
    if name not in values:
        raise CheckpointError(f"{file} is damaged. Its section '{name}' is missing. {_ADVICE}")
    return validated(values[name], shape, name, file)


_ADVICE = "Restore the file from a backup, or run again with --force."


def validated(value: Any, shape: type[_T], name: str, file: Path) -> _T:
    """Check a value against a type.

    Args:
        value: Plain values, as read from JSON.
        shape: The type.
        name: The place of the value in the file, for the message.
        file: Where it comes from, for the message.

    Raises:
        CheckpointError: An entry is missing or of the wrong type.
    """
    wanted: Any = shape  # a type is hashable, and mypy says otherwise
    try:
        read: _T = _adapter(wanted).validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        # the file itself does not have the level ``metrics``
        inside = first["loc"][1:] if first["loc"][:1] == ("metrics",) else first["loc"]
        place = ".".join([name, *map(str, inside)])
        raise CheckpointError(f"{file} is damaged. At '{place}': {first['msg'].lower()}. {_ADVICE}") from error
    return read
