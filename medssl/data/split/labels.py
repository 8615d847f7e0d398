"""A share of the labels: which images keep theirs when only some are to be used.

The choice is stratified, has an image of every class, and is nested: for one seed the labels of 5 % are among those of
10 %, so that a curve over shares differs by what was added and not by what was drawn. Where a split keeps groups
together, whole groups keep their labels: who labels, labels a patient.

The same share is taken of the training and of the validation labels. Choosing settings with more labels than one trains
on is not what someone with few labels can do (Oliver et al. 2018, arXiv 1804.09170, sec. 4.6).
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

from medssl.contracts import Sample
from medssl.data.split.protocols import group_key
from medssl.data.split.stratify import shuffled

__all__ = ["choose_labels"]


def choose_labels(samples: Sequence[Sample], fraction: float, seed: int, *, grouped: bool) -> frozenset[str]:
    """Choose the images whose labels are used.

    Of single images each class keeps its share, rounded, and one at least. Of whole groups the choice comes as near to
    the share of all labels as groups allow.

    Args:
        samples: Samples of one part; those without a label are passed over.
        fraction: Share of the labels, above 0 and up to 1.
        seed: Another seed, other images.
        grouped: Whether a group's labels are used together; a sample without a group is a group of its own.

    Returns:
        Ids. Does not depend on the order of the samples, and contains the choice for any smaller fraction.
    """
    labelled = [sample for sample in samples if sample.label is not None]
    if not labelled:
        return frozenset()
    return _whole_groups(labelled, fraction, seed) if grouped else _single_images(labelled, fraction, seed)


def _single_images(labelled: Sequence[Sample], fraction: float, seed: int) -> frozenset[str]:
    members: dict[int | None, list[str]] = defaultdict(list)
    label_of = {sample.id: sample.label for sample in labelled}
    for name in shuffled(label_of, seed):
        members[label_of[name]].append(name)
    return frozenset(
        name for names in members.values() for name in names[: max(1, math.floor(fraction * len(names) + 0.5))]
    )


def _whole_groups(labelled: Sequence[Sample], fraction: float, seed: int) -> frozenset[str]:
    members: dict[str, list[Sample]] = defaultdict(list)
    for sample in labelled:
        members[group_key(sample)].append(sample)
    order = _balanced_order(members, seed)
    sizes = np.cumsum([len(members[group]) for group in order])
    missing, needed = {sample.label for sample in labelled}, 0
    while missing:  # the first groups hold every class, in whatever share
        missing -= {sample.label for sample in members[order[needed]]}
        needed += 1
    nearest = int(np.abs(sizes - fraction * len(labelled)).argmin()) + 1  # the smaller one of two that are as near
    return frozenset(sample.id for group in order[: max(needed, nearest)] for sample in members[group])


def _balanced_order(members: dict[str, list[Sample]], seed: int) -> list[str]:
    """Order groups at random, but so that every beginning holds about the same share of each class.

    The next group is always one of the class that lags behind, of several the smallest: the first at random among those
    which that class is the largest part of, measured against its size, else among those that have any of it.
    """
    counts = {group: Counter(sample.label for sample in samples) for group, samples in members.items()}
    total = sum(counts.values(), Counter())
    have: Counter[int | None] = Counter()
    waiting = shuffled(counts, seed)
    first_of: dict[int | None, list[str]] = {label: [] for label in total}
    for group in reversed(waiting):  # reversed, so that the first at random is the last of its list
        for label in counts[group]:
            first_of[label].append(group)
    for label, queue in first_of.items():
        queue.sort(key=lambda group: _is_mostly(counts[group], label, total))  # stable: those that are mostly it, last
    order: list[str] = []
    left = dict(total)
    done: set[str] = set()
    while left:
        label = min(left, key=lambda each: (have[each] / total[each], total[each], each))
        group = first_of[label].pop()
        if group in done:
            continue
        done.add(group)
        order.append(group)
        have += counts[group]
        left = {each: count for each, count in total.items() if have[each] < count}
    return order


def _is_mostly(count: Counter[int | None], label: int | None, total: Counter[int | None]) -> bool:
    return all(count[label] * total[other] >= count[other] * total[label] for other in count)
