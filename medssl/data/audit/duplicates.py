"""Images that a store holds more than once, found once per store and remembered beside it."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from medssl.contracts import Sample
from medssl.data.audit.perceptual import NearPair, near_pairs, thumbnails
from medssl.data.store.store import Store
from medssl.errors import CheckpointError
from medssl.io.files import write_atomic

__all__ = ["Duplicates", "find_duplicates", "join_copies"]

_FORMAT = 1  # of the remembered file; another number after every change of what counts as equal or nearly so
_MOST = 20_000  # images; twice as many take four times as long, and half a minute is what a start may cost


@dataclass(frozen=True)
class Duplicates:
    """What is in a store more than once, as positions in it.

    Attributes:
        equal: Sets of images with the same shape and pixels, each set and their list in ascending order.
        near: Pairs that are nearly the same, without those that are equal; ``None`` where there are too many images to
            look for them.
    """

    equal: tuple[tuple[int, ...], ...]
    near: tuple[NearPair, ...] | None


def find_duplicates(store: Store, cache: Path) -> Duplicates:
    """Compare all images with each other, or read what an earlier call found.

    Args:
        store: The decoded images, as reduced as they are there.
        cache: Folder of the store; findings are kept under its key.
    """
    path = cache / "audits" / f"{store.key}.json"
    stamp = [_FORMAT, len(store), store.built_seconds]  # no two builds of a store take equally long
    if (found := _read(path, stamp)) is not None:
        return found
    equal = _equal(store)
    twins = {i: images[0] for images in equal for i in images}
    near = None
    if len(store) <= _MOST:
        pairs = near_pairs(thumbnails(store))
        near = tuple(pair for pair in pairs if twins.get(pair.first, -1) != twins.get(pair.second, -2))
    found = Duplicates(equal, near)
    with contextlib.suppress(OSError, CheckpointError):  # a full disk costs time at the next start, no more
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, json.dumps({"stamp": stamp, "equal": equal, "near": near}).encode())
    return found


def join_copies(samples: Sequence[Sample], duplicates: Duplicates) -> dict[str, str]:
    """Put copies into one group, and with them the groups that they belong to.

    Args:
        samples: In the order of the store.
        duplicates: What was found in it.

    Returns:
        Group by id: a joined group has the first name among those it is made of, copies without one the id of the
        first of them. An image without a group and without a copy is not in it.
    """
    members: dict[str, list[int]] = defaultdict(list)
    for i, sample in enumerate(samples):
        if sample.group:
            members[sample.group].append(i)
    found: dict[str, str] = {}
    for joined in _connected(
        len(samples), [*members.values(), *duplicates.equal, *(p[:2] for p in duplicates.near or ())]
    ):
        ids = [samples[i].id for i in joined]
        groups = [group for i in joined if (group := samples[i].group)]
        found |= dict.fromkeys(ids, min(groups or ids))
    return found


def _connected(count: int, sets: Iterable[Sequence[int]]) -> Iterator[list[int]]:
    """Yield the positions below ``count`` that the sets, each of one or more, hold together, in ascending order."""
    leader = list(range(count))

    def find(i: int) -> int:
        while leader[i] != i:
            leader[i] = leader[leader[i]]
            i = leader[i]
        return i

    held: set[int] = set()
    for some in sets:
        held.update(some)
        for i, j in pairwise(some):
            leader[find(i)] = find(j)
    together: dict[int, list[int]] = defaultdict(list)
    for i in sorted(held):
        together[find(i)].append(i)
    yield from together.values()


def _equal(store: Store) -> tuple[tuple[int, ...], ...]:
    images: dict[tuple[bytes, bytes], list[int]] = defaultdict(list)
    for i in range(len(store)):
        digest = hashlib.blake2b(store.image(i).data, digest_size=16).digest()
        images[digest, store.shapes[i].tobytes()].append(i)
    return tuple(tuple(same) for same in images.values() if len(same) > 1)


def _read(path: Path, stamp: list[float]) -> Duplicates | None:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if values["stamp"] != stamp:
            return None
        near = None if values["near"] is None else tuple(NearPair(*pair) for pair in values["near"])
        return Duplicates(tuple(tuple(images) for images in values["equal"]), near)
    except (OSError, ValueError, KeyError, TypeError):
        return None
