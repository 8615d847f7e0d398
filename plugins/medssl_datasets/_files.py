"""Shared code of datasets with image files: lists folders in the same way, and reports missing files."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import ClassVar

import numpy as np

from medssl.contracts import Dataset, Sample
from medssl.errors import DataError
from medssl.tools import IMAGE_SUFFIXES, Source, download, read_image, unpack

__all__ = ["FileDataset", "PublishedTree", "images_below", "log", "own_split", "shorten", "subfolders"]

log = logging.getLogger("medssl")


def shorten(names: Iterable[str], limit: int = 20) -> str:
    """Join names for a message: the first names, and the number of the others."""
    names = list(names)
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """Everything in a folder, by name, without files that the operating system creates."""
    try:
        with os.scandir(folder) as found:
            kept = [entry for entry in found if not entry.name.startswith(".") and entry.name != "__MACOSX"]
    except OSError as error:
        raise DataError(f"{folder} cannot be listed: {error.strerror}. Check the path and its permissions.") from error
    return sorted(kept, key=lambda entry: entry.name)


def subfolders(folder: Path) -> list[str]:
    """Names of the visible folders in a folder, sorted."""
    return [entry.name for entry in _entries(folder) if entry.is_dir()]


def images_below(folder: Path) -> list[str]:
    """Paths of the image files at any depth below a folder, relative to it, with forward slashes, sorted.

    Hidden files and files without the suffix of an image are ignored. Links to folders are followed, but not in
    circles.
    """
    return sorted(_walk(folder, "", frozenset()))


def _walk(folder: Path, prefix: str, above: frozenset[str]) -> Iterator[str]:
    here = os.path.realpath(folder)
    if here in above:
        return
    for entry in _entries(folder):
        if entry.is_dir():
            yield from _walk(folder / entry.name, f"{prefix}{entry.name}/", above | {here})
        elif os.path.splitext(entry.name)[1].lower() in IMAGE_SUFFIXES:  # noqa: PTH122  (ten times as fast as Path)
            yield prefix + entry.name


def own_split(samples: Sequence[Sample]) -> tuple[str, str]:
    """Choose the default protocol for a user's own images, with the reason."""
    if {"train", "test"} <= {sample.part for sample in samples}:
        return "official", "the images have a training and a test part"
    if any(sample.group for sample in samples):
        return "grouped", "groups are known, and a random split would put images of one group on both sides"
    return "random", "neither groups nor parts are known, so related images may be on both sides"


class FileDataset(Dataset):
    """A dataset whose samples are image files below one folder, named by their path in it."""

    @property
    def tree(self) -> Path:
        """The folder that sample ids are relative to."""
        return self.root

    def path(self, sample: Sample) -> Path:
        """Return the image's file."""
        return self.tree / sample.id

    def read(self, sample: Sample) -> np.ndarray:
        """Decode the image's file."""
        return read_image(self.path(sample))

    def read_reduced(self, sample: Sample, short_side: int) -> np.ndarray:
        """Decode the image's file at a reduced size, if that is enough."""
        return read_image(self.path(sample), short_side)


class PublishedTree(FileDataset):
    """A published dataset in its official folders, at the root or inside the top folders of its archives.

    Attributes:
        name: As in ``--dataset``.
        classes: The classes, which are also folder names.
        layouts: The folders of the tree; several if the dataset is distributed in several layouts.
        wrappers: Folders that may contain the tree, in any letter case; the shallowest tree is used.
        expected: One line that shows the layout.
    """

    name: ClassVar[str]
    classes: ClassVar[tuple[str, ...]]
    layouts: ClassVar[tuple[tuple[str, ...], ...]]
    wrappers: ClassVar[tuple[str, ...]]
    expected: ClassVar[str]

    _found: Path | None = None

    @property
    def tree(self) -> Path:
        """The folder with the class folders.

        Raises:
            DataError: It does not exist, or some class folders are missing.
        """
        if self._found is None:
            self._found = self._find()
        if self._found is None:
            raise DataError(self._missing())
        return self._found

    def fetch(self) -> None:
        """Download and unpack the archive, unless the tree exists.

        Raises:
            DataError: It cannot be downloaded; the message says which file to put where.
        """
        if self._find() is not None:
            return
        for source in self._sources():
            unpack(download(source, self.root), self.root)
        log.info("%s is in %s", self.name, self.tree)

    def warn_of_counts(self, samples: Sequence[Sample], official: Mapping[str, int]) -> None:
        """Log a warning if the number of images differs from the published one; a partial dataset is not an error."""
        found = Counter(self.classes[sample.y] for sample in samples if isinstance(sample.y, int))
        wrong = [f"{name} {found[name]} of {count}" for name, count in official.items() if found[name] != count]
        if wrong:
            log.warning(
                "%s: %s is not the complete published dataset: it has %s images.", self.name, self.tree, shorten(wrong)
            )

    def check_classes(self, samples: Sequence[Sample]) -> None:
        """Check that every class has an image.

        Raises:
            DataError: Some classes have no image.
        """
        seen = {sample.y for sample in samples}
        empty = [name for label, name in enumerate(self.classes) if label not in seen]
        if empty:
            raise DataError(
                f"{self.name}: no images of the class {shorten(empty)} in {self.tree}. Expected: {self.expected}. "
                "Copy the missing images there."
            )

    def _candidates(self) -> Iterator[Path]:
        """Yield the root, then wrappers in it, then wrappers in those."""
        wrappers = {name.lower() for name in self.wrappers}
        level = [self.root] if self.root.is_dir() else []
        for _ in range(7):  # deeper than in any known distribution
            yield from level
            level = [folder / name for folder in level for name in subfolders(folder) if name.lower() in wrappers]

    def _find(self) -> Path | None:
        complete = (
            folder
            for folder in self._candidates()
            if any(all((folder / name).is_dir() for name in layout) for layout in self.layouts)
        )
        return next(complete, None)

    def _missing(self) -> str:
        for folder in self._candidates():
            for layout in self.layouts:
                lacking = [name for name in layout if not (folder / name).is_dir()]
                if len(lacking) < len(layout):
                    return (
                        f"{self.name}: {folder} lacks the folder {shorten(lacking)}. It has "
                        f"{shorten(subfolders(folder))}. Expected: {self.expected}. Add or rename folders."
                    )
        sources = self._sources()
        by_hand = "".join(f", or unpack {source} from {source.url} there" for source in sources)
        return (
            f"{self.name}: its images are not in {self.root}. Expected there: {self.expected}. "
            f"Run 'medssl fetch {self.name}'{by_hand}, or give another folder with --data-dir."
        )

    def _sources(self) -> list[Source]:
        known = {field.name for field in fields(Source)}
        shown = {"title": self.facts.get("summary", ""), "licence": self.facts.get("licence", "")}
        entries = self.facts.get("sources", ())
        return [Source(**(shown | {key: value for key, value in entry.items() if key in known})) for entry in entries]
