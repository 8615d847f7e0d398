"""The three split protocols: from samples to the part of each.

Nothing here depends on the order of the samples it is given.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from medssl.contracts import Sample
from medssl.data.stratify import shuffled, split_groups, split_items
from medssl.errors import DataError

__all__ = ["PARTS", "Words", "draw", "group_key", "official", "place_unlabelled"]

PARTS = ("train", "val", "test")


@dataclass(frozen=True)
class Words:
    """What groups and classes are called in messages."""

    group_kind: str
    classes: Sequence[str]

    def of(self, label: int) -> str:
        """Name a class, by its number where it has no name."""
        return self.classes[label] if label < len(self.classes) else str(label)

    def labels(self, found: Iterable[int]) -> list[int]:
        """List the classes there should be: those that were found and those that are declared."""
        return sorted({*found, *range(len(self.classes))})


def group_key(sample: Sample) -> str:
    """Return the sample's group; one of its own, that no dataset can name, where it has none."""
    return sample.group or f"\0{sample.id}"


def draw(
    samples: Sequence[Sample],
    parts: Sequence[str],
    fractions: Sequence[float],
    seed: int,
    words: Words,
    *,
    grouped: bool,
) -> dict[str, str]:
    """Draw the part of each labelled sample, stratified; whole groups if asked.

    Raises:
        DataError: Groups are asked for and none is known, or a class has fewer images (or groups) than there are parts.
    """
    if grouped and not any(sample.group for sample in samples):
        raise DataError(
            "the split protocol 'grouped' keeps groups together, and this dataset knows none. Choose --split random, "
            "or tell the dataset where its groups are."
        )
    by_id = {sample.id: sample for sample in samples}
    order = [by_id[name] for name in shuffled(by_id, seed)]
    units = [group_key(sample) if grouped else sample.id for sample in order]
    _refuse_small_classes(order, units, parts, words, grouped=grouped)
    labels = np.array([sample.label for sample in order])
    if grouped:
        number = {unit: i for i, unit in enumerate(shuffled(set(units), seed))}
        chosen = split_groups(labels, np.array([number[unit] for unit in units]), fractions)
    else:
        chosen = split_items(labels, fractions)
    return {sample.id: parts[part] for sample, part in zip(order, chosen.tolist(), strict=True)}


def _refuse_small_classes(
    samples: Sequence[Sample], units: Sequence[str], parts: Sequence[str], words: Words, *, grouped: bool
) -> None:
    """Every part needs an image of every class; in whole groups, a group of its own with such an image."""
    found: dict[int, set[str]] = defaultdict(set)
    for sample, unit in zip(samples, units, strict=True):
        if sample.label is not None:
            found[sample.label].add(unit)
    unit_kind = f"{words.group_kind}s" if grouped else "images"
    small = [
        f"class '{words.of(label)}' has {len(found[label])} {unit_kind}"
        for label in words.labels(found)
        if len(found[label]) < len(parts)
    ]
    if small:
        way_out = "choose another --split protocol" if grouped else "leave the class out"
        raise DataError(
            f"{'; '.join(small)}. The {len(parts)} parts ({', '.join(parts)}) need one each. Add images or {way_out}."
        )


def official(samples: Sequence[Sample], fractions: Sequence[float], seed: int, words: Words) -> dict[str, str]:
    """Take the makers' part of each labelled sample; draw a validation part out of training when they made none.

    Raises:
        DataError: The dataset has no parts, or labelled images without one, or no training or no test images.
    """
    part_of: dict[str, str] = {sample.id: sample.part for sample in samples if sample.part}
    sizes = {part: list(part_of.values()).count(part) for part in PARTS}
    if not part_of:
        raise DataError("this dataset has no official parts. Choose --split random, or grouped where groups are known.")
    if len(part_of) < len(samples):
        lacking = sorted(sample.id for sample in samples if not sample.part)
        raise DataError(
            f"{len(lacking)} labelled images have no official part, '{lacking[0]}' among them. The protocol 'official' "
            "needs one for each. Give them one, or choose another --split protocol."
        )
    for part in ("train", "test"):
        if not sizes[part]:
            raise DataError(f"the official {part} part has no labelled image. Choose another --split protocol.")
    if not sizes["val"]:
        train = [sample for sample in samples if sample.part == "train"]
        whole = fractions[0] + fractions[1]
        shares = (fractions[0] / whole, fractions[1] / whole)
        part_of |= draw(train, PARTS[:2], shares, seed, words, grouped=any(sample.group for sample in train))
    return part_of


def place_unlabelled(samples: Sequence[Sample], part_of: Mapping[str, str], *, by_makers: bool) -> dict[str, str]:
    """Give every sample without a label to ``train``, or to ``unused`` when it belongs with validation or test images.

    Args:
        samples: All samples.
        part_of: Part of each labelled one.
        by_makers: Whether an official part of an unlabelled sample counts.
    """
    parts_of_group: dict[str, set[str]] = defaultdict(set)
    for sample in samples:
        if sample.group and sample.id in part_of:
            parts_of_group[sample.group].add(part_of[sample.id])
    placed = {}
    for sample in samples:
        if sample.label is None:
            parts = parts_of_group.get(sample.group or "", set())
            if by_makers and sample.part:
                parts = {sample.part}
            placed[sample.id] = "train" if not parts or "train" in parts else "unused"
    return placed
