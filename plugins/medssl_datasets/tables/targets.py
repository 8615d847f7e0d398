"""Converts the cells of a table to the values of a target."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from medssl.contracts import Classes, Findings, Grades, Quantity, Target, Unlabelled, Value
from medssl.errors import DataError, counted, did_you_mean, shorten
from medssl_datasets.shared.choosing import Choosing, against_rest, choose_classes, choose_findings
from medssl_datasets.shared.words import MISSING, is_missing, number, one_spelling
from medssl_datasets.tables.reading import Table

__all__ = [
    "Labels",
    "Meaning",
    "TargetKind",
    "in_order",
    "names_in_order",
    "no_labels",
    "read_classes",
    "read_columns",
    "read_joined",
    "read_quantity",
]

V = TypeVar("V")
TargetKind = Literal["classes", "grades", "findings", "quantity"]
Meaning = Literal["unknown", "absent", "present"]

_VALUE: dict[Meaning, int | None] = {"unknown": None, "absent": 0, "present": 1}
_PRESENT = frozenset({"1", "1.0", "true", "t", "yes", "y", "present", "positive", "pos", "+"})
_ABSENT = frozenset({"0", "0.0", "false", "f", "no", "n", "absent", "negative", "neg"})
_UNCERTAIN = frozenset({"-1", "-1.0"})  # CheXpert (Irvin et al. 2019, arXiv 1901.07031), section 2
_COMMA = re.compile(r"[+-]?\d+,\d+")
_NOTHING = frozenset({"no finding", "no findings", "normal"})  # as Findings.parse


def in_order(names: Iterable[str]) -> list[str]:
    """Sort whole numbers by value, else sort as text."""
    names = set(names)
    numbers = {name: number(name) for name in names}
    whole = all(value is not None for value in numbers.values())
    return sorted(names, key=lambda name: (int(numbers[name] or 0), name) if whole else (0, name))


def names_in_order(given: Sequence[str], found: Iterable[str], where: str) -> tuple[str, ...]:
    """Return the user's names, or the sorted names that were found.

    Raises:
        DataError: A name that was found is not in the user's list.
    """
    if not given:
        return tuple(in_order(found))
    if strangers := in_order(set(found) - set(given)):
        raise DataError(
            f"{where} has the label '{strangers[0]}', which is not in dataset.names."
            f"{did_you_mean(strangers[0], given)} The names are {shorten(given, 20)}. Add the label, or correct it."
        )
    return tuple(given)


@dataclass(frozen=True)
class Labels:
    """The labels of N images.

    Attributes:
        target: The target.
        values: Its value for each image; ``None``: unknown.
        used: Whether each image is used at all.
        said: Sentences for the user about how the labels were read.
    """

    target: Target
    values: list[Value | None]
    used: list[bool]
    said: list[str]


def no_labels(count: int) -> Labels:
    """Return the labels of images without labels."""
    return Labels(Unlabelled(), [None] * count, [True] * count, [])


def read_columns(table: Table, columns: Sequence[str], blank: Meaning, uncertain: Meaning, options: Choosing) -> Labels:
    """Read one column for each finding.

    Args:
        table: The table.
        columns: Names of the columns, which are also the names of the findings.
        blank: The meaning of an empty cell.
        uncertain: The meaning of ``-1``.
        options: The findings that are asked for.

    Raises:
        DataError: A column does not exist, or a cell has another text.
    """

    def read(cell: str) -> int | None:
        text = cell.lower()
        if text in _PRESENT or text in _ABSENT:
            return int(text in _PRESENT)
        if text in MISSING:
            return _VALUE[blank]
        if text in _UNCERTAIN:
            return _VALUE[uncertain]
        raise ValueError(f"'{cell}' is not 1, 0, -1, yes, no or empty")

    remedy = "Give the right columns with --set dataset.label_columns=[...]"
    found = [_each(table, column, read, table.column(column, remedy)) for column in columns]
    rows = [row if any(value is not None for value in row) else None for row in zip(*found, strict=True)]
    target, values, said = choose_findings(Findings(tuple(columns)), rows, options)
    return Labels(target, values, [True] * len(values), said)


def read_joined(table: Table, column: str, texts: Sequence[str], names: Sequence[str], options: Choosing) -> Labels:
    """Read one column of findings joined by a bar, or by semicolons if no cell has a bar.

    Args:
        table: The table, for messages.
        column: Name of the column, for messages.
        texts: Its cells.
        names: Names of the findings in order; empty: the names that were found, sorted.
        options: The findings that are asked for.

    Raises:
        DataError: A cell has a name that is not in ``names``, or there is no finding.
    """
    where = f"csv: the column '{column}' of {table.file}"
    between = "|" if any("|" in text for text in texts) else ";"
    lists = [
        None if is_missing(text) else [word.strip() for word in text.split(between) if word.strip()] for text in texts
    ]
    chosen, several = one_spelling((word for words in lists if words for word in words), names)
    found = {name for name in chosen.values() if name.lower() not in _NOTHING}
    if not found:
        raise DataError(f"{where} has no finding. Give another column with --set dataset.label_column=...")
    target = Findings(names_in_order(names, found, where))
    cells = ["" if words is None else "|".join(chosen[word] for word in words) for words in lists]
    kept, values, said = choose_findings(target, _each(table, column, target.parse, cells), options)
    return Labels(kept, values, [True] * len(values), [*_written(several, "finding"), *said])


def _written(several: Sequence[str], what: str) -> list[str]:
    if not several:
        return []
    return [f"labels that differ only in letter case, spaces or number format are one {what}: {shorten(several)}"]


def read_classes(
    where: str,
    texts: Sequence[str],
    options: Choosing,
    *,
    grades: bool,
    names: Sequence[str],
    uncertain: Meaning = "unknown",
    folders: bool = False,
) -> Labels:
    """Read one class or grade for each image.

    Args:
        where: Where the texts come from, for messages.
        texts: The labels.
        options: The classes that are asked for.
        grades: Whether the classes are ordered.
        names: Their names in order; empty: the names that were found, sorted.
        uncertain: The meaning of ``-1`` beside 0 and 1.
        folders: Whether the labels are names of folders: each is a name, and classes are sorted as text.

    Raises:
        DataError: A label is not in ``names``, or no image has a label.
        OptionError: An option names a class that does not occur.
    """
    missing = {text for text in set(texts) if is_missing(text) and text not in names and not (folders and text)}
    if "+" in texts:  # beside a plus, a minus is a result
        missing.discard("-")
    said = [
        f"read as missing: {counted(times, 'label')} '{word}'; if that is a class, give all of them with dataset.names"
        for word, times in sorted(Counter(text for text in texts if text in missing and text).items())
    ]
    chosen, several = one_spelling((text for text in texts if text not in missing), names)
    said += _written(several, "class")
    labels = [None if text in missing else chosen[text] for text in texts]
    if {"-1"} < set(chosen.values()) <= {"-1", "0", "1"} and not (names or folders):
        value = _VALUE[uncertain]
        said.append(f"{labels.count('-1')} labels -1 are read as {uncertain}, see dataset.uncertain")
        labels = [
            None if label == "-1" and value is None else str(value) if label == "-1" else label for label in labels
        ]
    labels, used, more = choose_classes(labels, options, "grade" if grades else "class")
    found = {label for label, use in zip(labels, used, strict=True) if use and label is not None}
    if not found:
        raise DataError(
            f"{where} has no label that is used. Give another source of labels, or leave out fewer classes."
        )
    order = against_rest(options) or names or (() if grades or not folders else sorted(found))
    target = (Grades if grades else Classes)(names_in_order(order, found, where))
    place = {name: at for at, name in enumerate(target.names)}
    values: list[Value | None] = [place.get(label) if label is not None else None for label in labels]
    return Labels(target, values, used, said + more)


def read_quantity(table: Table, column: str, texts: Sequence[str], unit: str) -> Labels:
    """Read a column of numbers, with a decimal point or comma; a split balances fifths of them.

    Raises:
        DataError: A cell is not a number.
    """
    target = Quantity(unit)
    cells = ["" if is_missing(text) else text.replace(",", ".") if _COMMA.fullmatch(text) else text for text in texts]
    values: list[Value | None] = _each(table, column, target.parse, cells)
    return Labels(target.with_edges(values), values, [True] * len(values), [])


def _each(table: Table, column: str, read: Callable[[str], V], texts: Sequence[str]) -> list[V]:
    """Read all cells; one error lists all that cannot be read."""
    values, wrong = [], []
    for text, line in zip(texts, table.lines, strict=True):
        try:
            values.append(read(text))
        except ValueError as error:
            wrong.append(f"line {line}: {error}")
    if wrong:
        raise DataError(
            f"csv: {len(wrong)} cells in the column '{column}' of {table.file} cannot be read: {shorten(wrong, 3)}. "
            "Correct them, or give another column."
        )
    return values
