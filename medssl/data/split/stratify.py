"""Divides labelled items into parts of given sizes, with the same proportions of the strata in each part.

A stratum is a class, a finding or a range of values; see :meth:`medssl.contracts.Target.strata`.

N items, G groups, S strata, P parts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np

__all__ = ["shuffled", "split_groups", "split_items"]

_TOLERANCE = 0.02  # share of a stratum: two images in a hundred
_ORDERS = 20
_SWEEPS = 10  # over all groups; usually the first few find nothing more to move
_MANY = 2000  # groups; with this many, the first order is always good enough


def shuffled(names: Iterable[str], seed: int | str) -> list[str]:
    """Order names by a hash of the seed and the name.

    The order depends neither on the input order nor on the version of a random number generator. Names hardly influence
    each other, so adding an image moves few others.
    """

    def rank(name: str) -> tuple[bytes, str]:
        return hashlib.sha256(f"{seed}\0{name}".encode(errors="surrogateescape")).digest(), name

    return sorted(names, key=rank)


def split_items(labels: np.ndarray, fractions: Sequence[float]) -> np.ndarray:
    """Assign a part to every item, class by class: the first items of a class go to the first part, and so on.

    Each class has its exact share in each part, rounded up or down, and at least one item in each part. The rounding is
    chosen so that the total sizes of the parts are also right.

    Args:
        labels: ``(N,)`` class numbers; the items are in random order.
        fractions: P shares, positive, that sum to one. A class with fewer than P items is missing in the last parts.

    Returns:
        ``(N,)`` int64, parts.
    """
    shares = np.asarray(fractions)
    parts = np.empty(len(labels), np.int64)
    owed = np.zeros(len(shares))  # items that each part still lacks so far
    for label in np.unique(labels):
        items = np.flatnonzero(labels == label)
        exact = shares * len(items)
        counts = np.floor(exact + 1e-9).astype(np.int64)
        remainder = exact - counts
        up = sorted(np.flatnonzero(remainder > 1e-9), key=lambda part: -(owed[part] + remainder[part]))
        counts[up[: len(items) - counts.sum()]] += 1
        while len(items) >= len(shares) and counts.min() == 0:
            counts[counts.argmin()] += 1
            counts[counts.argmax()] -= 1
        owed += exact - counts
        parts[items] = np.repeat(np.arange(len(shares)), counts)
    return parts


def split_groups(strata: np.ndarray, groups: np.ndarray, fractions: Sequence[float]) -> np.ndarray:
    """Assign a part to every group, so that strata and sizes are as close to the fractions as whole groups allow.

    No fast exact method exists (the problem contains bin packing). Three steps give a good approximation:

    1. Groups are placed one after the other where they lower the cost most. Large groups come first, by powers of two,
       in random order within a power (with a strict order by size, every seed would give the same parts). The cost is
       the sum over parts and strata of (have - want)^2 / (want * stratum's size). Because of the division, small parts
       are filled as evenly as large ones.
    2. If a stratum is missing in a part, the cheapest group that another part can spare moves there.
    3. Single groups move as long as this lowers the cost and no part loses a stratum.

    With few groups, the result depends on the order. So other orders are tried until every stratum is within 2 % of its
    share in every part, and the best result is used.

    Args:
        strata: ``(N, S)`` of 0 and 1: the strata that each item counts in.
        groups: ``(N,)`` group numbers from 0 to G - 1, in random order.
        fractions: P shares, positive, that sum to one.

    Returns:
        ``(N,)`` int64, parts, equal within a group.
    """
    counts = np.zeros((groups.max() + 1, strata.shape[1]))  # (G, S)
    np.add.at(counts, groups, strata)
    power = np.floor(np.log2(counts.sum(axis=1)))
    best: _Plan | None = None
    for start in range(0, len(counts), -(-len(counts) // _ORDERS)):
        order = np.roll(np.arange(len(counts)), start)
        plan = _Plan(counts, np.asarray(fractions))
        plan.place_all(order[np.argsort(-power[order], kind="stable")].tolist())
        if best is None or (plan.gaps, plan.cost) < (best.gaps, best.cost):
            best = plan
        if best.good or len(counts) > _MANY:
            break
    return np.asarray(best.part[groups]) if best else np.zeros(0, np.int64)


class _Plan:
    """The part of each group, and the resulting counts per part and stratum."""

    def __init__(self, counts: np.ndarray, fractions: np.ndarray) -> None:
        sizes = counts.sum(axis=0)
        self.counts = counts[:, sizes > 0]  # (G, S)
        self.part = np.full(len(counts), -1)  # (G,), -1: not placed yet
        self._want = fractions[:, None] * sizes[sizes > 0]  # (P, S)
        self._have = np.zeros_like(self._want)
        self._scale = self._want * sizes[sizes > 0]

    @property
    def gaps(self) -> int:
        """Number of cases in which a stratum is missing in a part."""
        return int((self._have == 0).sum())

    @property
    def cost(self) -> float:
        return float(((self._have - self._want) ** 2 / self._scale).sum())

    @property
    def good(self) -> bool:
        sizes = self._want.sum(axis=0)
        return not self.gaps and bool((np.abs(self._have - self._want) <= _TOLERANCE * sizes).all())

    def place_all(self, order: Iterable[int]) -> None:
        for group in order:
            self.place(group, int(np.argmin(self.cost_of_adding(group))))
        self.fill_gaps()
        self.improve()

    def place(self, group: int, part: int) -> None:
        if self.part[group] >= 0:
            self._have[self.part[group]] -= self.counts[group]
        self._have[part] += self.counts[group]
        self.part[group] = part

    def cost_of_adding(self, group: int) -> np.ndarray:
        """Increase of the cost if the group is added to each part: ``(P,)``."""
        more = self.counts[group]
        return np.asarray((more * (2 * (self._have - self._want) + more) / self._scale).sum(axis=1))

    def _cost_of_moving(self, group: int) -> np.ndarray:
        """Increase of the cost if a placed group moves: ``(P,)``; 0 for its part, infinite if it cannot be spared."""
        less, source = self.counts[group], self.part[group]
        left = self._have[source] - less
        saved = (less * (2 * (left - self._want[source]) + less) / self._scale[source]).sum()
        spared = bool((left[less > 0] > 0).all())
        cost = self.cost_of_adding(group) - saved if spared else np.full(len(self._have), np.inf)
        cost[source] = 0
        return cost

    def fill_gaps(self) -> None:
        for part, stratum in np.argwhere(self._have == 0).tolist():
            candidates = np.flatnonzero((self.counts[:, stratum] > 0) & (self.part != part)).tolist()
            costs = [self._cost_of_moving(group)[part] for group in candidates]
            if costs and np.isfinite(min(costs)) and self._have[part, stratum] == 0:
                self.place(candidates[int(np.argmin(costs))], part)

    def improve(self) -> None:
        for _ in range(_SWEEPS):
            moved = False
            for group in range(len(self.part)):
                costs = self._cost_of_moving(group)
                if costs.min() < -1e-12:
                    self.place(group, int(np.argmin(costs)))
                    moved = True
            if not moved:
                return
