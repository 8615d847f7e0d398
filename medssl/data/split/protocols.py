"""The split protocols that make one split: from samples to the part of each.

Nothing here depends on the order of the samples it is given.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from medssl.contracts import Sample
from medssl.data.split.stratify import shuffled, split_groups, split_items
from medssl.errors import DataError

__all__ = [
    "PARTS",
    "Words",
    "assign",
    "can_leave_one_out",
    "draw_parts",
    "group_key",
    "official",
    "place_unlabelled",
    "refuse_small_classes",
    "rest_shares",
    "units_of_classes",
]

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


def rest_shares(fractions: Sequence[float]) -> tuple[float, float]:
    """How training and validation part divide what the test part leaves."""
    whole = fractions[0] + fractions[1]
    return fractions[0] / whole, fractions[1] / whole


def draw_parts(
    samples: Sequence[Sample],
    parts: Sequence[str],
    fractions: Sequence[float],
    seed: int | str,
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
    wants = f"The {len(parts)} parts ({', '.join(parts)}) need one each."
    refuse_small_classes(samples, len(parts), wants, words, grouped=grouped)
    chosen = assign(samples, fractions, seed, grouped=grouped)
    return {name: parts[part] for name, part in chosen.items()}


def assign(samples: Sequence[Sample], fractions: Sequence[float], seed: int | str, *, grouped: bool) -> dict[str, int]:
    """Give each labelled sample the number of a part, stratified; whole groups if asked."""
    by_id = {sample.id: sample for sample in samples}
    order = [by_id[name] for name in shuffled(by_id, seed)]
    labels = np.array([sample.label for sample in order])
    if grouped:
        units = [group_key(sample) for sample in order]
        number = {unit: i for i, unit in enumerate(shuffled(set(units), seed))}
        chosen = split_groups(labels, np.array([number[unit] for unit in units]), fractions)
    else:
        chosen = split_items(labels, fractions)
    return {sample.id: part for sample, part in zip(order, chosen.tolist(), strict=True)}


def units_of_classes(samples: Iterable[Sample], words: Words, *, grouped: bool) -> dict[int, int]:
    """Count what can be dealt out of each class: its groups, a sample without one being its own, or its images."""
    found: dict[int, set[str]] = defaultdict(set)
    for sample in samples:
        if sample.label is not None:
            found[sample.label].add(group_key(sample) if grouped else sample.id)
    return {label: len(found[label]) for label in words.labels(found)}


def refuse_small_classes(samples: Sequence[Sample], least: int, wants: str, words: Words, *, grouped: bool) -> None:
    """Every part or fold needs an image of every class; in whole groups, a group of its own with such an image.

    Args:
        samples: Labelled ones.
        least: Images (or groups) that each class must have.
        wants: The sentence that says what needs them.
        words: For the message.
        grouped: Whether groups count, not images.

    Raises:
        DataError: A class has fewer.
    """
    unit_kind = f"{words.group_kind}s" if grouped else "images"
    small = [
        f"class '{words.of(label)}' has {count} {unit_kind}"
        for label, count in units_of_classes(samples, words, grouped=grouped).items()
        if count < least
    ]
    if small and grouped and can_leave_one_out(samples, words):
        raise DataError(
            f"{'; '.join(small)}. {wants} So this dataset cannot be divided by {words.group_kind} in this way. Choose "
            f"--split loso: it leaves out one {words.group_kind} at a time and pools the predictions."
        )
    if small:
        way_out = "choose another --split protocol" if grouped else "leave the class out"
        raise DataError(f"{'; '.join(small)}. {wants} Add images or {way_out}.")


def can_leave_one_out(samples: Sequence[Sample], words: Words) -> bool:
    """Whether every image has a group, and every class two groups: one to test on and one to learn from."""
    return all(sample.group for sample in samples) and min(units_of_classes(samples, words, grouped=True).values()) > 1


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
        shares = rest_shares(fractions)
        part_of |= draw_parts(train, PARTS[:2], shares, seed, words, grouped=any(sample.group for sample in train))
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
