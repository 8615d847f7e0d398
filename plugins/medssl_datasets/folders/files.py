"""Shared code of datasets with image files: lists folders in the same way, and reports missing files."""

from __future__ import annotations

import contextlib
import gc
import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar, NamedTuple

import numpy as np

from medssl.contracts import Dataset, FileFacts, Part, Readers, Sample, Value
from medssl.errors import DataError, shorten
from medssl.tools import Source, download, installed_readers, unpack
from medssl_datasets.folders.tree import read_tree, real_path

__all__ = [
    "FileDataset",
    "PublishedTree",
    "Row",
    "Survey",
    "images_below",
    "log",
    "own_split",
    "subfolders",
    "without_collection",
]

log = logging.getLogger("medssl")


@contextlib.contextmanager
def without_collection() -> Iterator[None]:
    """Stop Python's search for unused cycles, which takes half the time where millions of objects are made and kept."""
    active = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if active:
            gc.enable()


def subfolders(folder: Path) -> list[str]:
    """Names of the visible folders in a folder, sorted."""
    return sorted(name for name in read_tree(folder, deep=False).folders)


def images_below(folder: Path, readers: Readers | None = None) -> list[str]:
    """Paths of the image files at any depth below a folder, relative to it, with forward slashes, sorted.

    Hidden files, masks beside images, and files that no reader knows are left out. Links to folders are followed, but
    not in circles.

    Args:
        folder: The folder.
        readers: The readers of the run; ``None``: all installed ones.
    """
    return list(read_tree(folder, (readers or installed_readers()).is_image).images)


def own_split(samples: Sequence[Sample]) -> tuple[str, str]:
    """Choose the default protocol for a user's own images, with the reason."""
    if {"train", "test"} <= {sample.part for sample in samples}:
        return "official", "the images have a training and a test part"
    if any(sample.group for sample in samples):
        return "grouped", "groups are known, and a random split would put images of one group on both sides"
    return "random", "neither groups nor parts are known, so related images may be on both sides"


class Row(NamedTuple):
    """What the user says about one image file.

    Attributes:
        file: Its path below the data folder.
        y: Its value; ``None``: unknown.
        group: Its patient, slide or source image.
        site: Its hospital or scanner.
        part: Its part.
        facts: Other facts, by name.
    """

    file: str
    y: Value | None
    group: str | None = None
    site: str | None = None
    part: Part | None = None
    facts: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class Survey:
    """What image files hold and say about themselves.

    Attributes:
        ids: One id for each chosen frame, by file; the others have one sample, named like the file.
        facts: What files say about themselves, with hashed identifiers, by file; the others say nothing.
        group_kind: The kind of group that the files name, ``file`` if only their frames are grouped; ``None``: no group
            is known.
        site_kind: The kind of site; ``None``: no site is known.
    """

    ids: Mapping[str, Sequence[str]]
    facts: Mapping[str, FileFacts]
    group_kind: str | None
    site_kind: str | None

    @classmethod
    def of(cls, ids: Mapping[str, Sequence[str]], facts: Mapping[str, FileFacts]) -> Survey:
        """Find the kinds of groups and sites."""
        kinds = Counter(each.group_kind or "group" for each in facts.values() if each.group)
        several = any(len(frames) > 1 for frames in ids.values())
        sites = Counter(each.site_kind or "site" for each in facts.values() if each.site)
        group_kind = kinds.most_common(1)[0][0] if kinds else "file" if several else None
        return cls(ids, facts, group_kind, sites.most_common(1)[0][0] if sites else None)

    def samples(self, rows: Sequence[Row], *, grouped: bool) -> list[Sample]:
        """Return the samples of files.

        Args:
            rows: What the user says about each file.
            grouped: Whether the user gives groups; else those that the files name count. Frames of one file are in one
                group in any case.
        """
        found, silent = [], FileFacts()
        for file, y, given, place, part, own in rows:
            facts, frames = self.facts.get(file, silent), self.ids.get(file, (file,))
            group = (given if grouped else facts.group) or (file if len(frames) > 1 else None)
            site = place or facts.site
            every = {**facts.values, **own} if facts.values else own
            found += [Sample(id=name, y=y, group=group, site=site, part=part, facts=every) for name in frames]
        return found


class FileDataset(Dataset):
    """A dataset whose samples are image files below one folder, named by their path in it.

    A file with several frames gives several samples, ``path#frame``.
    """

    @property
    def tree(self) -> Path:
        """The folder that sample ids are relative to."""
        return self.root

    def path(self, sample: Sample) -> Path:
        """Return the image's file."""
        return self._place(sample)[0]

    def _place(self, sample: Sample) -> tuple[Path, int]:
        """Return the file and the frame of a sample."""
        path, frame = self.readers.locate(self.tree, sample.id)
        return (path if path.exists() else real_path(self.tree, path.relative_to(self.tree).as_posix())), frame

    def survey(self, files: Sequence[str]) -> Survey:
        """Read the number of frames of each file, and what it says about itself.

        Raises:
            DataError: Files of one patient or study contradict each other; one message lists all contradictions.
        """
        kind = type(self).__name__.lower()
        places = {
            file: real_path(self.tree, file) if "%" in file else self.tree / file
            for file in self.readers.not_plain(files)
        }
        facts, problems, warnings = self.readers.survey(places)
        if problems:
            raise DataError("\n".join([f"{kind}: the image files contradict each other.", *problems]))
        ids = {file: names for file, at in places.items() if (names := self.readers.ids(file, at)) != [file]}
        if ids:
            warnings.append(
                f"{len(ids)} files have several frames or pages: {shorten(list(ids), 3)}. They give "
                f"{sum(map(len, ids.values()))} images, and those of one file are in one group"
            )
        for warning in warnings:
            log.warning("%s: %s", kind, warning)
        return Survey.of(ids, facts)

    def read(self, sample: Sample) -> np.ndarray:
        """Decode the image."""
        return self.readers.read(*self._place(sample))

    def read_reduced(self, sample: Sample, short_side: int) -> np.ndarray:
        """Decode the image at a reduced size, if that is enough."""
        return self.readers.read(*self._place(sample), short_side)


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
