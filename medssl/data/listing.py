"""Checks the listing of a dataset against its contract before anything is decoded or trained.

Without this check, a value that the target does not know would be found hours later, after the pre-training.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from operator import attrgetter
from typing import Any, get_args

import numpy as np

from medssl.contracts import Dataset, Listing, Part, Sample, Target, Value
from medssl.contracts.first_edition import refuse_old_sample
from medssl.contracts.targets import target_from_dict
from medssl.errors import BreachError, DataError
from medssl.io.limits import PATH_BYTES
from medssl.io.waiting import waiting_for

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
        with waiting_for(f"{type(dataset).__name__}.index(), the list of images in {dataset.root}"):
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
    if wrong := _problems(listing):
        raise BreachError(type(dataset), "index()", wrong)
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
    return replace(listing, samples=samples, target=_with_readable_names(listing.target))


def _with_readable_names(target: Target) -> Target:
    """Write bytes of a name that are no UTF-8 as escapes; a result and a page could not hold them."""
    names = getattr(target, "names", ())
    readable = tuple(name.encode(errors="surrogateescape").decode(errors="backslashreplace") for name in names)
    return target if readable == tuple(names) else target_from_dict({**target.to_dict(), "names": readable})


def samples_key(samples: Sequence[Sample]) -> str:
    """Hash a listing: every id with its value, group, part and, if known, site; the order does not matter."""
    rows = [json.dumps([s.id, _plain(s.y), s.group, s.part, *([s.site] if s.site else [])]) for s in samples]
    return hashlib.sha256("\n".join(sorted(rows)).encode()).hexdigest()


def _plain(y: Value | None) -> Any:
    """Convert a value for JSON; Python's and NumPy's numbers give the same result."""
    if isinstance(y, tuple | list):
        return [None if each is None else int(each) for each in y]
    return y.item() if isinstance(y, np.generic) else y


def _problems(listing: object) -> list[str]:
    """List everything that is wrong with a listing, one phrase each."""
    if not isinstance(listing, Listing):
        return [f"it must return a Listing, but returned a {type(listing).__name__}"]
    if not isinstance(listing.target, Target):
        return [f"the target of a Listing must be one of medssl.contracts, but is {listing.target!r:.80}"]
    found = []
    if listing.default_split not in DEFAULT_SPLITS:
        found.append(f"default_split must be one of {', '.join(DEFAULT_SPLITS)}, but is {listing.default_split!r:.80}")
    for field in ("split_reason", "chosen", "group_kind", "site_kind"):
        value: object = getattr(listing, field)
        if not isinstance(value, str) and (value is not None or not field.endswith("_kind")):
            found.append(f"{field} must be a text, but is {value!r:.80}")
    for field, allowed in (("channels", (None, 1, 3)), ("depth", (None, 8, 16))):
        if getattr(listing, field) not in allowed:
            found.append(f"{field} must be one of {allowed[1]}, {allowed[2]} and None")
    return found + _sample_problems(listing.samples, listing.target)


def _sample_problems(samples: Sequence[Any], target: Target) -> list[str]:
    strangers = [sample for sample in samples if not isinstance(sample, Sample)]
    if strangers:
        return [f"it must list Samples, but lists a {type(strangers[0]).__name__}"]
    parts = (None, *get_args(Part))
    different = _different([s.y for s in samples])
    wrong = next((text for y in different if y is not None and (text := target.violation(y))), None)
    return [
        *_describe(samples, "id", f"a text of 1 to {PATH_BYTES} characters without control characters", _is_id),
        *(_describe(samples, "y", f"None or {wrong}", lambda y: y is None or not target.violation(y)) if wrong else ()),
        *_describe(samples, "group", "None or a text", _is_text),
        *_describe(samples, "site", "None or a text", _is_text),
        *_describe(samples, "part", f"None, {', '.join(parts[1:])}", lambda x: _is_text(x) and x in parts),
        *_describe(samples, "facts", "a mapping", lambda x: isinstance(x, Mapping | None)),
    ]


def _different(values: Sequence[Any]) -> Collection[Any]:
    """Return each object or text once: among a million there are few, and they are asked a hundred times faster."""
    return set(values) if set(map(type, values)) <= {str, type(None)} else {id(v): v for v in values}.values()


def _is_text(value: object) -> bool:
    return isinstance(value, str | None)


def _is_id(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= PATH_BYTES and (value.isprintable() or min(value) >= " ")


def _describe(samples: Sequence[Sample], field: str, wanted: str, is_right: Callable[[Any], bool]) -> list[str]:
    """Describe the samples with a wrong value in a field; empty if there is none."""
    values = list(map(attrgetter(field), samples))
    if all(map(is_right, values if field == "id" else _different(values))):
        return []
    wrong = [(sample.id, value) for sample, value in zip(samples, values, strict=True) if not is_right(value)]
    shown = ", ".join(f"{value!r:.80} of {name!r:.80}" for name, value in wrong[:_SHOWN])
    return [f"a {field} must be {wanted}, but is {shown}{' and others' if len(wrong) > _SHOWN else ''}"]
