"""What a dataset lists, held against its contract before anything is decoded or trained.

A label beyond the classes would otherwise be found after the pre-training, hours later.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Any, get_args

import numpy as np

from medssl.contracts import Dataset, Part, Sample
from medssl.errors import DataError, PluginError

__all__ = ["list_samples", "samples_key"]

_SHOWN = 3


def list_samples(dataset: Dataset, name: str) -> list[Sample]:
    """Return the dataset's samples.

    Args:
        dataset: Over its folder.
        name: The user's name for it.

    Raises:
        DataError: There is none, or the dataset says what is wrong with its files.
        PluginError: Classes or samples are not what the contract says.
    """
    samples = dataset.samples()
    wrong = _wrong_classes(dataset.classes) or _wrong_samples(samples, len(dataset.classes))
    if wrong:
        raise PluginError(
            f"dataset '{name}' breaks its contract: {wrong}. Its class is {type(dataset).__name__}. "
            f"Correct it there; `medssl check {name}` shows the rest."
        )
    if not samples:
        raise DataError(
            f"dataset '{name}' lists no image. It looked in {dataset.root}. "
            "Name the folder that holds its files with --data-dir."
        )
    return list(samples)


def samples_key(samples: Sequence[Sample]) -> str:
    """Hash what a dataset lists: every id with its label, group and official part, whatever their order."""
    rows = [json.dumps([s.id, None if s.label is None else int(s.label), s.group, s.part]) for s in samples]
    return hashlib.sha256("\n".join(sorted(rows)).encode()).hexdigest()


def _wrong_classes(classes: Sequence[str]) -> str | None:
    if isinstance(classes, str) or not all(isinstance(name, str) and name for name in classes):
        return f"classes must be names in a fixed order, but is {classes!r}"
    twice = sorted({name for name in classes if list(classes).count(name) > 1})
    if twice:
        return f"it names the class '{twice[0]}' twice; its classes are {', '.join(classes)}"
    return None


def _wrong_samples(samples: Sequence[Any], classes: int) -> str | None:
    strangers = [sample for sample in samples if not isinstance(sample, Sample)]
    if strangers:
        return f"samples() must give Samples, but gave a {type(strangers[0]).__name__}"
    parts = get_args(Part)
    return (
        _describe(samples, "label", f"None or a number from 0 to {classes - 1}", lambda x: _counts_into(x, classes))
        or _describe(samples, "group", "None or a text", lambda x: isinstance(x, str))
        or _describe(samples, "part", f"None, {', '.join(parts)}", lambda x: x in parts)
    )


def _describe(samples: Sequence[Sample], field: str, wanted: str, is_right: Callable[[Any], bool]) -> str | None:
    """Say which samples have something else than wanted in a field."""
    values = [(sample.id, getattr(sample, field)) for sample in samples]
    bad = [f"{value!r} of '{name}'" for name, value in values if value is not None and not is_right(value)]
    if not bad:
        return None
    return f"a {field} must be {wanted}, but is {', '.join(bad[:_SHOWN])}{' and others' if len(bad) > _SHOWN else ''}"


def _counts_into(label: object, classes: int) -> bool:
    return isinstance(label, int | np.integer) and not isinstance(label, bool) and 0 <= int(label) < classes
