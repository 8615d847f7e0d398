"""Puts the rows of a table together: one image per row, several rows of one image, and problems found at once."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from medssl.contracts import Findings, Part, Target, Value
from medssl.errors import DataError, counted, shorten
from medssl_datasets.folders.files import Row
from medssl_datasets.folders.tree import read_tree
from medssl_datasets.shared.words import is_missing, missing_in, number, part_of
from medssl_datasets.tables.conditions import parse_condition
from medssl_datasets.tables.reading import Table

__all__ = [
    "SPLITS",
    "Problems",
    "SeveralRows",
    "chosen_rows",
    "ids",
    "merged",
    "names_patients",
    "parts_of_column",
    "says_only_the_label",
    "unlisted",
    "unnamed_columns",
]

T = TypeVar("T")
_MANY = 6  # images of a group on average: a column with one group per class and this many images names no patients
SeveralRows = Literal["agree", "any"]

_PEOPLE = frozenset(
    {"patient", "subject", "person", "participant", "individual", "case", "lesion", "slide", "study", "exam"}
)
_IDS = frozenset({"id", "ids", "no", "nr", "number", "num", "name", "key", "code", "p", "anon", "uid"})
_SHORT = frozenset({"pid", "mrn", "ptid", "rid", "empi", "patid", "subj"})
#: Names, in lower case without signs, of columns that mostly hold parts.
SPLITS = frozenset({"split", "part", "set", "subset", "fold", "partition", "phase", "usage", "datasplit", "traintest"})


class Problems:
    """Collects the problems of a table, so that a user sees all of them at once."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._found: list[str] = []

    def keep(self, step: Callable[[], T], default: T) -> T:
        """Return the result of a step, or the default if it finds a problem."""
        try:
            return step()
        except DataError as error:
            self._found.append(str(error))
            return default

    def add(self, text: str) -> None:
        """Add a problem."""
        self._found.append(text)

    def report(self) -> None:
        """Raise all problems.

        Raises:
            DataError: There are some.
        """
        found = list(dict.fromkeys(self._found))
        if len(found) == 1:
            raise DataError(found[0])
        if found:
            raise DataError("\n  ".join([f"csv: {self._file} has {len(found)} problems.", *found]))


def chosen_rows(table: Table, conditions: Sequence[str]) -> tuple[Table, list[str]]:
    """Return the rows for which all conditions hold, and what was left out.

    Raises:
        DataError: A column does not exist, or no row is left.
    """
    kept = [True] * len(table.rows)
    for condition in map(parse_condition, conditions):
        cells = table.column(condition.column, "Correct the condition in dataset.where.")
        holds = [condition.holds(cell) for cell in cells]
        if not any(holds):
            raise DataError(
                f"csv: the condition '{condition}' holds for no row of {table.file}. The column has "
                f"{shorten(sorted(set(cells) - {''}))}. Correct dataset.where."
            )
        kept = [one and other for one, other in zip(kept, holds, strict=True)]
    if all(kept):
        return table, []
    if not any(kept):
        raise DataError(
            f"csv: the conditions of dataset.where hold together for no row of {table.file}. Leave one out."
        )
    left = len(kept) - sum(kept)
    return table.only(kept), [f"{left} of {len(kept)} rows are left out by {shorten(conditions)}"]


def ids(cells: Sequence[str]) -> list[str | None]:
    """Read patients or sites: ``None`` where missing; ``12``, ``12.0`` and ``012`` are one if all are numbers."""
    missing = missing_in(cells)
    known = set(cells) - missing
    if all(map(number, known)):
        return list(map({cell: number(cell) for cell in known}.get, cells))
    return [None if cell in missing else cell for cell in cells] if missing else list(cells)


def names_patients(column: str) -> bool:
    """Whether a column is named like one of patients, slides or lesions: ``Patient ID``, ``lesion_id``."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", column).lower()
    words = [word for word in re.split(r"[^a-z]+", spaced) if word]
    known = [word for word in words if word.removesuffix("id") in _PEOPLE or word in _SHORT]
    return bool(known) and all(word in known or word in _IDS for word in words)


def says_only_the_label(groups: Sequence[str | None], values: Sequence[Value | None]) -> bool:
    """Whether a column of groups is another word for the label (study arm, diagnosis), so that it names no patients."""
    pairs = {
        (group, value) for group, value in zip(groups, values, strict=True) if group is not None and value is not None
    }
    names, labels = {group for group, _ in pairs}, {value for _, value in pairs}
    known = sum(group is not None for group in groups)
    return len(pairs) == len(names) == len(labels) > 1 and known >= _MANY * len(names)


def parts_of_column(
    table: Table, cells: Sequence[str], column: str, *, named: bool
) -> tuple[list[Part | None], list[str]]:
    """Read a column of parts; one that no option names and that holds other words is not used.

    Raises:
        DataError: The user named the column, and it holds other words.
    """
    known = {cell: None if is_missing(cell) else part_of(cell) for cell in set(cells)}
    unknown = sorted(cell for cell, part in known.items() if part is None and not is_missing(cell))
    if unknown and named:
        raise DataError(
            f"csv: {table.file} contains unknown parts: {shorten(unknown)}. A part must be train, val, test or empty. "
            "Correct them, or give another column with --set dataset.part_column=... (none: no column)"
        )
    if unknown:
        return [None] * len(cells), [
            f"the column '{column}' holds {shorten(unknown, 3)}, which are no parts of a split, and is not used"
        ]
    return [known[cell] for cell in cells], []


def merged(listed: Iterable[Row], target: Target, how: SeveralRows) -> tuple[list[Row], list[str]]:
    """Merge the rows of one image where they agree.

    Args:
        listed: One for each row of the table.
        target: Their target.
        how: ``any``: a finding of any row is present.

    Raises:
        DataError: Rows of one image disagree.
    """
    listed = list(listed)
    if len({row.file for row in listed}) == len(listed):
        return listed, []
    rows: dict[str, list[Row]] = defaultdict(list)
    for row in listed:
        rows[row.file].append(row)
    found, wrong, merged_rows = [], [], 0
    for name, each in rows.items():
        if len(each) == 1:
            found.append(each[0])
            continue
        merged_rows += len(each) - 1
        values = [row.y for row in each if row.y is not None]
        if how == "any" and isinstance(target, Findings):
            values = [_any_of(values)] if values else []
        fields: dict[str, Any] = {"y": _agreed(values)} | {
            field: _agreed([v for row in each if (v := getattr(row, field)) is not None])
            for field in ("group", "site", "part")
        }
        if clash := [field for field, value in fields.items() if value is _CLASH]:
            words = {"y": "label", "group": "group", "site": "site", "part": "part"}
            shown = [target.text(value) for value in values][:3] if clash[0] == "y" else []
            wrong.append(f"{name} ({words[clash[0]]}{': ' + ', '.join(dict.fromkeys(shown)) if shown else ''})")
        else:
            facts = {k: v for k, v in each[0].facts.items() if all(s.facts.get(k) == v for s in each)}
            found.append(each[0]._replace(**fields, facts=facts))
    if wrong:
        union = (
            "; for findings, --set dataset.several_rows=any puts them together" if isinstance(target, Findings) else ""
        )
        raise DataError(
            f"csv: {len(wrong)} images have several rows that disagree: {shorten(wrong)}. Keep one row of each{union}."
        )
    return found, [
        f"merged with another row of the same image, because they agree: {counted(merged_rows, 'row')}"
    ] if merged_rows else []


_CLASH = object()


def _agreed(values: Sequence[Any]) -> Any:
    """Return the only value, ``None`` if there is none, or ``_CLASH``."""
    different = list(dict.fromkeys(values))
    if len(different) > 1:
        return _CLASH
    return different[0] if different else None


def _any_of(values: Sequence[Value]) -> Value:
    rows = [value for value in values if isinstance(value, tuple)]
    return tuple(1 if 1 in cells else None if None in cells else 0 for cells in zip(*rows, strict=True))


def unlisted(root: Path, listed: Iterable[str], is_image: Callable[[str], bool]) -> list[str]:
    """Describe the images in the folders of the listed ones that are in no row."""
    known = set(listed)
    folders = {name.rpartition("/")[0] for name in known}
    found = []
    for folder in sorted(folders):
        above = f"{folder}/" if folder else ""
        try:
            with os.scandir(root / folder) as entries:
                others = [
                    (path, entry)
                    for entry in entries
                    if (path := above + entry.name) not in known and not entry.name.startswith(".")
                ]
                found += [path for path, entry in others if is_image(entry.path)]
        except OSError:
            continue
    if not found:
        return []
    masks = set(read_tree(root, is_image).masks) if len(found) < len(known) * 2 else set()
    found = sorted(path for path in found if path not in masks)
    return [f"not used, because in no row: {counted(len(found), 'image')} beside the listed ones: {shorten(found)}"]


def unnamed_columns(table: Table, options: Any) -> list[str]:
    """Name columns that look like patients or parts and that no option names.

    Args:
        table: The table.
        options: The options, see :class:`medssl_datasets.tables.rows.TableOptions`.
    """
    used = {
        "group_column": options.group_column or options.group_pattern or table.name_of("group"),
        "part_column": options.part_column or options.part_lists or table.name_of("part"),
    }
    said = []
    for option, is_named, what in (
        ("group_column", names_patients, "patients. Images of one patient may then be on both sides of the split"),
        ("part_column", _names_parts, "parts of a split"),
    ):
        if used[option]:
            continue
        for column in table.header:
            if not is_named(column):
                continue
            cells = [row[at] for row in table.rows if (at := table.header.index(column)) < len(row)]
            fits = 1 < len(set(cells)) < len(cells)
            if fits and (option == "group_column" or any(map(part_of, set(cells)))):
                said.append(
                    f"the column '{column}' is not used, but looks like {what}. Use it with --set "
                    f"dataset.{option}={_quoted(column)}, or refuse it with --set dataset.{option}=none"
                )
                break
    return said


def _names_parts(column: str) -> bool:
    return "".join(letter for letter in column.lower() if letter.isalnum()) in SPLITS


def _quoted(column: str) -> str:
    return f"'{column}'" if " " in column else column
