"""The audit: problems of the images and the split that affect how a result is read.

It reports duplicates on both sides of a split, images with two labels, groups in two parts, and counts. It takes the
split into account: the same duplicates are a remark under one split and a leak under another.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from medssl.contracts import Listing, Sample, Target
from medssl.data.audit.confounding import Confounding, find_confounding
from medssl.data.audit.duplicates import Duplicates, find_duplicates, join_copies
from medssl.data.split.protocols import PARTS
from medssl.data.split.splits import Split
from medssl.data.store.store import Store, default_cache
from medssl.errors import counted, shorten
from medssl.io.identities import private_id

__all__ = ["Audit", "audit"]

_SHOWN = 3  # images that a warning names
_SEEN_BEFORE = {"test": ("train", "val"), "val": ("train",)}  # part -> parts that must not contain its images


def audit(listing: Listing, store: Store, split: Split, *, cache: Path | None = None) -> Audit:
    """Search for duplicates, contradicting labels and leaks.

    Args:
        listing: Listing of the samples in the store.
        store: Their decoded images.
        split: The part of each sample.
        cache: Folder for the findings that hold for every split; ``None``: the folder of the stores.
    """
    by_id = {sample.id: sample for sample in listing.samples}
    return Audit(
        samples=tuple(by_id[name] for name in store.ids),
        target=listing.target,
        group_kind=listing.group_kind or "group",
        store=store,
        split=split,
        duplicates=find_duplicates(store, cache or default_cache()),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Audit:
    """The findings of an audit.

    Attributes:
        samples: Samples in the order of the store.
        target: The target of the samples.
        group_kind: The kind of group, for instance patient.
        store: The images.
        split: The part of each sample.
        duplicates: Duplicates in the store; they do not depend on the split.
    """

    samples: tuple[Sample, ...]
    target: Target
    group_kind: str
    store: Store
    split: Split
    duplicates: Duplicates

    @cached_property
    def warnings(self) -> tuple[str, ...]:
        """Warnings for the reader of a result. Shared groups are in the warnings of the split instead."""
        return tuple(self._warn())

    @cached_property
    def confounding(self) -> Confounding:
        """What predicts the target beside the disease: see :mod:`medssl.data.audit.confounding`."""
        return find_confounding(self.samples, self.target, self.group_kind, self.store, self.split)

    @cached_property
    def seen_before(self) -> Mapping[str, Mapping[str, int]]:
        """Counts per part: all images, duplicates of an image seen before, near-duplicates, and either."""
        found = {}
        for part in _SEEN_BEFORE:
            equal, near = (self._seen_before(part, pairs) for pairs in (self.duplicates.equal, self._near_pairs))
            counts = {"equal": len(equal), "near": len(near), "either": len(equal.keys() | near.keys())}
            found[part] = {"images": len(getattr(self.split, part)), **counts}
        return found

    def copies_of(self, part: str) -> frozenset[str]:
        """Return the test or validation images with a duplicate or near-duplicate that was seen before."""
        return frozenset().union(*(self._seen_before(part, some) for some in (self.duplicates.equal, self._near_pairs)))

    @cached_property
    def joined_groups(self) -> Mapping[str, str]:
        """Group by id, with duplicates in one group: see :func:`medssl.data.audit.duplicates.join_copies`."""
        return join_copies(self.samples, self.duplicates)

    def to_dict(self, *, names: bool = False) -> dict[str, Any]:
        """Return everything as plain values.

        Args:
            names: Ids and groups as they are, for the user's own desk; otherwise private names.
        """
        return {
            "images": len(self.samples),
            "without_label": sum(sample.y is None for sample in self.samples),
            "split": self.split.protocol,
            "split_sha256": self.split.sha256,
            "parts": {part: dict(counts) for part, counts in self.split.stratum_count.items()},
            "labelled": dict(self.split.labelled),
            "stratum": self.target.stratum,
            "unused": len(self.split.unused),
            "sizes": self._sizes(),
            "groups": self._groups() if self.split.groups else None,
            "equal": [[self._describe(i, names=names) for i in images] for images in self.duplicates.equal],
            "near": [
                {
                    "images": [self._describe(i, names=names) for i in pair[:2]],
                    "similarity": pair.similarity,
                    "turned": pair.turned,
                }
                for pair in self.duplicates.near
            ],
            "seen_before": self.seen_before,
            "confounding": self.confounding.to_dict(),
            "warnings": [*self.split.warnings, *self.warnings],
        }

    # --------------------------------------------------------------------------------------------------------- counts

    def _sizes(self) -> dict[str, Any]:
        heights, widths = self.store.shapes[:, 0], self.store.shapes[:, 1]
        return {
            "height": _range(heights),
            "width": _range(widths),
            "shapes": len(np.unique(self.store.shapes, axis=0)),
            "channels": self.store.channels,
            "dtype": self.store.dtype.name,
            "reduced": self.store.reduced,
        }

    def _groups(self) -> dict[str, Any]:
        members: dict[str, list[Sample]] = defaultdict(list)
        for sample in self.samples:
            if sample.group:
                members[sample.group].append(sample)
        values = {group: [s.y for s in some if s.y is not None] for group, some in members.items()}
        strata = {group: np.asarray(self.target.strata(some).any(axis=0)) for group, some in values.items() if some}
        parts = {group: {self._part[s.id] for s in some} for group, some in members.items()}
        return {
            "kind": self.group_kind,
            "count": len(members),
            "images": _range([len(some) for some in members.values()]),
            "images_without": sum(not sample.group for sample in self.samples),
            "with_several_labels": sum(len(set(found)) > 1 for found in values.values()),
            "per_part": {part: sum(part in found for found in parts.values()) for part in PARTS},
            "per_stratum": {
                name: sum(bool(found[stratum]) for found in strata.values())
                for stratum, name in enumerate(self.target.strata_names)
            },
            "in_two_parts": {
                f"{a}, {b}": sum({a, b} <= found for found in parts.values()) for a, b in combinations(PARTS, 2)
            },
        }

    def _describe(self, i: int, *, names: bool = False) -> dict[str, Any]:
        sample = self.samples[i]
        label = None if sample.y is None else self.target.text(sample.y)
        group, name = sample.group, sample.id
        if not names:
            group, name = group and private_id(self.group_kind, group), private_id("image", name)
        return {"id": name, "label": label, "group": group, "part": self._part[sample.id]}

    # ------------------------------------------------------------------------------------------------------- findings

    @cached_property
    def _part(self) -> Mapping[str, str]:
        return {name: part for part in (*PARTS, "unused") for name in getattr(self.split, part)}

    @cached_property
    def _near_pairs(self) -> list[tuple[int, int]]:
        return [pair[:2] for pair in self.duplicates.near]

    def _seen_before(self, part: str, sets: Iterable[Sequence[int]]) -> dict[str, str]:
        """Map images of a part to a duplicate that was used for training or validation."""
        found: dict[str, str] = {}
        for images in sets:
            names = [self.samples[i].id for i in images]
            if before := [name for name in names if self._part[name] in _SEEN_BEFORE[part]]:
                found |= {name: before[-1] for name in names if self._part[name] == part}
        return found

    def _warn(self) -> Iterator[str]:
        yield from self.confounding.warn()
        yield from self._warn_of_equal_images()
        for part, adjective in (("test", "test"), ("val", "validation")):
            for pairs, what in ((self.duplicates.equal, "identical to"), (self._near_pairs, "nearly identical to")):
                if seen := self._seen_before(part, pairs):
                    before = "a training or validation image" if part == "test" else "a training image"
                    one, other = next(iter(seen.items()))
                    yield (
                        f"audit: {len(seen)} of {len(getattr(self.split, part))} {adjective} images "
                        f"{'is' if len(seen) == 1 else 'are'} {what} {before}"
                        f", for instance {private_id('image', one)} and {private_id('image', other)}"
                    )
        contradicting = [pair for pair in self._near_pairs if self._contradict(pair)]
        if contradicting:
            yield (
                f"audit: {counted(len(contradicting), 'pair')} of nearly identical images with two labels: "
                f"{self._example(contradicting[0])}"
            )

    def _warn_of_equal_images(self) -> Iterator[str]:
        equal = self.duplicates.equal
        if not equal:
            return
        yield f"audit: {counted(len(equal), 'set')} of identical images ({sum(map(len, equal))} images)"
        if contradicting := [images for images in equal if self._contradict(images)]:
            example = self._example(contradicting[0])
            yield f"audit: {counted(len(contradicting), 'set')} of identical images with several labels: {example}"
        strangers = [images for images in equal if len({self.samples[i].group for i in images} - {None}) > 1]
        if strangers:
            yield (
                f"audit: {counted(len(strangers), 'set')} of identical images of several {self.group_kind}s: "
                f"{self._example(strangers[0], groups=True)}"
            )

    def _contradict(self, images: Iterable[int]) -> bool:
        return len({self.samples[i].y for i in images} - {None}) > 1

    def _example(self, images: Iterable[int], *, groups: bool = False) -> str:
        described = [self._describe(i) for i in images]
        names = [f"{one['id']} ({one['group' if groups else 'label']})" for one in described]
        return " and ".join(names) if len(names) <= _SHOWN else shorten(names, _SHOWN)


def _range(values: Sequence[int] | np.ndarray) -> dict[str, float]:
    return {"min": int(np.min(values)), "median": float(np.median(values)), "max": int(np.max(values))}
