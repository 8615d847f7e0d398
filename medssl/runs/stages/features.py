"""Frozen features of every part, computed once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from medssl.contracts import Part
from medssl.data.loading import LoadedPart
from medssl.data.store.store import Store
from medssl.evaluation.features import extract
from medssl.io.files import write_atomic_with
from medssl.runs.context import RunContext
from medssl.runs.kept.shared import has_shared_features, shared_features
from medssl.train.encoder.building import Encoder

__all__ = ["EncodedParts", "encode_parts", "extract_features", "features_of"]

#: By part of the split: the part and its features ``(N, F)``.
EncodedParts = Mapping[str, tuple[LoadedPart, Tensor]]

_PARTS: tuple[Part, ...] = ("train", "val", "test")


def features_of(context: RunContext, encoder: Encoder, part: LoadedPart, store: Store | None = None) -> Tensor:
    """Encode the images of a part without augmentation: ``(N, F)`` float32 on the processor.

    Args:
        context: The run.
        encoder: The encoder.
        part: The images.
        store: Contains them; ``None``: the run's own store.
    """
    store = context.data.store if store is None else store
    if len(part) and has_shared_features(context, encoder):
        return shared_features(context, encoder, part, store)
    return extract(encoder, context.maker_of(store).plain(part.rows), len(part), precision=context.machine.precision)


def encode_parts(context: RunContext, encoder: Encoder) -> EncodedParts:
    """Encode the labelled images of every part; while the test part is closed, the validation part takes its place."""
    closed = context.recipe.evaluate.closed
    parts = {name: context.data.part(name) for name in _PARTS if not (closed and name == "test")}
    found: dict[str, tuple[LoadedPart, Tensor]] = {}
    for name, part in parts.items():
        found[name] = part, features_of(context, encoder, part)
    return {**found, "test": found["val"]} if closed else found


def extract_features(context: RunContext, encoder: Encoder) -> EncodedParts:
    """Compute the features of each part once and write them to ``features.npz``."""
    found = encode_parts(context, encoder)
    arrays: dict[str, Any] = {}
    for name, (part, x) in found.items():
        arrays |= {f"{name}_x": x.numpy(), f"{name}_y": part.y.numpy(), f"{name}_id": np.array(part.ids)}
    write_atomic_with(context.directory.features, lambda file: np.savez(file, **arrays), private=True)
    return found
