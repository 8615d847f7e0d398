"""Checks the listing of a dataset against its contract before anything is decoded or trained.

Without this check, a value that the target does not know would be found hours later, after the pre-training.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, get_args

import numpy as np

from medssl.contracts import Dataset, Listing, Part, Sample, Target, Value
from medssl.contracts.first_edition import refuse_old_sample
from medssl.errors import DataError, PluginError

__all__ = ["DEFAULT_SPLITS", "index", "read_listing", "samples_key"]

DEFAULT_SPLITS = ("random", "grouped", "official")
"""The default splits that a dataset may name: protocols without folds."""

_SHOWN = 3


def index(dataset: Dataset) -> Listing:
    """Call :meth:`~medssl.contracts.Dataset.index`; tell an old plugin how to create a sample now.

    Raises:
        PluginError: The plugin creates a sample with ``label``, as in the first version.
        DataError: The dataset reports a problem with its files.
    """
    try:
        return dataset.index()
    except TypeError as error:
        refuse_old_sample(error)
        raise


def read_listing(dataset: Dataset, name: str) -> Listing:
    """Return the dataset's listing, with ``y`` ``None`` for each sample with an unknown value.

    Args:
        dataset: The dataset.
        name: The user's name for it.

    Raises:
        DataError: There is no sample, or the dataset reports a problem with its files.
        PluginError: The listing breaks the contract.
    """
    listing = index(dataset)
    if wrong := _wrong(listing):
        raise PluginError(
            f"dataset '{name}' breaks its contract: {wrong}. Its class is {type(dataset).__name__}. "
            f"Correct it there; `medssl check {name}` shows all problems."
        )
    if not listing.samples:
        raise DataError(
            f"dataset '{name}' found no images in {dataset.root}. "
            "Give the folder that contains its files with --data-dir."
        )
    known = listing.target.known(listing.target.encode([sample.y for sample in listing.samples]))
    samples = [
        sample if known_here or sample.y is None else replace(sample, y=None)
        for sample, known_here in zip(listing.samples, known.tolist(), strict=True)
    ]
    return replace(listing, samples=samples)


def samples_key(samples: Sequence[Sample]) -> str:
    """Hash a listing: every id with its value, group, part and, if known, site; the order does not matter."""
    rows = [json.dumps([s.id, _plain(s.y), s.group, s.part, *([s.site] if s.site else [])]) for s in samples]
    return hashlib.sha256("\n".join(sorted(rows)).encode()).hexdigest()


def _plain(y: Value | None) -> Any:
    """Convert a value for JSON; Python's and NumPy's numbers give the same result."""
    if isinstance(y, tuple | list):
        return [None if each is None else int(each) for each in y]
    return y.item() if isinstance(y, np.generic) else y


def _wrong(listing: object) -> str | None:
    if not isinstance(listing, Listing):
        return f"index() must return a Listing, but returned a {type(listing).__name__}"
    if not isinstance(listing.target, Target):
        return f"the target of a Listing must be one of medssl.contracts, but is {listing.target!r}"
    if listing.default_split not in DEFAULT_SPLITS:
        return f"default_split must be one of {', '.join(DEFAULT_SPLITS)}, but is {listing.default_split!r}"
    return _wrong_samples(listing.samples, listing.target)


def _wrong_samples(samples: Sequence[Any], target: Target) -> str | None:
    strangers = [sample for sample in samples if not isinstance(sample, Sample)]
    if strangers:
        return f"index() must list Samples, but lists a {type(strangers[0]).__name__}"
    wrong = next((text for s in samples if s.y is not None and (text := target.violation(s.y))), None)
    parts = get_args(Part)
    return (
        (_describe(samples, "y", f"None or {wrong}", lambda y: target.violation(y) is None) if wrong else None)
        or _describe(samples, "group", "None or a text", lambda x: isinstance(x, str))
        or _describe(samples, "site", "None or a text", lambda x: isinstance(x, str))
        or _describe(samples, "part", f"None, {', '.join(parts)}", lambda x: x in parts)
    )


def _describe(samples: Sequence[Sample], field: str, wanted: str, is_right: Callable[[Any], bool]) -> str | None:
    """Describe the samples with a wrong value in a field."""
    values = [(sample.id, getattr(sample, field)) for sample in samples]
    bad = [f"{value!r} of '{name}'" for name, value in values if value is not None and not is_right(value)]
    if not bad:
        return None
    return f"a {field} must be {wanted}, but is {', '.join(bad[:_SHOWN])}{' and others' if len(bad) > _SHOWN else ''}"
