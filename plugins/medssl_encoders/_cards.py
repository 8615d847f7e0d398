"""Reads the card of an encoder: from timm's configuration, a repository's ``config.json``, or a file's own header."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from medssl.contracts import HALF, IMAGENET, EncoderCard, Interpolation, Preprocessing, forbidden_by
from medssl.errors import CheckpointError
from medssl.tools import open_regular

__all__ = ["header_of", "of_config", "of_file", "of_timm"]

_LONGEST_HEADER = 2**26  # bytes


def of_timm(configuration: Any) -> EncoderCard:
    """Return the card that timm's configuration of a network's weights describes; its crop is not taken over.

    A centre crop that leaves out an eighth of each photograph's side would leave out anatomy.
    """
    return of_config(vars(configuration) if not isinstance(configuration, Mapping) else configuration)


def of_config(values: Mapping[str, Any]) -> EncoderCard:
    """Return the card that the entry ``pretrained_cfg`` of a ``config.json`` describes."""
    licence = values.get("license") or None
    size = values.get("input_size")
    return EncoderCard(
        preprocessing=Preprocessing(
            mean=_three(values.get("mean"), IMAGENET.mean),
            std=_three(values.get("std"), IMAGENET.std),
            interpolation=_filter(values.get("interpolation")),
            fit="squash" if "squash" in (values.get("crop_mode"), values.get("resize_mode")) else "crop",
        ),
        image_size=int(size[-1]) if values.get("fixed_input_size") and size else None,
        channels=int(size[0]) if size else 3,
        licence=licence,
        forbids=forbidden_by(licence),
    )


def of_file(path: Path, known: EncoderCard) -> EncoderCard:
    """Return the card of a weights file: what its header says, and ``known`` for the rest."""
    header = header_of(path)
    if "preprocessing" in header:
        try:
            values = json.loads(header["preprocessing"])
            values |= {name: tuple(values[name]) for name in ("mean", "std")}
            forbids = tuple(json.loads(header.get("forbids", "[]")))
            found = Preprocessing(**values)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise CheckpointError(
                f"the header of {path} is damaged ({type(error).__name__} in its preprocessing). Use the original file."
            ) from error
        return replace(known, preprocessing=found, licence=header.get("licence"), forbids=forbids)
    if header.get("normalisation") in ("imagenet", "half"):  # an encoder of an earlier version of medssl
        named = HALF if header["normalisation"] == "half" else IMAGENET
        return replace(known, preprocessing=named, licence=None, forbids=())
    licence = header.get("licence") or header.get("license") or None
    before = known.preprocessing
    changed = Preprocessing(
        mean=_three(header.get("mean"), before.mean),
        std=_three(header.get("std"), before.std),
        interpolation=_filter(header.get("interpolation", before.interpolation)),
        fit=before.fit,
    )
    return replace(known, preprocessing=changed, licence=licence, forbids=forbidden_by(licence))


def header_of(path: Path) -> dict[str, str]:
    """Read the metadata of a safetensors file; empty for any other file, and for one that does not exist."""
    try:
        with open_regular(path) as file:
            length = int.from_bytes(file.read(8), "little")
            entries = json.loads(file.read(min(length, _LONGEST_HEADER))).get("__metadata__", {})
        return {str(name): str(value) for name, value in entries.items()}
    except (OSError, ValueError, AttributeError, RecursionError):
        return {}


def _three(value: Any, default: tuple[float, float, float]) -> tuple[float, float, float]:
    """Read one number per channel; one number stands for all channels, and anything else for the default."""
    numbers = value.split(",") if isinstance(value, str) else value
    try:
        found = [float(number) for number in numbers] if isinstance(numbers, Sequence) else []
    except (TypeError, ValueError):
        return default
    found = found * 3 if len(found) == 1 else found
    return (found[0], found[1], found[2]) if len(found) == 3 else default


def _filter(name: Any) -> Interpolation:
    return "bicubic" if name == "bicubic" else "bilinear"
