"""Images of a split that an encoder has seen: duplicates, near-duplicates, or images of a known group."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medssl.contracts import Dataset, Sample
from medssl.data.audit.looks import MOST_PAIRS, seen_looks
from medssl.data.audit.perceptual import thumbnails
from medssl.data.audit.seen import Seen, SeenImages, content_keys
from medssl.data.store.store import Store, default_cache

__all__ = ["Overlap", "find_overlap"]


@dataclass(frozen=True)
class Overlap:
    """Sample ids of a dataset that an encoder has seen.

    Attributes:
        equal: The encoder has seen the image itself, under this or another name.
        near: It has seen a near-duplicate, but not the image itself; ``None``: there are too many images to search.
        group: It has seen another image of the group, but neither a duplicate nor a near-duplicate.
        named: The group has the same name as a training group, but no image is shared.
    """

    equal: frozenset[str]
    near: frozenset[str] | None
    group: frozenset[str]
    named: frozenset[str]

    @property
    def either(self) -> frozenset[str]:
        """Ids in any of the first three sets."""
        return self.equal | (self.near or frozenset()) | self.group


def find_overlap(
    seen: Seen,
    dataset: Dataset,
    samples: Sequence[Sample],
    store: Store,
    *,
    judged: Collection[str],
    parts: Sequence[str] = ("train", "val"),
    cache: Path | None = None,
) -> Overlap:
    """Compare the samples of a store with the images that an encoder has seen.

    Args:
        seen: Record of the encoder.
        dataset: Dataset of the samples.
        samples: All of them, in any order.
        store: Their images.
        judged: Ids of the samples to report on. The others only show which groups are known.
        parts: ``train``: images that it was trained on; ``val``: images that selected the best epoch.
        cache: Folder that caches the checksums of files; ``None``: the folder of the stores.
    """
    stages = [stage for stage in seen.stages if stage.part in parts]
    keys = content_keys(dataset, samples, store, cache or default_cache())
    contents = frozenset().union(*(stage.contents for stage in stages))
    equal = frozenset(name for name, some in keys.items() if not contents.isdisjoint(some))
    alike = _Alike(store)
    asked = [s.id for s in samples if s.id not in equal and (s.id in judged or (s.group and not equal))]
    near = alike.to(stages, asked)
    known = equal | (near or frozenset())
    linked = [stage for stage in stages if _shares(stage, [keys[name] for name in equal]) or alike.to([stage], near)]
    others = [stage for stage in stages if stage not in linked]
    groups = {s.group for s in samples if s.group and s.id in known} | _named_alike(samples, linked)
    namesakes = _named_alike(samples, others)
    return Overlap(
        equal=equal & frozenset(judged),
        near=None if near is None else near & frozenset(judged),
        group=frozenset(s.id for s in samples if s.group in groups and s.id in judged and s.id not in known),
        named=frozenset(s.id for s in samples if s.group in namesakes and s.id in judged),
    )


def _shares(stage: SeenImages, keys: Iterable[Iterable[bytes]]) -> bool:
    return any(not stage.contents.isdisjoint(some) for some in keys)


def _named_alike(samples: Sequence[Sample], stages: Sequence[SeenImages]) -> set[str]:
    """Return the names of groups that occur in one of the stages."""
    names = {sample.group for sample in samples if sample.group}
    return {name for name in names if any(stage.group_key(name) in stage.groups for stage in stages)}


class _Alike:
    """Finds images of a store by their appearance."""

    def __init__(self, store: Store) -> None:
        self._row = {name: row for row, name in enumerate(store.ids)}
        self._store = store

    def to(self, stages: Sequence[SeenImages], names: Collection[str] | None) -> frozenset[str] | None:
        """Return the samples that look like an image of the stages; ``None`` if there are too many."""
        looks = [stage.looks for stage in stages if len(stage.looks)]
        if not looks or not names:
            return frozenset()
        known, chosen = np.unique(np.concatenate(looks), axis=0), sorted(names)
        if len(known) * len(chosen) > MOST_PAIRS:
            return None
        found = seen_looks(thumbnails(self._store, [self._row[name] for name in chosen]), known)
        return frozenset(name for name, alike in zip(chosen, found.tolist(), strict=True) if alike)
