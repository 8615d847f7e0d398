"""Split protocols with a single split: they assign a part to each sample.

The result does not depend on the order of the samples.
"""

from __future__ import annotations

import json
import shlex
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from medssl.contracts import Sample, Target
from medssl.data.split.stratify import shuffled, split_groups, split_items
from medssl.errors import DataError, counted, shorten

__all__ = [
    "PARTS",
    "Words",
    "assign",
    "can_leave_one_out",
    "draw_parts",
    "group_key",
    "leaving_out",
    "official",
    "place_unlabelled",
    "refuse_small_strata",
    "rest_shares",
    "small_strata",
    "units_of_strata",
]

PARTS = ("train", "val", "test")
_LONGEST = 200  # characters of an option in a message


@dataclass(frozen=True)
class Words:
    """The target to balance, and the words for groups and strata in messages."""

    group_kind: str
    target: Target

    def of(self, stratum: int) -> str:
        """Name a stratum in a sentence: ``class 'benign'``."""
        return f"{self.target.stratum} '{self.target.strata_names[stratum]}'"

    def strata(self, samples: Sequence[Sample]) -> np.ndarray:
        """Return the strata ``(N, S)`` of labelled samples."""
        return self.target.strata([sample.y for sample in samples if sample.y is not None])


def group_key(sample: Sample) -> str:
    """Return the sample's group; a sample without a group gets a unique one that no dataset can use as a name."""
    return sample.group or f"\0{sample.id}"


def rest_shares(fractions: Sequence[float]) -> tuple[float, float]:
    """Shares of the training and the validation part in the samples outside the test part."""
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
    """Assign a part to each labelled sample, stratified; by whole groups if requested.

    Raises:
        DataError: Groups are requested but not known, or there are fewer images (or groups) than parts, in total or in
            a class.
    """
    if grouped and not any(sample.group for sample in samples):
        raise DataError(
            "the split protocol 'grouped' keeps groups together, but this dataset has none. Choose --split random, "
            "or tell the dataset where its groups are."
        )
    wants = f"The {len(parts)} parts ({', '.join(parts)}) need one each."
    refuse_small_strata(samples, len(parts), wants, words, grouped=grouped)
    chosen = assign(samples, fractions, seed, words, grouped=grouped)
    return {name: parts[part] for name, part in chosen.items()}


def assign(
    samples: Sequence[Sample], fractions: Sequence[float], seed: int | str, words: Words, *, grouped: bool
) -> dict[str, int]:
    """Assign the number of a part to each labelled sample, stratified; by whole groups if requested."""
    by_id = {sample.id: sample for sample in samples}
    order = [by_id[name] for name in shuffled(by_id, seed)]
    strata = words.strata(order)
    if grouped:
        units = [group_key(sample) for sample in order]
        number = {unit: i for i, unit in enumerate(shuffled(set(units), seed))}
        chosen = split_groups(strata, np.array([number[unit] for unit in units]), fractions)
    elif bool((strata.sum(axis=1) == 1).all()):
        chosen = split_items(strata.argmax(axis=1), fractions)
    else:
        chosen = split_groups(strata, np.arange(len(order)), fractions)
    return {sample.id: part for sample, part in zip(order, chosen.tolist(), strict=True)}


def units_of_strata(samples: Sequence[Sample], words: Words, *, grouped: bool) -> list[int]:
    """Count the units of each stratum: images, or groups (a sample without a group is a group of its own)."""
    found: list[set[str]] = [set() for _ in words.target.strata_names]
    labelled = [sample for sample in samples if sample.y is not None]
    if labelled:
        for at, stratum in np.argwhere(words.strata(labelled)).tolist():
            found[stratum].add(group_key(labelled[at]) if grouped else labelled[at].id)
    return [len(units) for units in found]


def refuse_small_strata(samples: Sequence[Sample], least: int, wants: str, words: Words, *, grouped: bool) -> None:
    """Check that there are enough images (or groups), in total and in each class, for all parts or folds.

    Args:
        samples: Labelled samples.
        least: Minimum number of images (or groups), in total and, if every part needs each stratum, in each stratum.
        wants: A sentence that explains this minimum.
        words: Words for the message.
        grouped: Whether to count groups instead of images.

    Raises:
        DataError: There are fewer than ``least``.
    """
    unit_kind = words.group_kind if grouped else "image"
    few = small_strata(samples, least, words, grouped=grouped)
    small = [f"{words.of(stratum)} has {counted(units, unit_kind)}" for stratum, units in few.items()]
    units = len({group_key(sample) if grouped else sample.id for sample in samples})
    if not small and units < least:
        small = [f"only {counted(units, unit_kind)} with a label"]
    if small and grouped and can_leave_one_out(samples, words):
        raise DataError(
            f"{shorten(small, 10, '; ')}. {wants} So this dataset cannot be split by {words.group_kind} in this way. "
            f"Choose --split loso: it leaves out one {words.group_kind} at a time and pools the predictions."
        )
    if small:
        leave_out = f" or leave the {words.target.stratum} out with {leaving_out(few, words)}" if few else ""
        other = " Or choose another --split protocol." if grouped else ""
        raise DataError(f"{shorten(small, 10, '; ')}. {wants} Add images{leave_out}.{other}")


def small_strata(samples: Sequence[Sample], least: int, words: Words, *, grouped: bool) -> dict[int, int]:
    """Return the strata with fewer than ``least`` images (or groups), with their number; none if none is needed."""
    if not words.target.every_stratum:
        return {}
    found = units_of_strata(samples, words, grouped=grouped)
    return {stratum: units for stratum, units in enumerate(found) if units < least}


def leaving_out(strata: Iterable[int], words: Words) -> str:
    """Write the option with which the datasets of a user's own files leave strata out; of many, without their names."""
    names = json.dumps([words.target.strata_names[stratum] for stratum in strata], ensure_ascii=False)
    return f"--set {shlex.quote(f'dataset.leave_out={names}')}" if len(names) < _LONGEST else "dataset.leave_out"


def can_leave_one_out(samples: Sequence[Sample], words: Words) -> bool:
    """Whether ``loso`` is possible: every image has a group, and every class (or the dataset) has two groups."""
    if not all(sample.group for sample in samples):
        return False
    if not words.target.every_stratum:
        return len({sample.group for sample in samples}) > 1
    return min(units_of_strata(samples, words, grouped=True)) > 1


def official(samples: Sequence[Sample], fractions: Sequence[float], seed: int, words: Words) -> dict[str, str]:
    """Use the official part of each labelled sample; draw a validation part from the training part if there is none.

    Raises:
        DataError: The dataset has no official parts, a labelled image has no part, or there are no training or test
            images.
    """
    part_of: dict[str, str] = {sample.id: sample.part for sample in samples if sample.part}
    sizes = {part: list(part_of.values()).count(part) for part in PARTS}
    if not part_of:
        raise DataError(
            "this dataset has no official parts. Choose --split random, or --split grouped if it has groups."
        )
    if len(part_of) < len(samples):
        lacking = sorted(sample.id for sample in samples if not sample.part)
        raise DataError(
            f"{counted(len(lacking), 'labelled image')} without an official part, for example '{lacking[0]}'. The "
            "protocol 'official' needs a part for each. Add the missing parts, or choose another --split protocol."
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
    """Assign samples without a label to ``train``, or to ``unused`` if they belong to validation or test images.

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
        if sample.y is None:
            parts = parts_of_group.get(sample.group or "", set())
            if by_makers and sample.part:
                parts = {sample.part}
            placed[sample.id] = "train" if not parts or "train" in parts else "unused"
    return placed
