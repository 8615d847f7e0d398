"""Reads the other files of a run on demand: predictions, features, split, history.

n test images, N images of a part, F features, O outputs of a prediction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import TypeAdapter, ValidationError

from medssl.contracts.targets import Target
from medssl.errors import CheckpointError
from medssl.io.reading import read_json, read_npz, read_text
from medssl.results.history import EpochRecord
from medssl.results.truth import truth

__all__ = [
    "OF_GROUPS",
    "VAL",
    "PartFeatures",
    "RunPredictions",
    "RunSplit",
    "cause_of",
    "read_epochs",
    "read_features",
    "read_split",
    "read_tested",
]

Array = np.ndarray[Any, np.dtype[Any]]

_ADVICE = "Run again with --force."
_BESIDE = ("id", "y", "label")  # arrays of predictions.npz that do not belong to an evaluator
OF_GROUPS = "group_"  # before the name of an evaluator that predicts groups itself, on whose images the rows are equal
VAL = "val_"  # the arrays of predictions.npz whose names begin with it are those of the validation part


@dataclass(frozen=True, kw_only=True)
class RunSplit:
    """The split of a run.

    Attributes:
        train: Ids of the training part.
        val: Ids of the validation part.
        test: Ids of the test part.
        unused: Ids in no part.
        groups: Group of each id that has one.
        protocol: Protocol of the split.
        seed: Seed of the draw.
        fold: The fold that is the test part; ``None`` for a protocol without folds.
        folds: Number of folds; ``None`` for a protocol without folds.
    """

    train: tuple[str, ...]
    val: tuple[str, ...]
    test: tuple[str, ...]
    unused: tuple[str, ...] = ()
    groups: Mapping[str, str]
    protocol: str = ""
    seed: int = 0
    fold: int | None = None
    folds: int | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class RunPredictions:
    """Predictions for the n images of the test part, or for the n labelled images of the validation part.

    Attributes:
        target: What was predicted.
        ids: Sample ids.
        y: ``(n, ...)``, the true values as encoded by the target: ``(n,)`` int64 for classes.
        groups: The group of each image; ``None`` for an image without one.
        by_evaluator: ``(n, O)`` predictions by evaluator: probabilities for classes.
        of_groups: ``(n, O)`` the prediction of each image's group, by evaluator that predicts groups itself.
    """

    target: Target
    ids: tuple[str, ...]
    y: Array
    groups: tuple[str | None, ...]
    by_evaluator: Mapping[str, Array]
    of_groups: Mapping[str, Array] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, eq=False)
class PartFeatures:
    """Frozen features of a part.

    Attributes:
        ids: Sample ids.
        x: ``(N, F)`` float32.
        y: ``(N, ...)``, the true values as encoded by the target.
    """

    ids: tuple[str, ...]
    x: Array
    y: Array


def read_split(file: Path) -> RunSplit:
    """Read ``splits.json``.

    Raises:
        CheckpointError: It is missing or damaged.
    """
    try:
        values = read_json(file)
        parts = values.pop("parts")
        return TypeAdapter(RunSplit).validate_python({**values, **parts})  # an id may hold bytes that are no UTF-8
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _unreadable(file, error) from error


def read_tested(file: Path, split: RunSplit, target: Target, part: Literal["test", "val"] = "test") -> RunPredictions:
    """Read the predictions for a part from ``predictions.npz``, in the order of the file.

    Args:
        file: The file.
        split: The split, which has the groups.
        target: What was predicted.
        part: ``test``, or ``val`` for the validation part, whose predictions earlier versions did not keep.

    Raises:
        CheckpointError: The file is missing or damaged, or it lacks the part.
    """
    arrays, (y,) = _arrays(file, "" if part == "test" else part)
    prefix = "" if part == "test" else VAL
    ids = tuple(str(name) for name in arrays[f"{prefix}id"])
    own = {
        name.removeprefix(prefix): rows
        for name, rows in arrays.items()
        if name.startswith(VAL) == (part == "val") and rows.ndim == 2 and len(rows) == len(ids)
    }
    return RunPredictions(
        target=target,
        ids=ids,
        y=y,
        groups=tuple(split.groups.get(name) for name in ids),
        by_evaluator={n: rows for n, rows in own.items() if n not in _BESIDE and not n.startswith(OF_GROUPS)},
        of_groups={n.removeprefix(OF_GROUPS): rows for n, rows in own.items() if n.startswith(OF_GROUPS)},
    )


def read_features(file: Path) -> dict[str, PartFeatures]:
    """Read ``features.npz``, by part: ``train``, ``val``, ``test``.

    Raises:
        CheckpointError: The file is missing or damaged.
    """
    parts = ("train", "val", "test")
    arrays, truths = _arrays(file, *parts, wanted=[f"{part}_x" for part in parts])
    return {
        part: PartFeatures(ids=tuple(str(name) for name in arrays[f"{part}_id"]), x=arrays[f"{part}_x"], y=y)
        for part, y in zip(parts, truths, strict=True)
    }


def read_epochs(file: Path) -> tuple[EpochRecord, ...]:
    """Read ``history.jsonl``, one record per epoch.

    Raises:
        CheckpointError: The file is missing or damaged.
    """
    try:
        lines = read_text(file).splitlines()
        return tuple(TypeAdapter(EpochRecord).validate_json(line, strict=True) for line in lines)
    except (OSError, ValueError) as error:
        raise _unreadable(file, error) from error


def _arrays(file: Path, *parts: str, wanted: Sequence[str] = ()) -> tuple[dict[str, Array], list[Array]]:
    """Read an ``.npz`` file.

    Args:
        file: The file.
        parts: Parts for which it must have ids and true values; ``""``: a file without parts.
        wanted: Other required arrays.

    Returns:
        All arrays by name, and the true values of each part.
    """
    try:
        arrays = read_npz(file)
        for name in (*(f"{part}_id" if part else "id" for part in parts), *wanted):
            _ = arrays[name]
        return arrays, [truth(arrays, part) for part in parts]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _unreadable(file, error) from error


def _unreadable(file: Path, error: Exception) -> CheckpointError:
    cause = "The file does not exist" if isinstance(error, FileNotFoundError) else cause_of(error)
    return CheckpointError(f"{file} cannot be read. {cause}. {_ADVICE}")


def cause_of(error: Exception) -> str:
    """Say why a file of a run cannot be read, without a full stop."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        return f"At '{'.'.join(map(str, first['loc']))}': {first['msg'].lower()}"
    if isinstance(error, KeyError):
        return f"It lacks {error}"
    return str(error).rstrip(".") or type(error).__name__
