"""Frozen features of every part, computed once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from medssl.contracts import Part
from medssl.data.loading import LoadedPart
from medssl.evaluation.features import extract
from medssl.io.files import write_atomic_with
from medssl.runs.context import RunContext
from medssl.train.encoder.backbones import Encoder

__all__ = ["PartFeatures", "extract_features", "features_of"]

#: By part of the split: the part and its features ``(N, F)``.
PartFeatures = Mapping[str, tuple[LoadedPart, Tensor]]

_PARTS: tuple[Part, ...] = ("train", "val", "test")


def features_of(context: RunContext, encoder: Encoder, part: LoadedPart) -> Tensor:
    """Encode the images of a part without augmentation: ``(N, F)`` float32 on the processor."""
    return extract(encoder, context.plain(part), len(part), precision=context.machine.precision)


def extract_features(context: RunContext, encoder: Encoder) -> PartFeatures:
    """Compute features once per part and leave them in ``features.npz``."""
    found: dict[str, tuple[LoadedPart, Tensor]] = {}
    arrays: dict[str, Any] = {}
    for name in _PARTS:
        part = context.data.part(name)
        x = features_of(context, encoder, part)
        found[name] = (part, x)
        arrays |= {f"{name}_x": x.numpy(), f"{name}_label": part.labels.numpy(), f"{name}_id": np.array(part.ids)}
    write_atomic_with(context.directory.features, lambda file: np.savez(file, **arrays))
    return found
