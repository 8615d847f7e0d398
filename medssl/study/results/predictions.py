"""What a run predicted for each test image, read back; folds of one seed are put together."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from medssl.errors import CheckpointError
from medssl.results.directory import RunDirectory, RunResult

__all__ = ["Predictions", "pool", "read_predictions"]

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """Predictions for n test images, in the order of their ids.

    Attributes:
        ids: Sample ids.
        label: ``(n,)`` int64.
        group: n groups; an image without a group is one of its own.
        proba: By evaluator, ``(n, K)``.
        folds: How many runs it takes to test every image once; ``None`` for a split without folds.
    """

    ids: tuple[str, ...]
    label: Array
    group: tuple[str, ...]
    proba: Mapping[str, Array]
    folds: int | None = None

    @property
    def unit(self) -> Array:
        """``(n,)`` integers, equal within a group."""
        units: Array = np.unique(np.array(self.group), return_inverse=True)[1].reshape(-1)
        return units


def read_predictions(run: RunResult) -> Predictions | None:
    """Read ``predictions.npz`` with the groups of ``splits.json``; ``None`` where the run has left none.

    Raises:
        CheckpointError: A file is damaged.
    """
    directory = RunDirectory(run.path)
    if not directory.predictions.exists() or not directory.splits.exists():
        return None
    try:
        with directory.predictions.open("rb") as file, np.load(file) as content:
            arrays = dict(content)
        split = json.loads(directory.splits.read_text(encoding="utf-8"))
        groups = split["groups"]
        ids = [str(name) for name in arrays.pop("id")]
        label = arrays.pop("label")
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise CheckpointError(
            f"the predictions of {run.path} cannot be read. {error}. Run it again with --force."
        ) from error
    proba = {name: rows for name, rows in arrays.items() if rows.ndim == 2 and len(rows) == len(ids)}
    group = [groups.get(name) or f"\0{name}" for name in ids]
    return _ordered(ids, label, group, proba, split.get("folds"))


def pool(folds: Sequence[Predictions]) -> Predictions:
    """Put the predictions of several folds together, as if one run had been tested on all of their images.

    A metric of the pool is no mean of the folds' metrics: a fold may lack a class, or hold one hard patient.
    """
    if len(folds) == 1:
        return folds[0]
    names = [name for name in folds[0].proba if all(name in fold.proba for fold in folds)]
    return _ordered(
        [name for fold in folds for name in fold.ids],
        np.concatenate([fold.label for fold in folds]),
        [group for fold in folds for group in fold.group],
        {name: np.concatenate([fold.proba[name] for fold in folds]) for name in names},
        folds[0].folds,
    )


def _ordered(
    ids: Sequence[str], label: Array, group: Sequence[str], proba: Mapping[str, Array], folds: int | None
) -> Predictions:
    order = sorted(range(len(ids)), key=ids.__getitem__)
    return Predictions(
        ids=tuple(ids[i] for i in order),
        label=label[order].astype(np.int64),
        group=tuple(group[i] for i in order),
        proba={name: rows[order] for name, rows in proba.items()},
        folds=folds,
    )
