"""Keeps identifiers out of what may leave the house: ``result.json``, ``recipe.yaml``, pages, tables, standard output.

Keyed names (:func:`medssl.io.identities.private_id`) stand there in the place of groups, file names and paths. A file
that stays at the desk, ``desk.json``, holds what a run needs again: the folder of the images and hidden paths.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from typing import Any

from medssl.contracts import Sample
from medssl.io import limits
from medssl.io.files import write_atomic
from medssl.io.identities import is_private_id, private_id, revealed
from medssl.io.reading import read_json, read_text

__all__ = ["Desk", "Veil", "hidden_folder", "hidden_path", "hidden_paths", "named_run", "read_desk", "restored"]

# a path between quotes, then one without spaces
_PATHS = (
    re.compile(r"(?<=['\"`])(?:[A-Za-z]:[\\/]|\\\\|/|~/)[^'\"`\n]+(?=['\"`])"),
    re.compile(r"(?<![\w./\\:~-])(?:[A-Za-z]:[\\/]|\\\\|/|~/)[^\s'\"`<>|]*[^\s'\"`<>|.,;:!?)\]]"),
)
_WORD = re.compile(r"\w+")
_SHORTEST, _SHORTEST_NUMBER = 3, 5  # shorter names would hide parts of ordinary words and counts
_ORDINARY = frozenset(("images", "image", "train", "val", "test", "data", "root", "user", "localhost", "none"))
_MOST_FILES = 500_000  # looked at in the folder of the images: some seconds
_RECIPE_HASH = re.compile(r"[0-9a-f]{10}")


@dataclass(frozen=True, kw_only=True)
class Desk:
    """The content of ``desk.json``.

    Attributes:
        directory: Folder of the images; ``None``: not known.
        names: What the private names in ``recipe.yaml`` stand for.
    """

    directory: str | None = None
    names: Mapping[str, str] = field(default_factory=dict)

    def write(self, file: Path) -> None:
        """Write the file, readable by its owner alone."""
        values = {"directory": self.directory, "names": dict(self.names)}
        write_atomic(file, (json.dumps(values, indent=1) + "\n").encode(), private=True)


def read_desk(file: Path) -> Desk:
    """Read ``desk.json``; empty where it is missing or damaged, as in a folder that was passed on."""
    try:
        values = read_json(file)
        directory, names = values.get("directory"), values.get("names") or {}
        return Desk(
            directory=None if directory is None else str(directory),
            names={str(name): str(text) for name, text in names.items()},
        )
    except (OSError, ValueError, AttributeError):
        return Desk()


def restored(values: Any, desk: Desk) -> Any:
    """Put the paths back in the place of their private names, as far as the desk or the user's table knows them."""
    if isinstance(values, Mapping):
        return {key: restored(value, desk) for key, value in values.items()}
    if isinstance(values, list | tuple):
        return [restored(value, desk) for value in values]
    if isinstance(values, str) and is_private_id(values):
        return desk.names.get(values) or (revealed(values) or ("", values))[1]
    return values


def hidden_path(path: PurePath | str) -> str:
    """Return the private name of a file or a folder."""
    return private_id("file", str(path))


def hidden_folder(path: PurePath | str) -> str:
    """Return the private name of the folder of the images. A name without a path, from a kept result, is kept."""
    text = str(path)
    return private_id("directory", text) if _is_path(text) else text


def named_run(run: Path) -> str:
    """Name a run: by its folder where that has the name that medssl gave it, else by a private name."""
    try:
        recipe = read_text(run / "recipe.yaml", limits.YAML_BYTES)
    except (OSError, ValueError):
        return hidden_path(run)
    words = [
        line.partition(":")[2].strip(" '\"") for line in recipe.splitlines() if line.startswith("  plugin:")
    ]  # method and dataset, without a parser
    front, _, digits = run.name.rpartition("-")
    own = {f"{a}-{b}".replace(":", "_").replace("/", "_") for a in words for b in words}
    return run.name if front in own and _RECIPE_HASH.fullmatch(digits) else hidden_path(run)


def hidden_paths(values: Any, paths: Iterable[str], names: dict[str, str]) -> Any:
    """Return plain values of a recipe with private names in the place of paths.

    Args:
        values: Mappings, lists, texts and numbers.
        paths: Texts that are paths, for instance relative ones. Absolute ones are always hidden.
        names: Filled with the path of each private name.
    """
    known = frozenset(paths)

    def hide(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: hide(each) for key, each in value.items()}
        if isinstance(value, list | tuple):
            return [hide(each) for each in value]
        if isinstance(value, str) and (value in known or _is_path(value)):
            name = hidden_path(value)
            names[name] = value
            return name
        return value

    return hide(values)


def _is_path(text: str) -> bool:
    return len(text) > 1 and (
        PurePosixPath(text).is_absolute() or PureWindowsPath(text).is_absolute() or text.startswith(("~/", "../"))
    )


@dataclass(frozen=True, eq=False)
class Veil:
    """Hides the identifiers of a dataset in texts of plugins and libraries, which may name anything.

    Texts of medssl itself hide each name where it is written. A veil searches for the ids, file names, folders, groups
    and sites of the samples, and for paths, and puts private names in their place. Names of less than three letters and
    numbers of less than five digits are left, because they would hide parts of ordinary words and counts.

    Attributes:
        samples: The samples.
        spared: Texts that are no identifiers: names of classes.
        root: Folder of the images.
        group_kind: The kind of group, for instance patient.
    """

    samples: Sequence[Sample]
    spared: frozenset[str]
    root: Path
    group_kind: str

    def with_all_files(self) -> Veil:
        """Return a veil that also hides the names of all other files and folders below the folder of the images.

        Warnings of a dataset name files that it passes over.
        """
        listed = {sample.id for sample in self.samples}
        found = (
            Path(folder, name).relative_to(self.root).as_posix()
            for folder, _, names in os.walk(self.root)
            for name in names
        )
        others = (Sample(id=name) for name in islice(found, _MOST_FILES) if name not in listed)
        return replace(self, samples=[*self.samples, *others])

    def values(self, values: Any) -> Any:
        """Hide identifiers in plain values; a key is hidden if the whole key is one."""
        if isinstance(values, Mapping):
            return {self._key(key): self.values(value) for key, value in values.items()}
        if isinstance(values, list | tuple):
            return [self.values(value) for value in values]
        return self.text(values) if isinstance(values, str) and values not in self.spared else values

    def text(self, text: str) -> str:
        """Hide identifiers in a text."""
        text = text.replace(f"{self.root}{os.sep}", "")
        for folder in self._folders:
            text = re.sub(rf"{re.escape(folder)}(?:[\\/][^\s'\"`]*)?", lambda m: hidden_path(m[0]), text)
        for pattern in _PATHS:
            text = pattern.sub(lambda found: hidden_path(found[0]), text)
        return self._without_names(text)

    def _key(self, key: Any) -> Any:
        kind = self._names.get(key) if isinstance(key, str) else None
        return key if kind is None else private_id(kind, key)

    def _without_names(self, text: str) -> str:
        parts, done = [], 0
        for word in _WORD.finditer(text):
            if word.start() < done:
                continue
            if (
                found := next((n for n in self._starting.get(word[0], ()) if _at(text, n, word.start())), None)
            ) is None:
                continue
            parts += [text[done : word.start()], private_id(self._names[found], found)]
            done = word.start() + len(found)
        return "".join([*parts, text[done:]])

    @cached_property
    def _folders(self) -> list[str]:
        """Folders of this computer, the longest first."""
        found = {str(self.root), os.getcwd(), tempfile.gettempdir()}  # noqa: PTH109
        with contextlib.suppress(RuntimeError):
            found.add(str(Path.home()))
        return sorted((folder for folder in found if len(folder) > 1), key=len, reverse=True)

    @cached_property
    def _names(self) -> dict[str, str]:
        """Kind of each identifier that a text may contain."""
        found = dict.fromkeys((socket.gethostname(),), "host")
        found |= {name: "user" for name in (os.environ.get("USER"), os.environ.get("USERNAME")) if name}
        for sample in self.samples:
            found |= dict.fromkeys(_pieces(sample.id), "image")
        for sample in self.samples:
            found |= {sample.group: self.group_kind} if sample.group else {}
            found |= {sample.site: "site"} if sample.site else {}
        spared = self.spared | _ORDINARY
        return {name: kind for name, kind in found.items() if name not in spared and _is_telling(name)}

    @cached_property
    def _starting(self) -> dict[str, list[str]]:
        """Identifiers by their first word, the longest first."""
        found: dict[str, list[str]] = {}
        for name in sorted(self._names, key=len, reverse=True):
            if first := _WORD.search(name):
                found.setdefault(first[0], []).append(name)
        return found


def _pieces(name: str) -> Iterator[str]:
    """Yield an id, the name of its file with and without suffixes, and its folders."""
    path = PurePosixPath(name)
    yield from (name, path.name, path.stem, path.name.partition(".")[0], *path.parts[:-1])


def _is_telling(name: str) -> bool:
    return len(name) >= (_SHORTEST_NUMBER if name.isdigit() else _SHORTEST) and bool(_WORD.match(name))


def _at(text: str, name: str, start: int) -> bool:
    end = start + len(name)
    return text.startswith(name, start) and not (end < len(text) and (text[end].isalnum() or text[end] == "_"))
