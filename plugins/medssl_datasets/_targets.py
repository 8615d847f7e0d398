"""Converts the cells of a table to the values of a target."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Literal, TypeVar

from medssl.contracts import Classes, Findings, Grades, Quantity, Target, Value
from medssl.errors import DataError, did_you_mean
from medssl_datasets._files import shorten
from medssl_datasets._table import Table

__all__ = ["Meaning", "TargetKind", "in_order", "names_in_order", "read_columns", "read_joined", "read_quantity"]

V = TypeVar("V")
TargetKind = Literal["classes", "grades", "findings", "quantity"]
Meaning = Literal["unknown", "absent", "present"]

_VALUE: dict[Meaning, int | None] = {"unknown": None, "absent": 0, "present": 1}
_PRESENT = frozenset({"1", "1.0", "true", "yes", "y", "present"})
_ABSENT = frozenset({"0", "0.0", "false", "no", "n", "absent"})
_BLANK = frozenset({"", "nan", "na", "n/a", "none", "null", "?"})
_UNCERTAIN = frozenset({"-1", "-1.0"})  # CheXpert (Irvin et al. 2019, arXiv 1901.07031), section 2
_NOTHING = frozenset({"no finding", "no findings", "normal"})  # as Findings.parse


def in_order(names: Iterable[str]) -> list[str]:
    """Sort whole numbers by value, else sort as text."""
    names = set(names)
    numbers = all(name.removeprefix("-").isdecimal() for name in names)
    return sorted(names, key=lambda name: (int(name), name) if numbers else (0, name))


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
            f"{did_you_mean(strangers[0], given)} The names are {', '.join(given)}. Add the label, or correct it."
        )
    return tuple(given)


def read_columns(
    table: Table, columns: Sequence[str], blank: Meaning, uncertain: Meaning
) -> tuple[Target, list[Value | None]]:
    """Read one column for each finding.

    Args:
        table: The table.
        columns: Names of the columns, which are also the names of the findings.
        blank: The meaning of an empty cell.
        uncertain: The meaning of ``-1``.

    Raises:
        DataError: A column does not exist, or a cell has another text.
    """

    def read(cell: str) -> int | None:
        text = cell.lower()
        if text in _PRESENT or text in _ABSENT:
            return int(text in _PRESENT)
        if text in _BLANK:
            return _VALUE[blank]
        if text in _UNCERTAIN:
            return _VALUE[uncertain]
        raise ValueError(f"'{cell}' is not 1, 0, -1, yes, no or empty")

    remedy = "Give the right columns with --set dataset.label_columns=[...]"
    found = [_each(table, column, read, table.column(column, remedy)) for column in columns]
    rows = list(zip(*found, strict=True))
    return Findings(tuple(columns)), [row if any(value is not None for value in row) else None for row in rows]


def read_joined(
    table: Table, column: str, texts: Sequence[str], kind: TargetKind, names: Sequence[str]
) -> tuple[Target, list[Value | None]]:
    """Read one column of classes or grades, or of findings joined by a bar.

    Args:
        table: The table, for messages.
        column: Name of the column, for messages.
        texts: Its cells.
        kind: Kind of the target.
        names: Names of the classes in order; empty: the names that were found, sorted.

    Raises:
        DataError: A cell has a name that is not in ``names``.
    """
    where = f"csv: the column '{column}' of {table.file}"
    if kind == "findings":
        words = {word.strip() for text in texts if text.lower() not in _BLANK for word in text.split("|")}
        findings = {word for word in words if word and word.lower() not in _NOTHING}
        if not findings:
            raise DataError(f"{where} has no finding. Give another column with --set dataset.label_column=...")
        target: Target = Findings(names_in_order(names, findings, where))
    else:
        build = Grades if kind == "grades" else Classes
        target = build(names_in_order(names, (text for text in texts if text), where))
    return target, _each(table, column, target.parse, texts)


def read_quantity(table: Table, column: str, texts: Sequence[str], unit: str) -> tuple[Target, list[Value | None]]:
    """Read a column of numbers; a split balances fifths of them.

    Raises:
        DataError: A cell is not a number.
    """
    target = Quantity(unit)
    values: list[Value | None] = _each(table, column, target.parse, texts)
    return target.with_edges(values), values


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
