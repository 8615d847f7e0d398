"""Options that choose rows and classes, and patterns on the path; they are the same for folders and tables."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from medssl.contracts import Classes, Findings, Part, PositiveInt, Target, Value
from medssl.errors import DataError, OptionError, counted, did_you_mean, shorten
from medssl_datasets.shared.groups import match_pattern, path_pattern
from medssl_datasets.shared.words import folded, part_of

__all__ = ["Choosing", "against_rest", "choose_classes", "choose_findings", "part_of_list", "parts_of_lists", "renames"]

_ARROW = re.compile(r"\s*(?:->|=>|\u2192)\s*")


@dataclass(frozen=True, kw_only=True)
class Choosing:
    r"""Options.

    Attributes:
        rename: Classes or findings under another name, ``old -> new``; several are merged with ``a|b -> new``.
        leave_out: Classes whose images are not used, or findings that are not asked for.
        least: Classes or findings with fewer images than this are left out.
        against_rest: One class or finding that is to be told from all others.
        label_pattern: Regular expression that marks the label in an image's path; it replaces other labels.
        site_pattern: Regular expression that marks the site (hospital, scanner) in an image's path.
        part_lists: Text files with one image a line; the file's name says which part it lists
            (``train_val_list.txt``, ``test_list.txt``).
        augmentation: Name of the augmentation recipe.
    """

    rename: tuple[str, ...] = ()
    leave_out: tuple[str, ...] = ()
    least: PositiveInt = 1
    against_rest: str | None = None
    label_pattern: str | None = None
    site_pattern: str | None = None
    part_lists: tuple[Path, ...] = ()
    augmentation: str = "natural"

    def __post_init__(self) -> None:
        renames(self.rename)
        path_pattern("label_pattern", self.label_pattern)
        path_pattern("site_pattern", self.site_pattern)
        for file in self.part_lists:
            _require_part(file)

    def by_path(self, option: str, images: Sequence[str]) -> dict[str, str]:
        """Map images to what a pattern marks in their path; empty if the option is not set.

        Args:
            option: ``label_pattern`` or ``site_pattern``.
            images: The paths.

        Raises:
            DataError: The pattern matches no image.
        """
        pattern = path_pattern(option, getattr(self, option))
        return {} if pattern is None else match_pattern(option, pattern, images)


def renames(texts: Iterable[str]) -> dict[str, str]:
    """Read ``old -> new`` and ``a|b -> new``.

    Raises:
        ValueError: A text has another form, or a name is renamed twice.
    """
    found: dict[str, str] = {}
    for text in texts:
        old, *new = _ARROW.split(text.strip())
        if len(new) != 1 or not old or not new[0]:
            raise ValueError(f"rename: '{text}' must have the form 'old -> new', or 'a|b -> new' to merge two")
        for name in (name.strip() for name in old.split("|")):
            if name in found:
                raise ValueError(f"rename: '{name}' is renamed twice")
            found[name] = new[0]
    return found


def _known(option: str, names: Iterable[str], known: Sequence[str], what: str) -> dict[str, str]:
    """Map names that the user gives to those that occur, in any spelling.

    Raises:
        OptionError: A name does not occur.
    """
    by_fold = {folded(name): name for name in reversed(known)}
    found = {}
    for name in names:
        if name not in known and folded(name) not in by_fold:
            raise OptionError(
                f"dataset.{option} names '{name}', which is not a {what}.{did_you_mean(name, known)} The names are "
                f"{shorten(known, 20)}. Correct --set dataset.{option}=..."
            )
        found[name] = name if name in known else by_fold[folded(name)]
    return found


def choose_classes(
    labels: Sequence[str | None], options: Choosing, what: str = "class"
) -> tuple[list[str | None], list[bool], list[str]]:
    """Rename, merge and leave out classes.

    Args:
        labels: Class of each image; ``None``: unknown.
        options: The options.
        what: Word for a class.

    Returns:
        The labels, whether each image is used, and sentences about what was left out.

    Raises:
        OptionError: An option names a class that does not occur.
    """
    known = sorted({label for label in labels if label is not None})
    new = renames(options.rename)
    new = {name: new[given] for given, name in _known("rename", new, known, what).items()}
    renamed = [None if label is None else new.get(label, label) for label in labels]
    known = sorted({label for label in renamed if label is not None})
    left = set(_known("leave_out", options.leave_out, known, what).values())
    counts = Counter(label for label in renamed if label is not None)
    rare = {label for label, images in counts.items() if images < options.least} - left
    used = [label is None or label not in left | rare for label in renamed]
    said = []
    if left or rare:
        names = [f"{name} ({counts[name]})" for name in sorted(left | rare)]
        images = len(used) - sum(used)
        said.append(f"{counted(images, 'image')} left out with the {what}: {shorten(names)}")
    if options.against_rest is not None:
        one = next(iter(_known("against_rest", [options.against_rest], known, what).values()))
        renamed = [label if label in (None, one) else f"not {one}" for label in renamed]
    return renamed, used, said


def against_rest(options: Choosing) -> tuple[str, ...]:
    """Return the classes if one is told from the rest, else nothing."""
    return () if options.against_rest is None else (f"not {options.against_rest}", options.against_rest)


def choose_findings(
    target: Findings, values: Sequence[Value | None], options: Choosing
) -> tuple[Target, list[Value | None], list[str]]:
    """Rename, merge and leave out findings; a merged finding is present if any of its findings is.

    Returns:
        The target, the values, and sentences about what was left out.

    Raises:
        OptionError: An option names a finding that does not occur.
        DataError: No finding is left.
    """
    rows: list[tuple[int | None, ...] | None] = [value if isinstance(value, tuple) else None for value in values]
    new = renames(options.rename)
    new = {name: new[given] for given, name in _known("rename", new, target.names, "finding").items()}
    names = list(dict.fromkeys(new.get(name, name) for name in target.names))
    sources = [[i for i, old in enumerate(target.names) if new.get(old, old) == name] for name in names]
    if new:
        rows = [None if row is None else tuple(_any([row[i] for i in of]) for of in sources) for row in rows]
    left = set(_known("leave_out", options.leave_out, names, "finding").values())
    counts = {name: sum(row is not None and row[i] == 1 for row in rows) for i, name in enumerate(names)}
    left |= {name for name, count in counts.items() if count < options.least} if options.least > 1 else set()
    kept = [i for i, name in enumerate(names) if name not in left]
    if not kept:
        raise DataError(
            f"no finding is left: all {len(names)} are left out. Change dataset.leave_out or dataset.least."
        )
    said = (
        [f"the findings {shorten([f'{name} ({counts[name]})' for name in sorted(left)])} are left out"] if left else []
    )
    if options.against_rest is not None:
        one = next(iter(_known("against_rest", [options.against_rest], names, "finding").values()))
        at = names.index(one)
        return Classes((f"not {one}", one)), [None if row is None else row[at] for row in rows], said
    if left:
        rows = [None if row is None else tuple(row[i] for i in kept) for row in rows]
        rows = [row if row is not None and any(each is not None for each in row) else None for row in rows]
    return Findings(tuple(names[i] for i in kept)), list(rows), said


def _any(cells: Sequence[int | None]) -> int | None:
    if 1 in cells:
        return 1
    return None if None in cells else 0


def part_of_list(file: Path) -> Part | None:
    """Return the part that the name of a list says (``train_val_list.txt``: train); ``None`` if it says none."""
    words = [
        word
        for word in re.split(r"[^a-z]+", file.stem.lower())
        if word not in ("list", "lists", "names", "files", "ids")
    ]
    return part_of(" ".join(words))


def _require_part(file: Path) -> Part:
    part = part_of_list(file)
    if part is None:
        raise ValueError(
            f"part_lists: the name of {file} does not say which part it lists. Name it like train_list.txt or test.txt"
        )
    return part


def parts_of_lists(files: Iterable[Path], root: Path, images: Sequence[str]) -> dict[str, Part]:
    """Map images to the part whose list names them, by path, by name or by name without suffix.

    Raises:
        DataError: A list cannot be read, names no image of the data, or names an image of another list.
    """
    files, by_name = tuple(files), dict[str, list[str]]()
    for image in images if files else ():
        name = image.rpartition("/")[2]
        for key in {image, name, name.rpartition(".")[0]}:
            by_name.setdefault(key, []).append(image)
    found: dict[str, Part] = {}
    for file in files:
        place = file if file.is_file() else root / file
        try:
            names = [line.strip().replace("\\", "/") for line in place.read_text(encoding="utf-8-sig").splitlines()]
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(
                f"the list {file} cannot be read: {error}. It must be a text file with one image a line, in the "
                f"current folder or in {root}."
            ) from error
        listed = [
            image for name in names if name for image in by_name.get(name, by_name.get(name.rpartition("/")[2], []))
        ]
        if not listed:
            raise DataError(
                f"the list {place} names none of the {len(images)} images. It has {shorten(filter(None, names), 3)}; "
                f"the images are {shorten(images, 3)}. Give another list with --set dataset.part_lists=[...]"
            )
        part = _require_part(file)
        if twice := [image for image in listed if found.get(image, part) != part]:
            raise DataError(f"{len(twice)} images are in two lists of parts: {shorten(twice)}. Remove them from one.")
        found |= dict.fromkeys(listed, part)
    return found
