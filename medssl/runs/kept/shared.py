"""Features of a frozen encoder with given weights, computed once for a set of images and shared by all runs.

They lie in the cache folder, in one file for each encoder, preprocessing, precision and store. A run computes the rows
that the file lacks. Rows do not depend on the run: an encoder in evaluation mode sees one image at a time.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from medssl.data.loading import LoadedPart
from medssl.data.store.store import Store, default_cache
from medssl.evaluation.features import extract
from medssl.io.files import write_atomic_with
from medssl.io.reading import read_npz
from medssl.runs.context import RunContext
from medssl.train.encoder.building import Encoder

__all__ = ["has_shared_features", "shared_features"]


def has_shared_features(context: RunContext, encoder: Encoder) -> bool:
    """Whether the encoder has given weights and this run does not train it."""
    return not context.recipe.method.plugin.trains and "sha256" in encoder.origin


def shared_features(context: RunContext, encoder: Encoder, part: LoadedPart, store: Store) -> Tensor:
    """Return the features ``(N, F)`` of a part of a store, which is not empty."""
    file = _file(context, encoder, store.key)
    rows, x = _read(file, encoder.feature_dim)
    missing = np.flatnonzero(~np.isin(part.rows, rows))
    if len(missing):
        lacking = part.take(missing)
        views = context.maker_of(store).plain(lacking.rows)
        found = extract(encoder, views, len(lacking), precision=context.machine.precision)
        rows, x = np.concatenate([rows, lacking.rows]), np.concatenate([x, found.numpy()])
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomic_with(file, lambda out: np.savez(out, rows=rows, x=x))
    order = np.argsort(rows, kind="stable")
    return torch.from_numpy(x[order[np.searchsorted(rows, part.rows, sorter=order)]])


def _file(context: RunContext, encoder: Encoder, store: str) -> Path:
    """Return the file for everything that determines the features of an image."""
    recipe, machine = context.recipe, context.machine
    facts = {
        "weights": encoder.origin["sha256"],
        **({"adapter": encoder.origin["adapter"]} if "adapter" in encoder.origin else {}),
        "network": encoder.rebuild,
        "pooling": recipe.card.pooling,
        "preprocessing": recipe.card.preprocessing.described(),
        "image_size": recipe.views.image_size,
        "window": recipe.augmentation.window,
        "precision": machine.precision.name,
        "device": machine.device.type,
        "float32_layers": encoder.float32_layers,
        "store": store,
    }
    key = hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()[:20]
    return default_cache() / "features" / f"{key}.npz"


def _read(file: Path, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows and features of a file; empty if it is missing or damaged."""
    try:
        arrays = read_npz(file)
        rows, x = np.asarray(arrays["rows"]), np.asarray(arrays["x"])
        if rows.ndim == 1 and x.shape == (len(rows), width) and x.dtype == np.float32:
            return rows, x
    except (OSError, ValueError, KeyError):
        pass
    return np.empty(0, np.int64), np.empty((0, width), np.float32)
