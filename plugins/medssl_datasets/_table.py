"""Reads a table from a user: any usual delimiter, with or without a byte order mark."""

from __future__ import annotations

import csv
import io
import posixpath
from dataclasses import dataclass
from pathlib import Path

from medssl.errors import DataError, did_you_mean

__all__ = ["Table", "find_table", "normal_path", "read_table"]

_DELIMITERS = (",", ";", "\t", "|")


@dataclass(frozen=True)
class Table:
    """A table of texts.

    Attributes:
        file: The file of the table.
        header: Column names.
        rows: One list of cells per row, without surrounding spaces; rows without any text are left out.
        lines: Line in the file at which each row ends, for messages.
    """

    file: Path
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    lines: tuple[int, ...]

    def column(self, name: str, remedy: str) -> list[str]:
        """Return one column, with empty texts if a row is too short.

        Args:
            name: Name of the column.
            remedy: Advice if the column does not exist, one sentence.

        Raises:
            DataError: The column does not exist.
        """
        if name not in self.header:
            raise DataError(
                f"{self.file} has no column '{name}'.{did_you_mean(name, self.header)} Its columns: "
                f"{', '.join(self.header)}. {remedy}"
            )
        if self.header.count(name) > 1:
            raise DataError(f"{self.file} has several columns named '{name}'. Rename all but one.")
        place = self.header.index(name)
        return [row[place] if place < len(row) else "" for row in self.rows]

    def optional(self, chosen: str | None, default: str, remedy: str) -> list[str]:
        """Return the chosen column, else the column with the default name if it exists, else empty texts."""
        if chosen is None and default not in self.header:
            return [""] * len(self.rows)
        return self.column(chosen or default, remedy)


def find_table(file: Path, root: Path) -> Path:
    """Look for a table in the current folder, then in ``root``.

    Raises:
        DataError: It is in neither folder.
    """
    for place in (file, root / file):
        if place.is_file():
            return place
    raise DataError(f"the table {file} is neither in the current folder nor in {root}. Check its name and folder.")


def read_table(file: Path) -> Table:
    """Read a table with a header; the delimiter is the most frequent of comma, semicolon, tab and bar in it.

    Raises:
        DataError: It cannot be opened, is not UTF-8 text, or has no rows.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{file} is not text in UTF-8: {error}. Save it as CSV in UTF-8.") from error
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}. Check the path and its permissions.") from error
    first = text.partition("\n")[0]
    delimiter = max(_DELIMITERS, key=first.count)
    rows, lines = _parse(text, delimiter, file)
    if len(rows) < 2:
        raise DataError(f"{file} has no rows below its header. List one image in each row.")
    return Table(file, rows[0], tuple(rows[1:]), tuple(lines[1:]))


def _parse(text: str, delimiter: str, file: Path) -> tuple[list[tuple[str, ...]], list[int]]:
    reader = csv.reader(io.StringIO(text), delimiter=delimiter)
    rows, lines = [], []
    try:
        for row in reader:
            cells = tuple(cell.strip() for cell in row)
            if any(cells):
                rows.append(cells)
                lines.append(reader.line_num)
    except csv.Error as error:
        raise DataError(f"{file}, line {reader.line_num}: {error}. Save it as CSV in UTF-8.") from error
    return rows, lines


def normal_path(text: str, prefix: str = "") -> str:
    """Write a path from a table with forward slashes, without ``.`` and ``..`` where possible, below ``prefix``."""
    return posixpath.normpath(posixpath.join(prefix.replace("\\", "/"), text.replace("\\", "/")))
