"""Checks of the contract of datasets, on their files, or on an empty folder if there are no files.

N samples.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import numpy as np
from PIL import Image

from medssl.conformance.running import Check, NotSeen, Subject, require, without_global_draws
from medssl.contracts import Dataset, Listing, Sample, Target
from medssl.contracts.crossing.datasets import image_problems
from medssl.data.listing import DEFAULT_SPLITS, index
from medssl.errors import DataError
from medssl.runs.pipeline import collect_warnings

__all__ = ["CHECKS", "explains", "open_at"]

_READ = 64  # number of images that are decoded, evenly spaced; `medssl audit` reads all
_REDUCED = 8  # number of these that are decoded again at a reduced size
_ALIKE = 0.05  # largest mean difference between two thumbnails of one image, as a fraction of the range


# ------------------------------------------------------------------------------------------------------------ the rig


def open_at(subject: Subject, root: Path) -> Dataset:
    """Build the dataset on a folder."""
    dataset: Dataset = subject.plugin(subject.config, root, subject.facts)
    return dataset


@contextmanager
def _files(subject: Subject) -> Iterator[Path]:
    """Return the folder with the dataset's files; an empty folder for a dataset that needs none.

    Raises:
        NotSeen: The dataset needs files, and none were given.
    """
    if subject.root is not None:
        yield subject.root
        return
    with TemporaryDirectory() as empty:
        try:
            index(open_at(subject, Path(empty)))
        except DataError as error:
            raise NotSeen("its files are not available; give their folder with --data-dir") from error
        yield Path(empty)


def explains(error: DataError, root: Path) -> bool:
    """Whether a message says what was expected where, in more than a few words."""
    return root.name in str(error) and len(str(error)) > 40


def _spread(samples: Sequence[Sample]) -> list[Sample]:
    return [samples[i] for i in np.linspace(0, len(samples) - 1, min(_READ, len(samples))).astype(int)]


# ----------------------------------------------------------------------------------------------------------- listing


def check_building_it_touches_no_file(subject: Subject) -> None:
    """The constructor does not access files: the folder need not exist, and is not created."""
    with TemporaryDirectory() as folder:
        root = Path(folder) / "not-there-yet"
        open_at(subject, root)
        require(not root.exists(), "the constructor must not access files, but created the data folder")


def check_missing_files_are_explained(subject: Subject) -> None:
    """On an empty folder a dataset says which files it expects where (DataError), unless it needs no files."""
    with TemporaryDirectory() as empty:
        try:
            index(open_at(subject, Path(empty)))
        except DataError as error:
            text = f"the message must say what was expected where, and name the folder, but is: {error}"
            require(explains(error, Path(empty)), text)


def check_samples_are_sound(subject: Subject) -> None:
    """There are samples; ids are unique relative paths; each ``y`` is a value of the target; parts are known words."""
    with _files(subject) as root:
        listing = index(open_at(subject, root))
        require(isinstance(listing, Listing), f"index() must return a Listing, but returned {type(listing).__name__}")
        samples, target = listing.samples, listing.target
        require(isinstance(target, Target), f"the target must be one of medssl.contracts, but is {target!r}")
        require(bool(samples), "index() must list at least one sample, but listed none")
        twice = [name for name, count in Counter(sample.id for sample in samples).items() if count > 1]
        require(not twice, f"sample ids must be unique, but these are not: {', '.join(twice[:3])}")
        local = [s.id for s in samples if "\\" in s.id or PurePosixPath(s.id).is_absolute() or root.as_posix() in s.id]
        require(not local, f"sample ids must be relative, with forward slashes, but are for instance {local[:1]}")
        found = [(s, text) for s in samples if s.y is not None and (text := target.violation(s.y))]
        wrong = [f"{s.id} ({s.y!r})" for s, _ in found]
        require(not wrong, f"y must be {found[0][1] if found else ''}, but is not so: {', '.join(wrong[:3])}")
        parts = {sample.part for sample in samples} - {None, "train", "val", "test"}
        require(not parts, f"a part must be train, val, test or None, but these occur: {parts}")


def check_listing_is_the_same_everywhere(subject: Subject) -> None:
    """Samples, target and their order depend neither on the disk's order of files nor on the folder's path."""
    with _files(subject) as root, TemporaryDirectory() as elsewhere:
        first = _listing(subject, root)
        with without_global_draws("index()", "no generator"):
            require(_listing(subject, root) == first, "index() must return the same listing each time, but did not")
        for backwards in (False, True):  # the disk's own order may be one of these
            with _folders_listed(backwards):
                same = _listing(subject, root) == first
            require(same, "index() must not depend on the order in which the disk lists files, but does: sort them")
        link = Path(elsewhere) / "link"
        try:
            link.symlink_to(root.resolve(), target_is_directory=True)
        except OSError:  # on Windows, links may need special rights
            return
        same = _listing(subject, link) == first
        require(same, "index() must not depend on the folder's path, but changed with the folder's name")


def _listing(subject: Subject, root: Path) -> Listing:
    return index(open_at(subject, root))


def check_listing_changes_nothing_of_the_dataset(subject: Subject) -> None:
    """``index`` says everything in what it returns: it sets no public attribute of the dataset."""
    with _files(subject) as root:
        dataset = open_at(subject, root)
        before = {name: value for name, value in vars(dataset).items() if not name.startswith("_")}
        index(dataset)
        after = {name: value for name, value in vars(dataset).items() if not name.startswith("_")}
        changed = [name for name in after if name not in before or after[name] is not before[name]]
        text = "index() must leave the dataset as it was and say what it found in its Listing, but set"
        require(not changed, f"{text} {', '.join(changed)}")


@contextmanager
def _folders_listed(backwards: bool) -> Iterator[None]:
    """Make all functions that list a folder return its entries sorted by name, forwards or backwards."""
    listdir, scandir = os.listdir, os.scandir

    class Sorted:
        def __init__(self, path: Any = ".") -> None:
            with scandir(path) as found:
                self._entries = iter(sorted(found, key=lambda entry: entry.name, reverse=backwards))

        def __iter__(self) -> Iterator[Any]:
            return self

        def __next__(self) -> Any:
            return next(self._entries)

        def __enter__(self) -> Sorted:
            return self

        def __exit__(self, *_: object) -> None:
            self.close()

        def close(self) -> None:
            self._entries = iter(())

    def names(path: Any = ".") -> list[Any]:
        return sorted(listdir(path), reverse=backwards)

    with patch.object(os, "scandir", Sorted), patch.object(os, "listdir", names):
        yield


def check_counts_are_the_published_ones(subject: Subject) -> None:
    """The number of images per class equals that in the catalogue, or the logger ``medssl`` warns of the difference."""
    counts: Mapping[str, int] = subject.facts.get("counts", {})
    if not counts:
        raise NotSeen("the catalogue has no image counts for it")
    with _files(subject) as root:
        dataset = open_at(subject, root)
        with collect_warnings() as warned:
            listing = index(dataset)
        values = [s.y for s in listing.samples if s.y is not None]
        counts_found = listing.target.strata(values).sum(axis=0).tolist() if values else []
        found = Counter(dict(zip(listing.target.strata_names, counts_found, strict=False)))
        wrong = [f"{name} {found[name]} of {n}" for name, n in counts.items() if found[name] != n]
        text = f"files that differ from the published set need a warning, but there was none: {', '.join(wrong)}"
        require(not wrong or bool(warned), text)


# ------------------------------------------------------------------------------------------------- groups and leaks


def check_groups_and_default_split_fit_together(subject: Subject) -> None:
    """``group_kind`` says what the groups are, if there are any; the default split is possible and has its reason."""
    with _files(subject) as root:
        listing = index(open_at(subject, root))
        samples = listing.samples
        grouped, parts = any(s.group for s in samples), {s.part for s in samples}
        kind, split = listing.group_kind, listing.default_split
        text = "group_kind must say what a group is if samples have groups, and be None otherwise"
        require(
            grouped == (kind is not None), f"{text}, but is {kind!r}, and samples have {'' if grouped else 'no '}groups"
        )
        require(split in DEFAULT_SPLITS, f"default_split must be one of {', '.join(DEFAULT_SPLITS)}, but is {split!r}")
        require(split != "grouped" or grouped, "default_split is 'grouped', but no sample has a group")
        official = {"train", "test"} <= parts
        require(split != "official" or official, f"default_split is 'official', but the parts are {parts}")
        require(len(listing.split_reason.split()) > 2, "split_reason must say in a sentence why this is the default")


def check_official_test_part_is_apart(subject: Subject) -> None:
    """If the official parts are the default, no group and no image file is both in the test part and in another."""
    with _files(subject) as root:
        dataset = open_at(subject, root)
        listing = index(dataset)
        samples = listing.samples
        if listing.default_split != "official":
            raise NotSeen(
                "its default split is drawn at random and keeps groups together; `medssl audit` looks for duplicates"
            )
        test, others = ([s for s in samples if s.part and (s.part == "test") == wanted] for wanted in (True, False))
        shared = {s.group for s in test if s.group} & {s.group for s in others}
        text = (
            "if the official parts are the default, the test part must not share a group with another part, but shares"
        )
        require(not shared, f"{text} {len(shared)}: {', '.join(sorted(map(str, shared))[:3])}")
        known = {_digest(dataset, sample): sample.id for sample in others}
        copies = [f"{s.id} = {known[d]}" for s in test if (d := _digest(dataset, s)) in known]
        text = "if the official parts are the default, no test image may be in another part, but"
        require(not copies, f"{text} {len(copies)} are: {', '.join(copies[:3])}")


def _digest(dataset: Dataset, sample: Sample) -> bytes:
    path = dataset.path(sample)
    content = dataset.read(sample).tobytes() if path is None else path.read_bytes()
    return hashlib.blake2b(content, digest_size=16).digest()


# ---------------------------------------------------------------------------------------------------------- reading


def check_images_can_be_read(subject: Subject) -> None:
    """``read`` returns (H, W, C) uint8 or uint16, the same pixels each time, also from several threads at once."""
    with _files(subject) as root:
        dataset = open_at(subject, root)
        chosen = _spread(index(dataset).samples)
        with without_global_draws("read()", "no generator"):
            images = [dataset.read(sample) for sample in chosen]
        for sample, image in zip(chosen, images, strict=True):
            problems = image_problems(image)
            require(not problems, f"read() of {sample.id}: {'; '.join(problems)}")
        with ThreadPoolExecutor(4) as pool:
            again = list(pool.map(dataset.read, chosen))
        different = [s.id for s, a, b in zip(chosen, images, again, strict=True) if not np.array_equal(a, b)]
        text = "read() must return the same pixels each time, also from several threads at once, but differs for"
        require(not different, f"{text}: {', '.join(different[:3])}")
        lost = [str(path) for sample in chosen if (path := dataset.path(sample)) is not None and not path.is_file()]
        require(not lost, f"path() must return the file of an image, but these do not exist: {', '.join(lost[:3])}")


def check_reduced_images_are_the_same(subject: Subject) -> None:
    """``read_reduced`` returns the image of ``read`` with at least as many pixels as requested."""
    if subject.plugin.read_reduced is Dataset.read_reduced:
        raise NotSeen("it reads every image in full")
    with _files(subject) as root:
        dataset = open_at(subject, root)
        for sample in _spread(index(dataset).samples)[:: _READ // _REDUCED]:
            full = dataset.read(sample)
            wanted = max(1, min(full.shape[:2]) // 5)
            small = dataset.read_reduced(sample, wanted)
            seen = f"for {sample.id}, {full.shape} {full.dtype}, it returned {small.shape} {small.dtype}"
            form = (small.dtype, small.ndim, small.shape[2:]) == (full.dtype, full.ndim, full.shape[2:])
            require(form, f"read_reduced() must return the channels and the type of read(), but {seen}")
            shape = min(small.shape[:2]) >= wanted and _same_ratio(full.shape, small.shape)
            require(
                shape,
                f"read_reduced({wanted}) must return at least that short side, in the same aspect ratio, but {seen}",
            )
            apart = np.abs(_thumbnail(full) - _thumbnail(small)).mean()
            text = (
                f"read_reduced() must show the image of read(), but for {sample.id} grey levels differ by {apart:.0%}"
            )
            require(apart < _ALIKE, text)


def _same_ratio(full: tuple[int, ...], small: tuple[int, ...]) -> bool:
    """Whether both sides shrank by the same ratio, except for one pixel that a decoder may add or omit."""
    scale = min(small[:2]) / min(full[:2])
    return all(abs(side * scale - other) <= 1 for side, other in zip(full[:2], small[:2], strict=True))


def _thumbnail(pixels: np.ndarray) -> np.ndarray:
    """Shrink an image to 8 x 8 grey levels in [0, 1]."""
    grey = Image.fromarray(pixels.mean(axis=2, dtype=np.float32) / np.iinfo(pixels.dtype).max)
    return np.asarray(grey.resize((8, 8), Image.Resampling.BOX))


CHECKS: tuple[Check, ...] = (
    check_building_it_touches_no_file,
    check_missing_files_are_explained,
    check_samples_are_sound,
    check_listing_is_the_same_everywhere,
    check_listing_changes_nothing_of_the_dataset,
    check_counts_are_the_published_ones,
    check_groups_and_default_split_fit_together,
    check_official_test_part_is_apart,
    check_images_can_be_read,
    check_reduced_images_are_the_same,
)
