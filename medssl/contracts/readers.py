"""The contract of a reader of image files, and the readers of a run as datasets use them."""

from __future__ import annotations

import os
import threading
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from medssl.contracts.options import PositiveInt
from medssl.errors import BreachError, DataError, OptionError, PluginError
from medssl.io.identities import private_id

__all__ = ["Agreement", "FileFacts", "Reader", "Readers", "frame_numbers"]

_HEAD = 512  # bytes of a file that a reader may look at to recognise its format
_SHOWN = 5  # files named in one message


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """A value that must be the same in all files of one person, study or volume.

    Attributes:
        what: The value in words: ``birth date``.
        within: What the files share: ``patient``.
        of: The identifier of that patient, as in the file; medssl never writes it anywhere.
        value: The value, as in the file; medssl compares it and never writes it anywhere.
        remedy: What the user can do if the values differ, one sentence.
    """

    what: str
    within: str
    of: str
    value: str
    remedy: str


@dataclass(frozen=True, kw_only=True)
class FileFacts:
    """What an image file says about itself, beside its pixels.

    A reader gives identifiers as they are in the file. :meth:`Readers.survey` replaces ``group`` and ``site`` by keyed
    hashes, so that nothing else in medssl ever has them in clear.

    Attributes:
        group: Identifier of the patient, slide or volume; ``None`` where not known.
        group_kind: The kind of group: ``patient``.
        site: Identifier of the hospital; ``None`` where not known.
        site_kind: The kind of site: ``hospital``.
        values: Other facts by name, without any identifier, name or date: ``{"modality": "CT"}``.
        agree: Values that must be the same in other files.
        remarks: What a user should know about the file, each in words that apply to several files: ``may show the
            patient's name in its pixels``. One warning counts the files with the same remark.
    """

    group: str | None = None
    group_kind: str = ""
    site: str | None = None
    site_kind: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)
    agree: tuple[Agreement, ...] = ()
    remarks: tuple[str, ...] = ()


class Reader(ABC):
    """Reads the image files of one format.

    Its module must not import a heavy or optional library at import time: medssl builds every installed reader to learn
    its suffixes. All methods must be safe to call from several threads. Their error messages must contain no value from
    a header, because it may be the name of a patient.

    Attributes:
        Config: A frozen, keyword-only dataclass of the options, every one with a default.
        suffixes: Suffixes of its files in lower case, with the dot; may have two parts (``.nii.gz``).
        stacks: Those of files that may hold several frames; ``None``: any file may. The others are not asked.

    Args:
        config: The options.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """No options."""

    suffixes: ClassVar[frozenset[str]]
    stacks: ClassVar[tuple[str, ...] | None] = None

    def __init__(self, config: Any) -> None:
        self.config = config

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the options only, not what was read so far."""
        return type(self), (self.config,)

    def recognises(self, path: Path, head: bytes) -> bool:
        """Tell whether this reader is the right one for a file that its suffix does not decide.

        It is called for files with an unknown suffix, or with one that several readers have.

        Args:
            path: The file.
            head: Its first 512 bytes.
        """
        return False

    def frames(self, path: Path) -> int:
        """Return the number of frames, slices or pages of a file; 1 unless overridden.

        Raises:
            DataError: The file cannot be read.
        """
        return 1

    def chosen(self, path: Path) -> Sequence[int]:
        """Return the numbers of the frames to use, from 0; all unless overridden.

        A reader with an option for it returns ``frame_numbers(self.config.frames, self.frames(path))``.
        """
        return range(self.frames(path))

    @abstractmethod
    def read(self, path: Path, frame: int, short_side: int | None) -> np.ndarray:
        """Decode one frame.

        Args:
            path: The file.
            frame: Number of the frame, from 0.
            short_side: The image will be reduced to this short side in pixels. If the format allows to decode fewer
                pixels, the short side of the returned image must still have as many. ``None``: full size.

        Returns:
            ``(H, W, C)`` uint8 or uint16.

        Raises:
            DataError: The file cannot be read; the message names the file and the cause.
        """

    def facts(self, path: Path) -> FileFacts:
        """Return what the file says about itself; nothing unless overridden.

        Raises:
            DataError: The file cannot be read.
        """
        return FileFacts()


def frame_numbers(text: str, count: int) -> Sequence[int]:
    """Return the numbers of the frames that an option chooses.

    Args:
        text: ``all``; ``middle``; or a range ``start:stop:step`` as in Python, each part optional: ``::5`` is every
            fifth frame, ``10:20`` are frames 10 to 19.
        count: Number of frames of the file.

    Raises:
        OptionError: The text has another form.
    """
    if text == "all":
        return range(count)
    if text == "middle":
        return range(count // 2, count // 2 + 1)
    try:
        parts = [int(part) if part.strip() else None for part in text.split(":")]
        if not 2 <= len(parts) <= 3:
            raise ValueError
        return range(count)[slice(*parts)]
    except ValueError as error:
        raise OptionError(
            f"frames '{text}' is not a choice of frames. Write all, middle, or a range start:stop:step, for instance "
            "::5 for every fifth frame."
        ) from error


_NO_FACTS = FileFacts()
_REMEMBERED = 1000  # suffixes; names such as x.123.png have a new one each


class Readers:
    """The readers of a run, as one: each file goes to the reader of its format.

    Args:
        readers: In the order of preference.
        first: How many of them the user named: those come before a reader that recognises a file by its content.
        unusable: Why an installed reader cannot be used, by each of its suffixes; an empty one stands for those that
            are not known.

    Attributes:
        suffixes: All suffixes, in lower case.
    """

    def __init__(self, readers: Iterable[Reader], first: int = 0, unusable: Mapping[str, str] | None = None) -> None:
        self._readers = tuple(readers)
        self._first = first
        self._unusable = dict(unusable or {})
        self._found: dict[str, Reader | None] = {}
        self._by_suffix: dict[str, tuple[Reader, ...]] = {}
        self._lock = threading.Lock()
        every = [suffix for reader in self._readers for suffix in reader.suffixes]
        self.suffixes = frozenset(every)
        alone = {end for end in every if sum(each.endswith(end) for each in every) == 1}
        self._only = {end: reader for reader in self._readers for end in reader.suffixes & alone}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Readers) and self._described() == other._described()

    def __hash__(self) -> int:
        return hash(tuple(kind for kind, _ in self._described()[0]))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the readers, not what was found so far."""
        return Readers, (self._readers, self._first, self._unusable)

    def _described(self) -> tuple[list[tuple[type[Reader], Any]], int]:
        return [(type(reader), reader.config) for reader in self._readers], self._first

    def reader_of(self, path: str | Path) -> Reader | None:
        """Return the reader of a file; ``None`` if no reader knows it.

        The suffix decides. If it is unknown, or if several readers have it, the content decides.

        Raises:
            PluginError: Only a reader that cannot be used has the suffix.
        """
        text = path if isinstance(path, str) else os.fspath(path)
        point = text.rfind(".")
        if point > 0 and text[point - 1] != os.sep and (only := self._only.get(text[point:])):
            return only
        name = text[text.rfind(os.sep) + 1 :].lower()
        able = self._able_to_read(name)
        if len(able) == 1:
            return able[0]
        if not able and (why := next((w for end, w in self._unusable.items() if end and name.endswith(end)), None)):
            raise PluginError(f"{path} cannot be read. {why} Correct or remove the package of this reader.")
        named = [reader for reader in self._readers[: self._first] if reader in able]
        return named[0] if named else self._by_content(text, able)

    def _able_to_read(self, name: str) -> tuple[Reader, ...]:
        """Return the readers that have the suffix of a name in lower case; remembered, because it is asked often."""
        first, *rest = name.rsplit(".", 2)
        last = rest[-1] if rest and (first or len(rest) > 1) else ""  # a name that starts with a point has no suffix
        key = f"{rest[0]}.{last}" if first and len(rest) > 1 else last
        if (known := self._by_suffix.get(key)) is not None:
            return known
        ends = {f".{key}", f".{last}"}
        able = tuple(reader for reader in self._readers if reader.suffixes & ends)
        if len(self._by_suffix) < _REMEMBERED:
            self._by_suffix[key] = able
        return able

    def _by_content(self, path: str, able: Sequence[Reader]) -> Reader | None:
        """Choose among the readers that have the suffix; if none has it, among all that recognise the content."""
        if path not in self._found:
            head = _head(path)
            knows = (each for each in able or self._readers if head and _ask(each, "recognises", Path(path), head))
            found = next(knows, able[0] if able else None)
            with self._lock:
                self._found[path] = found
        return self._found[path]

    def not_plain(self, names: Iterable[str]) -> list[str]:
        """Return the files that may have several frames or facts, judged by their suffix alone."""
        silent = {end: each.stacks for end, each in self._only.items() if type(each).facts is Reader.facts}
        plain = {end for end, stacks in silent.items() if stacks is not None and not end.endswith(stacks)}
        return [name for name in names if name[name.rfind(".") :] not in plain or "/." in f"/{name}"]

    def is_image(self, path: str | Path) -> bool:
        """Tell whether a reader knows this file."""
        return self.reader_of(path) is not None

    def frames(self, path: Path) -> Sequence[int]:
        """Return the numbers of the frames of a file to use, from 0; ``range(1)`` for a file with one image.

        Raises:
            DataError: The file cannot be read.
        """
        reader = self._of(path)
        return self._chosen(reader, path, _ask(reader, "frames", path))

    def ids(self, name: str, path: str | Path) -> list[str]:
        """Return the sample ids of a file: its name, or ``name#frame`` for each chosen frame of several.

        A file that cannot be read gets one id, so that the store can report it together with all others.
        """
        try:
            reader = self._of(path)
            if reader.stacks is not None and not os.fspath(path).lower().endswith(reader.stacks):
                return [name]
            file = Path(path)
            count: int = _ask(reader, "frames", file)
            return [f"{name}#{frame}" for frame in self._chosen(reader, file, count)] if count > 1 else [name]
        except DataError:
            return [name]

    @staticmethod
    def locate(folder: Path, name: str) -> tuple[Path, int]:
        """Return the file and the frame of a sample id below a folder."""
        whole, mark, frame = name.rpartition("#")
        if mark and frame.isdecimal() and not (folder / name).exists():
            return folder / whole, int(frame)
        return folder / name, 0

    def read(self, path: Path, frame: int = 0, short_side: int | None = None) -> np.ndarray:
        """Decode one frame, see :meth:`Reader.read`."""
        reader = self._of(path)
        try:
            pixels: np.ndarray = _ask(reader, "read", path, frame, short_side)
        except (AttributeError, ImportError, NameError, TypeError) as error:  # these are not caused by a file
            problem = f"it raised {type(error).__name__}: {error}"
            raise BreachError(type(reader), f"read() of '{path.name:.200}'", [problem]) from error
        return pixels

    def facts(self, path: Path) -> FileFacts:
        """Return what a file says about itself, with hashed identifiers and without the values that must agree.

        Raises:
            DataError: The file cannot be read.
        """
        return _hashed(_ask(self._of(path), "facts", path))

    def survey(self, files: Mapping[str, str | Path]) -> tuple[dict[str, FileFacts], list[str], list[str]]:
        """Read the facts of all files, and compare those that must agree.

        A file that cannot be read has no facts. The store reports it.

        Args:
            files: The files by the name that a message shall use. Texts are faster than ``Path`` if there are many.

        Returns:
            The facts by name, with hashed identifiers; the problems; the warnings; each a sentence.
        """
        facts: dict[str, FileFacts] = {}
        agreements: dict[tuple[str, str, str, str], dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
        remarks: dict[str, list[str]] = defaultdict(list)
        for name, path in files.items():
            try:
                reader = self._of(path)
                found = _NO_FACTS if type(reader).facts is Reader.facts else _ask(reader, "facts", Path(path))
            except DataError:
                found = _NO_FACTS
            facts[name] = found if found is _NO_FACTS else _hashed(found)
            for each in found.agree:
                agreements[each.what, each.within, each.of, each.remedy][each.value].append(name)
            for remark in found.remarks:
                remarks[remark].append(name)
        return facts, _disagreements(agreements), [f"{_some(names)}: {text}" for text, names in remarks.items()]

    def used_for(self, paths: Iterable[str | Path]) -> list[Reader]:
        """Return the readers of these files, each once, in the order of preference."""
        found = {id(reader) for path in paths if (reader := self.reader_of(path)) is not None}
        return [reader for reader in self._readers if id(reader) in found]

    @staticmethod
    def _chosen(reader: Reader, path: Path, count: int) -> Sequence[int]:
        from medssl.contracts.crossing.readers import chosen_problems  # noqa: PLC0415  (torch, which `medssl list` does not need)
        from medssl.contracts.crossing.values import require_no_problems  # noqa: PLC0415  (as above)

        chosen = reader.chosen(path)
        require_no_problems(reader, f"chosen() of '{path.name:.200}'", chosen_problems(chosen, count))
        return chosen

    def _of(self, path: str | Path) -> Reader:
        reader = self.reader_of(path)
        if reader is None:
            raise DataError(
                f"{path} cannot be read as an image, because no reader knows its format. Known suffixes: "
                f"{', '.join(sorted(self.suffixes))}. {self._unusable.get('', '')} `medssl list readers` shows the "
                "readers."
            )
        return reader


def _ask(reader: Reader, function: str, path: Path, *others: Any) -> Any:
    """Call a function of a reader, and check what it returns.

    Raises:
        BreachError: The contract does not allow it.
    """
    from medssl.contracts.crossing import datasets, readers, values  # noqa: PLC0415  (as above)

    answer = getattr(reader, function)(path, *others)
    checks: dict[str, Callable[[object], list[str]]] = {
        "recognises": partial(values.type_problems, hint=bool, words="True or False"),
        "frames": partial(values.type_problems, hint=PositiveInt, words="a number of frames, 1 or more"),
        "read": datasets.image_problems,
        "facts": readers.facts_problems,
    }
    values.require_no_problems(reader, f"{function}() of '{path.name:.200}'", checks[function](answer))
    return answer


def _head(path: str) -> bytes:
    """Return the first bytes of a regular file; nothing for a folder, a pipe or a file that cannot be opened."""
    try:
        if not os.path.isfile(path):  # noqa: PTH113
            return b""
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123
            return file.read(_HEAD)
    except OSError:
        return b""


def _hashed(facts: FileFacts) -> FileFacts:
    """Replace the identifiers by keyed hashes, and leave out the values that must agree."""
    if not (facts.group or facts.site or facts.agree):
        return facts
    return FileFacts(
        group=facts.group and private_id(facts.group_kind or "group", facts.group),
        group_kind=facts.group_kind,
        site=facts.site and private_id(facts.site_kind or "site", facts.site),
        site_kind=facts.site_kind,
        values=facts.values,
        remarks=facts.remarks,
    )


def _disagreements(agreements: Mapping[tuple[str, str, str, str], Mapping[str, Sequence[str]]]) -> list[str]:
    """Return one sentence for each kind of value that differs where it must not."""
    wrong: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for (what, within, _, remedy), values in agreements.items():
        if len(values) > 1:
            wrong[what, within, remedy].append(" and ".join(sorted(names)[0] for names in values.values()))
    return [
        f"files of one {within} differ in the {what}, {len(pairs)} {within}{'s' if len(pairs) > 1 else ''}: "
        f"{_listed(pairs)}. {remedy}"
        for (what, within, remedy), pairs in wrong.items()
    ]


def _some(names: Sequence[str]) -> str:
    return f"{len(names)} file{'s' if len(names) > 1 else ''} ({_listed(names)})"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
