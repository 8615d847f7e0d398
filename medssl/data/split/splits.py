"""Splits: which images are used for training, validation and testing; seeded, stratified and saved to a file.

Three protocols make a single split. ``random`` draws single images. ``grouped`` keeps the images of a patient, slide or
source together, so that no group has both test and training images. ``official`` uses the parts that the authors of the
dataset published. Four more protocols need several runs, each with another test part: see
:mod:`medssl.data.split.folds`.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from medssl.contracts import Listing, Sample, Unlabelled
from medssl.data.split.folds import FOLDED, check_fold, count_folds, draw_fold, refuse_undivided
from medssl.data.split.protocols import PARTS, Words, draw_parts, official, place_unlabelled, rest_shares
from medssl.data.split.sites import site_names
from medssl.errors import DataError, OptionError, counted, did_you_mean, shorten
from medssl.io.files import write_atomic
from medssl.io.reading import read_json
from medssl.recipe.settings import SplitSettings

__all__ = ["FOLDED", "PROTOCOLS", "Drawn", "Split", "fold_count", "load_split", "make_split", "write_down"]

PROTOCOLS = ("random", "grouped", "official", "kfold", "grouped-kfold", "loso", "site")
_Counts = dict[str, dict[str, int]]
_TOLERANCE = 0.02  # a larger deviation of a part from its share gives a warning


@dataclass(frozen=True, kw_only=True)
class Split:
    """Sorted sample ids per part, and the facts that a reader needs to judge the split.

    Attributes:
        protocol: One of :data:`PROTOCOLS`.
        seed: Seed of the draw.
        fractions: Requested shares of the three parts; under ``official`` only used to draw a missing validation part.
        fold: The fold that is the test part, from 0; ``None`` if the protocol has no folds.
        folds: Number of folds; ``None`` if the protocol has no folds.
        train: Ids for training, including samples without a label.
        val: Ids for validation; all have labels.
        test: Ids for testing; all have labels.
        unused: Ids without a label that belong to the group or official part of validation or test images; under
            ``site`` also those of patients who were at the tested site too.
        groups: Group of each id that has one.
        labelled: Labelled images per part.
        stratum_count: Labelled images per part and stratum (class, grade, finding or range of values).
        warnings: Warnings for the reader of a result.
        left_out: The site that is the test part, under ``site``.
    """

    protocol: str
    seed: int
    fractions: tuple[float, float, float]
    fold: int | None = None
    folds: int | None = None
    train: tuple[str, ...]
    val: tuple[str, ...]
    test: tuple[str, ...]
    unused: tuple[str, ...]
    groups: Mapping[str, str]
    labelled: Mapping[str, int]
    stratum_count: Mapping[str, Mapping[str, int]]
    warnings: tuple[str, ...]
    left_out: str | None = None

    @cached_property
    def sha256(self) -> str:
        """Checksum of the ids per part, without ``unused``."""
        parts = {part: list(getattr(self, part)) for part in PARTS}
        return hashlib.sha256(json.dumps(parts, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

    @cached_property
    def group_count(self) -> dict[str, int]:
        """Groups per part; an image without a group counts as one group."""
        return {part: len(groups) for part, groups in self._groups_of_parts.items()}

    @cached_property
    def grouped(self) -> bool:
        """Whether groups are known and none has images in two parts."""
        return bool(self.groups) and sum(self.group_count.values()) == len(set().union(*self._groups_of_parts.values()))

    @cached_property
    def shared(self) -> dict[str, int]:
        """Test and validation images whose group also has training images."""
        known = {self.groups[name] for name in self.train if name in self.groups}
        return {part: sum(self.groups.get(name) in known for name in getattr(self, part)) for part in ("test", "val")}

    @cached_property
    def _groups_of_parts(self) -> dict[str, set[str]]:
        return {part: {self.groups.get(name, f"\0{name}") for name in getattr(self, part)} for part in PARTS}

    @property
    def described_fold(self) -> dict[str, int | str | None] | None:
        """Number, count and left-out group or site of the fold, for the result; ``None`` without folds."""
        if self.fold is None:
            return None
        left_out = self.groups[self.test[0]] if self.protocol == "loso" else self.left_out
        return {"index": self.fold, "count": self.folds, "left_out": left_out}

    @property
    def shares(self) -> tuple[float, ...]:
        """Shares of the three parts in the labelled images that are used."""
        sizes = [self.labelled[part] for part in PARTS]
        return tuple(size / sum(sizes) for size in sizes)

    def save(self, path: str | Path) -> None:
        """Write the split as JSON, atomically, readable by its owner alone: it has the ids of all images."""
        values = {
            "protocol": self.protocol,
            "seed": self.seed,
            "fractions": self.fractions,
            "fold": self.fold,
            "folds": self.folds,
            "sha256": self.sha256,
            "grouped": self.grouped,
            "group_count": self.group_count,
            "labelled": self.labelled,
            "stratum_count": self.stratum_count,
            "warnings": self.warnings,
            "parts": {part: getattr(self, part) for part in (*PARTS, "unused")},
            "groups": self.groups,
            **({"left_out": self.left_out} if self.left_out else {}),
        }
        write_atomic(Path(path), (json.dumps(values, indent=1) + "\n").encode(), private=True)


def load_split(path: str | Path) -> Split:
    """Read the file of :meth:`Split.save`.

    Raises:
        DataError: The file does not exist or is not a split, or its ids were changed.
    """
    try:
        values = read_json(path)
        split = Split(
            protocol=values["protocol"],
            seed=values["seed"],
            fractions=tuple(values["fractions"]),
            fold=values.get("fold"),  # older splits have neither ``fold`` nor ``folds``
            folds=values.get("folds"),
            groups=values["groups"],
            **_counts(values),
            **_parts(values),
            warnings=tuple(values["warnings"]),
            left_out=values.get("left_out"),
        )
        recorded = values["sha256"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path} cannot be read as a split ({type(error).__name__}: {error}). Create it again."
        ) from error
    if split.sha256 != recorded:
        raise DataError(f"the split {path} was changed: its ids do not match its sha256. Create it again.")
    return split


def _parts(values: Mapping[str, Any]) -> dict[str, Any]:
    return {part: tuple(values["parts"][part]) for part in (*PARTS, "unused")}


def _counts(values: Mapping[str, Any]) -> dict[str, Any]:
    """Read the image counts; older splits, from before there were findings, count classes."""
    if "stratum_count" in values:
        return {"labelled": values["labelled"], "stratum_count": values["stratum_count"]}
    counts = values["class_count"]
    return {"labelled": {part: sum(counts[part].values()) for part in PARTS}, "stratum_count": counts}


def fold_count(listing: Listing, settings: SplitSettings, protocol: str) -> int:
    """Return the number of runs after which every image was tested once; 1 for a protocol without folds.

    Args:
        listing: Listing of a dataset; it may be empty if the settings alone determine the number of folds.
        settings: Settings; ``settings.fold`` is not used.
        protocol: One of :data:`PROTOCOLS`.

    Raises:
        DataError: The folds cannot be made: a class has too few images or groups, or there are no groups.
        OptionError: The protocol is unknown.
    """
    _check_protocol(protocol)
    if protocol not in FOLDED:
        return 1
    labelled = [sample for sample in listing.samples if sample.y is not None]
    if labelled:
        refuse_undivided(labelled, settings, protocol, Words(listing.group_kind or "group", listing.target))
    return count_folds(labelled, settings, protocol)


def make_split(listing: Listing, settings: SplitSettings, protocol: str) -> Split:
    """Divide samples into a training, a validation and a test part.

    The result depends on the samples and the settings, but not on the order of the samples. The target's strata
    (classes, grades, findings, ranges of a quantity) keep their proportions in each part. Under ``random`` the
    deviation is at most one image; for findings it is as small as images with several findings allow. Under ``grouped``
    it is as small as whole groups allow (:mod:`medssl.data.split.stratify`); a sample without a group is a group of its
    own. ``official`` keeps the official parts. If there is no official validation part, one is drawn from the training
    part, by whole groups if groups are known. ``kfold`` and ``grouped-kfold`` distribute images or whole groups to
    folds in the same way, ``loso`` makes each group a fold, and ``site`` each site. The fold of the settings is the
    test part, and the validation part is drawn from the other folds.

    Samples without a label are used for training, unless their group or official part belongs to validation or testing.
    Then they are not used. If the dataset has no labels at all, its images are divided in the same way: those of the
    validation and the test part are kept out of the training, so that labels can come later.

    Args:
        listing: Listing of a dataset. A class or grade without images is an error; a finding without images is not.
        settings: Fractions, seed and fold; ``settings.protocol`` is not used.
        protocol: One of :data:`PROTOCOLS`.

    Raises:
        DataError: There are no samples, two samples have the same id, all labels are equal, a class has too few images
            or groups for the parts, or the dataset lacks the groups, sites or official parts that the protocol needs.
        OptionError: The protocol is unknown, the fractions are not three positive numbers that sum to one, or the fold
            is missing, too large, or set for a protocol without folds.
    """
    _check(listing.samples, settings, protocol)
    unlabelled = isinstance(listing.target, Unlabelled)
    samples = sorted(listing.samples, key=lambda sample: sample.id)
    if unlabelled:  # all images count the same, and are drawn as if they had one label
        samples = [replace(sample, y=0) for sample in samples]
    labelled = [sample for sample in samples if sample.y is not None]
    words = Words(listing.group_kind or "group", listing.target)
    if not unlabelled:
        _refuse_one_value(labelled, words)
    if protocol in FOLDED:
        refuse_undivided(labelled, settings, protocol, words)
    check_fold(labelled, settings, protocol)
    notes: list[str] = []
    if protocol in FOLDED:
        part_of, notes = draw_fold(labelled, settings, protocol, words)
    elif protocol == "official":
        part_of = official(labelled, settings.fractions, settings.seed, words)
    else:
        grouped = protocol == "grouped"
        part_of = draw_parts(labelled, PARTS, settings.fractions, settings.seed, words, grouped=grouped)
    _count_strata(labelled, part_of, words)  # fails if a class has no training image
    wanted = _wanted(settings, protocol, Counter(part_of.values()))
    folds = count_folds(labelled, settings, protocol) if protocol in FOLDED else None
    left_out = site_names(labelled)[settings.fold or 0] if protocol == "site" else None
    drawn = Drawn(protocol, settings.seed, wanted, settings.fold, folds, left_out)
    if protocol in FOLDED and any(sample.part for sample in labelled):
        notes.append(f"the split protocol '{protocol}' does not keep the dataset's official parts")
    return write_down(samples, part_of, drawn, words, notes)


@dataclass(frozen=True)
class Drawn:
    """How the parts of a split were drawn; see :class:`Split`."""

    protocol: str
    seed: int
    fractions: tuple[float, float, float]
    fold: int | None
    folds: int | None
    left_out: str | None = None


def write_down(
    samples: Sequence[Sample], part_of: Mapping[str, str], drawn: Drawn, words: Words, notes: Iterable[str]
) -> Split:
    """Build a split from the parts of the labelled samples, and assign the samples without a label.

    Args:
        samples: All samples.
        part_of: Part of each labelled one.
        drawn: How the parts were drawn.
        words: Words for messages.
        notes: Additional warnings.

    Raises:
        DataError: A class has no training image.
    """
    samples = sorted(samples, key=lambda sample: sample.id)
    labelled = [sample for sample in samples if sample.y is not None]
    stratum_count = _count_strata(labelled, part_of, words)
    aside = sum(part == "unused" for part in part_of.values())
    sizes = Counter(part_of[sample.id] for sample in labelled)
    part_of = {**part_of, **place_unlabelled(samples, part_of, by_makers=drawn.protocol == "official")}
    split = Split(
        protocol=drawn.protocol,
        seed=drawn.seed,
        fractions=drawn.fractions,
        fold=drawn.fold,
        folds=drawn.folds,
        **{part: tuple(s.id for s in samples if part_of[s.id] == part) for part in (*PARTS, "unused")},
        groups={sample.id: sample.group for sample in samples if sample.group},
        labelled={part: sizes[part] for part in PARTS},
        stratum_count=stratum_count,
        warnings=(),
        left_out=drawn.left_out,
    )
    return replace(split, warnings=(*_warnings(split, words, aside), *notes))


def _wanted(settings: SplitSettings, protocol: str, sizes: Mapping[str, int]) -> tuple[float, float, float]:
    """Return the requested shares of the parts; with folds, the test share is that of the fold."""
    if protocol not in FOLDED:
        return settings.fractions
    test = sizes["test"] / sum(sizes.values()) if protocol in ("loso", "site") else 1 / settings.folds
    train, val = rest_shares(settings.fractions)
    return train * (1 - test), val * (1 - test), test


def _check_protocol(protocol: str) -> None:
    if protocol not in PROTOCOLS:
        known = ", ".join(PROTOCOLS)
        raise OptionError(
            f"the split protocol '{protocol}' does not exist.{did_you_mean(protocol, PROTOCOLS)} Known: {known}."
        )


def _check(samples: Sequence[Sample], settings: SplitSettings, protocol: str) -> None:
    _check_protocol(protocol)
    fractions = settings.fractions
    if len(fractions) != 3 or min(fractions) <= 0 or abs(sum(fractions) - 1) > 1e-6:
        raise OptionError(
            f"the split fractions {list(fractions)} cannot be used. Training, validation and test part each need a "
            "positive share, and the shares must sum to 1. Change split.fractions."
        )
    if not samples:
        raise DataError("the dataset has no samples, so it cannot be split. Check the data folder.")
    twice = [name for name, count in Counter(sample.id for sample in samples).items() if count > 1]
    if twice:
        raise DataError(f"{len(twice)} ids occur more than once, for example '{twice[0]}'. Make the ids unique.")


def _refuse_one_value(labelled: Sequence[Sample], words: Words) -> None:
    if not labelled:
        raise DataError(
            "no image has a label, so an evaluation is not possible. Check the data folder or the label column."
        )
    values = {sample.y for sample in labelled if sample.y is not None}
    if len(values) == 1:
        target, value = words.target, values.pop()
        same = f"of {target.stratum} '{target.text(value)}'" if target.every_stratum else f"alike: {target.text(value)}"
        wants = "two classes" if target.every_stratum else "images that differ"
        raise DataError(
            f"all {len(labelled)} labelled images are {same}. An evaluation needs {wants}. Check the data folder."
        )


def _count_strata(labelled: Sequence[Sample], part_of: Mapping[str, str], words: Words) -> _Counts:
    """Count labelled images per part and stratum.

    Raises:
        DataError: A class has no training image.
    """
    strata, names = words.strata(labelled), words.target.strata_names
    parts = np.array([part_of[sample.id] for sample in labelled])
    count = {part: strata[parts == part].sum(axis=0).tolist() for part in PARTS}
    for stratum in range(len(names)):
        if words.target.every_stratum and not count["train"][stratum]:
            raise DataError(
                f"{words.of(stratum)} has no image in the training part, so it cannot be learnt. "
                "Choose another --split protocol or seed, or add images."
            )
    return {part: dict(zip(names, count[part], strict=True)) for part in PARTS}


def _warnings(split: Split, words: Words, aside: int) -> Iterator[str]:
    """Yield the warnings about the split for the reader of the result; ``aside``: labelled images that are not used."""
    kind, noun = words.group_kind, words.target.stratum
    means = {
        "random": "image-level split",
        "grouped": "grouped split",
        "official": "official split",
        "kfold": "image-level folds",
        "grouped-kfold": "grouped folds",
        "loso": f"one {kind} left out",
        "site": "one site left out",
    }[split.protocol]
    anywhere = {name for counts in split.stratum_count.values() for name, count in counts.items() if count}
    for part, adjective in (("test", "test"), ("val", "validation"), ("train", "training")):
        if shared := split.shared.get(part):
            count = len(getattr(split, part))
            yield f"{means}: {shared} of {count} {adjective} images share a {kind} with a training image"
        missing = [name for name, count in split.stratum_count[part].items() if not count and name in anywhere]
        if len(missing) == 1:
            yield f"{means}: the {adjective} part has no image of {noun} '{missing[0]}'"
        elif missing:
            names = shorten([f"'{name}'" for name in missing])
            yield f"{means}: the {adjective} part has no image of {counted(len(missing), noun)}: {names}"
    whole_groups = split.protocol in ("grouped", "grouped-kfold")
    if whole_groups and max(map(abs, np.subtract(split.shares, split.fractions))) > _TOLERANCE:
        got, wanted = (" / ".join(f"{share:.1%}" for share in shares) for shares in (split.shares, split.fractions))
        yield f"{means}: because {kind}s stay together, the parts have {got} of the labelled images instead of {wanted}"
    if len(split.unused) > aside:
        yield f"not used: {counted(len(split.unused) - aside, 'image')} without a label, of validation or test groups"
