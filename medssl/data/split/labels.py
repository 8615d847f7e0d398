"""Label fraction: which images keep their labels when only a part of the labels is used.

The choice is stratified and has an image of every class (not of every finding). It is nested: for one seed, the labels
of 5 % are among those of 10 %, so a curve over fractions shows the effect of additional labels only. If a split keeps
groups together, whole groups keep their labels, because in practice a person labels a whole patient.

The same fraction applies to the training and the validation labels. A user with few labels cannot choose settings with
more labels than they train on (Oliver et al. 2018, arXiv 1804.09170, sec. 4.6).
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from medssl.contracts import Sample, Target
from medssl.data.split.protocols import group_key
from medssl.data.split.stratify import shuffled

__all__ = ["choose_labels"]


def choose_labels(
    samples: Sequence[Sample], target: Target, fraction: float, seed: int, *, grouped: bool
) -> frozenset[str]:
    """Choose the images whose labels are used.

    For single images, each class keeps its fraction, rounded, and at least one image. For whole groups, and for images
    with several findings, the choice is as close to the fraction as the groups allow.

    Args:
        samples: Samples of one part; samples without a label are ignored.
        target: The target of the samples.
        fraction: Fraction of the labels, above 0 and up to 1.
        seed: Seed of the draw.
        grouped: Whether a group's labels are used together; a sample without a group is a group of its own.

    Returns:
        Ids. They do not depend on the order of the samples, and contain the ids for every smaller fraction.
    """
    labelled = [sample for sample in samples if sample.y is not None]
    if not labelled:
        return frozenset()
    strata = target.strata([sample.y for sample in labelled if sample.y is not None])
    if not grouped and bool((strata.sum(axis=1) == 1).all()):
        stratum_of = {s.id: stratum for s, stratum in zip(labelled, strata.argmax(axis=1).tolist(), strict=True)}
        return _single_images(stratum_of, fraction, seed)
    units: dict[str, list[int]] = defaultdict(list)
    for at, sample in enumerate(labelled):
        units[group_key(sample) if grouped else sample.id].append(at)
    chosen = _whole_units(units, strata, fraction, seed, every=target.every_stratum)
    return frozenset(labelled[at].id for at in chosen)


def _single_images(stratum_of: Mapping[str, int], fraction: float, seed: int) -> frozenset[str]:
    members: dict[int, list[str]] = defaultdict(list)
    for name in shuffled(stratum_of, seed):
        members[stratum_of[name]].append(name)
    return frozenset(
        name for names in members.values() for name in names[: max(1, math.floor(fraction * len(names) + 0.5))]
    )


def _whole_units(
    members: Mapping[str, list[int]], strata: np.ndarray, fraction: float, seed: int, *, every: bool
) -> list[int]:
    """Choose units, and return the positions of their samples.

    Args:
        members: Positions of samples by unit: a group, or a single image.
        strata: ``(N, S)``.
        fraction: See :func:`choose_labels`.
        seed: Likewise.
        every: Whether every stratum must be chosen at least once.
    """
    counts = {unit: Counter(np.nonzero(strata[places])[1].tolist()) for unit, places in members.items()}
    order = _balanced_order(counts, seed)
    sizes = np.cumsum([len(members[unit]) for unit in order])
    missing, needed = set(np.flatnonzero(strata.any(axis=0)).tolist()) if every else set(), 0
    while missing:  # the first units contain every class, in any proportion
        missing -= set(counts[order[needed]])
        needed += 1
    nearest = int(np.abs(sizes - fraction * len(strata)).argmin()) + 1  # the smaller one if two are equally close
    return [at for unit in order[: max(needed, nearest)] for at in members[unit]]


def _balanced_order(counts: Mapping[str, Counter[int]], seed: int) -> list[str]:
    """Order units at random, so that the first k units have about the same share of each stratum, for every k.

    The next unit always comes from the stratum that is furthest behind its share (the smallest one in a tie). It is
    drawn from the units in which this stratum is the largest part, relative to its size, else from all units that have
    this stratum.
    """
    total = sum(counts.values(), Counter())
    have: Counter[int] = Counter()
    waiting = shuffled(counts, seed)
    first_of: dict[int, list[str]] = {stratum: [] for stratum in total}
    for unit in reversed(waiting):  # reversed: the first unit of the random order is the last of its list
        for stratum in counts[unit]:
            first_of[stratum].append(unit)
    for stratum, queue in first_of.items():
        queue.sort(
            key=lambda unit: _is_mostly(counts[unit], stratum, total)
        )  # stable: units with mostly this stratum last
    order: list[str] = []
    left = dict(total)
    done: set[str] = set()
    while left:
        stratum = min(left, key=lambda each: (have[each] / total[each], total[each], each))
        unit = first_of[stratum].pop()
        if unit in done:
            continue
        done.add(unit)
        order.append(unit)
        have += counts[unit]
        left = {each: count for each, count in total.items() if have[each] < count}
    return order


def _is_mostly(count: Counter[int], stratum: int, total: Counter[int]) -> bool:
    return all(count[stratum] * total[other] >= count[other] * total[stratum] for other in count)
