"""Finds the files that a table names: by path, with or without suffix, by name in any folder, with lost zeros."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from medssl.errors import counted, shorten
from medssl_datasets.folders.tree import Tree, read_tree, sample_id, suffix_of
from medssl_datasets.shared.words import number
from medssl_datasets.tables.reading import PLAIN_PATH, normal_path

__all__ = ["Finder", "Found"]

_MANY = 1000  # rows from which on folders are listed; asking for one file after the other takes three times as long
_HOW = {
    "table": "relative to the table's folder",
    "suffix": "by adding the suffix",
    "name": "by name, in another folder than the table says",
    "other": "by name, with another suffix than the table says",
    "zeros": "by number, with the leading zeros that the table lacks",
}


@dataclass
class Found:
    """The result of a search.

    Attributes:
        paths: Path of each text, relative to the data folder; ``None``: no file, or several.
        ways: How files were found that are not where the table says, with counts.
        several: Texts that stand for several files, with the files.
    """

    paths: list[str | None]
    ways: Counter[str] = field(default_factory=Counter)
    several: dict[str, list[str]] = field(default_factory=dict)

    def said(self) -> list[str]:
        """Describe how files were found that are not where the table says."""
        return [f"found {_HOW[way]}: {counted(images, 'image')}" for way, images in self.ways.items()]


class Finder:
    """Finds files below a data folder.

    Args:
        root: The data folder.
        table: Folder of the table.
        prefix: Folder put before each path.
        is_image: See :func:`medssl_datasets.folders.tree.read_tree`.
    """

    def __init__(self, root: Path, table: Path, prefix: str, is_image: Callable[[str], bool] | None = None) -> None:
        self._root, self._prefix = root, prefix
        beside = os.path.relpath(table.resolve(), root.resolve()).replace(os.sep, "/")
        self._beside = "" if beside == "." else f"{beside}/"
        self._is_image = is_image
        self._listed: frozenset[str] = frozenset()
        self._names: dict[str, frozenset[str]] = {}

    @cached_property
    def tree(self) -> Tree:
        """All files below the data folder."""
        return read_tree(self._root, self._is_image)

    def list_files(self) -> None:
        """List all files now; then :meth:`find` asks the list before the disk."""
        self._listed = frozenset(path for path in self.tree.images if "\\" not in path)

    def normal(self, text: str) -> str:
        """Return the path that a text stands for, relative to the data folder if it is below it."""
        return self._relative(normal_path(text, self._prefix))

    def find(self, texts: Sequence[str], *, search: bool = True) -> Found:
        """Find the file of each text.

        Args:
            texts: Cells of a table.
            search: Whether files are searched that are not where the table says; the first search lists all files.
        """
        found = Found([])
        base, isfile, many = f"{self._root}/", os.path.isfile, len(texts) >= _MANY
        known: dict[str, tuple[str | None, str]] = {}
        written = many and not self._prefix  # most texts are paths as they should be, and need no other look
        listed: frozenset[str] = self._listed if written else frozenset()
        folders = {text[: text.rfind("/") + 1] for text in texts} if written and not listed else ()
        names = {above: self._files_in(above[:-1]) for above in folders if not above or PLAIN_PATH(above[:-1])}
        nothing: frozenset[str] = frozenset()
        for text in texts:
            at = text.rfind("/") + 1
            if text in listed or text[at:] in names.get(text[:at], nothing):
                found.paths.append(text)
                continue
            if text not in known:
                path = self.normal(text)
                folder, _, name = path.rpartition("/")
                there = path in self._listed or (many and name in self._files_in(folder))
                if there or isfile(path if path.startswith("/") else base + path):
                    known[text] = path, ""
                elif self._beside and isfile(base + (beside := normal_path(self._beside + path))):
                    known[text] = beside, "table"
                else:
                    known[text] = self._search(path, found) if search else (None, "")
            path_found, way = known[text]
            found.paths.append(path_found)
            if way:
                found.ways[way] += 1
        return found

    def _files_in(self, folder: str) -> frozenset[str]:
        """Return the names of the visible files in a folder below the data folder; none for other folders."""
        if folder not in self._names:
            try:
                with os.scandir("" if folder.startswith("/") else f"{self._root}/{folder}") as entries:
                    files = (entry.name for entry in entries if entry.is_file())
                    self._names[folder] = frozenset(name for name in files if name[0] != "." and "\\" not in name)
            except (OSError, ValueError):
                self._names[folder] = frozenset()
        return self._names[folder]

    def _relative(self, path: str) -> str:
        if not path.startswith("/"):
            return path
        place = Path(path)
        root = self._root
        return place.relative_to(root).as_posix() if place.is_relative_to(root) else path

    def _search(self, path: str, found: Found) -> tuple[str | None, str]:
        """Search for a file that is not where the table says; return its path and how it was found."""
        name = path.rpartition("/")[2].lower()
        for way, candidates in (
            ("name", self._by_name.get(name)),
            ("suffix", self._by_stem.get(name)),
            ("other", self._by_stem.get(name[: len(name) - len(suffix_of(name))])),
            ("zeros", self._by_number.get(number(name) or number(name.partition(".")[0]) or "")),
        ):
            if candidates:
                nearest = _nearest(path, candidates)
                if len(nearest) == 1:
                    moved = way == "suffix" and nearest[0].rpartition("/")[0] != path.rpartition("/")[0]
                    return sample_id(nearest[0]), "name" if moved else way
                found.several[path] = nearest
                return None, ""
        return None, ""

    @cached_property
    def _by_name(self) -> dict[str, list[str]]:
        return _index((path.rpartition("/")[2].lower(), path) for path in (*self.tree.images, *self.tree.others))

    @cached_property
    def _by_stem(self) -> dict[str, list[str]]:
        names = ((path.rpartition("/")[2].lower(), path) for path in self.tree.images)
        return _index((name[: len(name) - len(suffix_of(name))], path) for name, path in names)

    @cached_property
    def _by_number(self) -> dict[str, list[str]]:
        return _index((number(stem) or "", path) for stem, paths in self._by_stem.items() for path in paths)

    def sentence_of_missing(self, texts: Sequence[str], file: Path) -> str:
        """Say which rows match no file, and what was tried."""
        missing, tree = sorted(set(texts)), self.tree
        suffixes = Counter(suffix_of(path) for path in tree.images)
        images = counted(len(tree.images), "image")
        there = f"Below the data folder: {images}, for instance {shorten(tree.images[:2])}" if tree.images else ""
        kinds = shorten([f"{count} {kind}" for kind, count in tree.kinds().items()], 3)
        held = "; ".join(filter(None, [there or "There is no image", f"and {kinds}" if kinds else ""]))
        beside = f" and below {file.parent}" if self._beside else ""
        return (
            f"{len(texts)} rows of {file.name} match no file: {shorten(missing)}. Tried: the path below {self._root}"
            f"{beside}, the name in any folder there, with or without suffix ({shorten(suffixes, 3) or 'none'}), and "
            f"with leading zeros. {held}. Correct the column, give the folder of the images with --data-dir, or "
            "leave these rows out with --set dataset.absent=skip"
        )


def _index(items: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for key, path in items:
        if key:
            found.setdefault(key, []).append(path)
    return found


def _nearest(path: str, candidates: Sequence[str]) -> list[str]:
    """Return the candidates with most folders at their end in common with a path."""
    if len(candidates) == 1:
        return list(candidates)
    wanted = path.lower().split("/")[:-1][::-1]

    def shared(candidate: str) -> int:
        count = 0
        for one, other in zip(wanted, candidate.lower().split("/")[:-1][::-1], strict=False):
            if one != other:
                break
            count += 1
        return count

    best = max(map(shared, candidates))
    return [candidate for candidate in candidates if shared(candidate) == best]
