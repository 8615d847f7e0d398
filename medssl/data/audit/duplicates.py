"""Finds duplicate images in a store; the findings are cached per store."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from medssl.contracts import Sample
from medssl.data.audit.perceptual import NearPair, near_pairs, thumbnails
from medssl.data.store.store import Store
from medssl.errors import CheckpointError
from medssl.io.files import write_atomic
from medssl.io.reading import read_json

__all__ = ["Duplicates", "find_duplicates", "join_copies"]

_FORMAT = 2  # of the cached file; change it whenever the definition of equal or near-duplicate changes


@dataclass(frozen=True)
class Duplicates:
    """Duplicates in a store, as positions in it.

    Attributes:
        equal: Sets of images with the same shape and pixels. Each set, and the list of sets, is in ascending order.
        near: Pairs of near-duplicates, without the equal ones.
    """

    equal: tuple[tuple[int, ...], ...]
    near: tuple[NearPair, ...]


def find_duplicates(store: Store, cache: Path) -> Duplicates:
    """Compare all images with each other, or read the findings of an earlier call.

    Args:
        store: The decoded images, at the size in which they are stored.
        cache: Folder of the stores; findings are saved under the key of this store.
    """
    path = cache / "audits" / f"{store.key}.json"
    stamp = [_FORMAT, len(store), store.built_seconds]  # no two builds of a store take equally long
    if (found := _read(path, stamp)) is not None:
        return found
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    equal = _equal(store)
    found = Duplicates(equal, _near(store, equal, path.parent))
    with contextlib.suppress(OSError, CheckpointError):  # on a full disk, the next start repeats the search
        content = {"stamp": stamp, "equal": found.equal, "near": found.near}
        write_atomic(path, json.dumps(content).encode(), private=True)
    return found


def join_copies(samples: Sequence[Sample], duplicates: Duplicates) -> dict[str, str]:
    """Put duplicates into one group, and merge the groups that they belong to.

    Args:
        samples: Samples in the order of the store.
        duplicates: The duplicates found in it.

    Returns:
        Group by id. A merged group takes the alphabetically first name of its groups; duplicates without a group take
        the first of their ids. An image without a group and without a duplicate is left out.
    """
    members: dict[str, list[int]] = defaultdict(list)
    for i, sample in enumerate(samples):
        if sample.group:
            members[sample.group].append(i)
    sets = [*members.values(), *duplicates.equal, *(pair[:2] for pair in duplicates.near)]
    edges = np.array([(some[0], i) for some in sets for i in some], np.int64).reshape(-1, 2).T
    graph = coo_array((np.ones(edges.shape[1]), edges), (len(samples), len(samples)))
    component = connected_components(graph, directed=False)[1]
    joined: dict[int, list[Sample]] = defaultdict(list)
    for i in np.unique(edges).tolist():
        joined[component[i]].append(samples[i])
    found: dict[str, str] = {}
    for some in joined.values():
        name = min([sample.group for sample in some if sample.group] or [sample.id for sample in some])
        found |= dict.fromkeys((sample.id for sample in some), name)
    return found


def _equal(store: Store) -> tuple[tuple[int, ...], ...]:
    keys = np.empty((len(store), 2), np.uint64)  # a dictionary would need ten times the memory
    for i in range(len(store)):
        shape, pixels = store.shapes[i].tobytes(), store.image(i).data
        keys[i] = np.frombuffer(hashlib.blake2b(pixels, digest_size=16, salt=shape).digest(), np.uint64)
    order = np.lexsort(keys.T)
    ends = np.append(np.flatnonzero((keys[order[1:]] != keys[order[:-1]]).any(axis=1)) + 1, len(order))
    starts = np.append(0, ends[:-1])
    several = np.flatnonzero(ends - starts > 1)
    return tuple(sorted(tuple(order[starts[k] : ends[k]].tolist()) for k in several))


def _near(store: Store, equal: Sequence[Sequence[int]], folder: Path) -> tuple[NearPair, ...]:
    """Compare one image of each equal set with the others; what is found holds for the whole set."""
    images = {some[0]: some for some in equal}
    chosen = np.delete(np.arange(len(store)), [i for some in equal for i in some[1:]])
    found = []
    for first, second, *likeness in near_pairs(
        len(chosen), lambda rows: thumbnails(store, chosen[rows].tolist()), folder
    ):
        sets = [images.get(i, (i,)) for i in chosen[[first, second]].tolist()]
        found += [NearPair(*sorted(pair), *likeness) for pair in product(*sets)]
    return tuple(sorted(found))


def _read(path: Path, stamp: list[float]) -> Duplicates | None:
    try:
        values = read_json(path)
        if values["stamp"] != stamp:
            return None
        near = tuple(NearPair(*pair) for pair in values["near"])
        return Duplicates(tuple(tuple(images) for images in values["equal"]), near)
    except (OSError, ValueError, KeyError, TypeError):
        return None
