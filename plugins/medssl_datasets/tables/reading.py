"""Reads a table from a user: text with any usual delimiter and encoding, Excel, or Parquet."""

from __future__ import annotations

import csv
import io
import logging
import posixpath
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import compress, islice
from operator import itemgetter
from pathlib import Path

from medssl.errors import DataError, did_you_mean, shorten
from medssl.tools import TABLE_ROWS, read_table_file
from medssl_datasets.tables.workbooks import parquet_rows, workbook_rows

__all__ = ["PLAIN_PATH", "TABLE_SUFFIXES", "Table", "find_table", "normal_path", "read_table"]

log = logging.getLogger("medssl")

TABLE_SUFFIXES = (".csv", ".tsv", ".tab", ".xlsx", ".xlsm", ".parquet")
"""Suffixes of the files that :func:`read_table` is made for; others are read as text."""

PLAIN_PATH = re.compile(r"[^/\\.][^/\\]*(/[^/\\.][^/\\]*)*").fullmatch
"""Match a path that is written as it should be."""

_DELIMITERS = (",", ";", "\t", "|")
_ENOUGH = 2**31 - 1  # characters of a cell; the csv module's own limit is 131,072, less than a run-length mask has
_BINARY = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0", b"PAR1", b"\x1f\x8b")  # ZIP (and .xlsx), .xls, Parquet, gzip
_KEPT = 10_000  # different cells that are kept as one object each
_TITLES = 5  # lines above a header that are looked at


@dataclass(frozen=True)
class Table:
    """A table of texts.

    Attributes:
        file: The file of the table.
        header: Column names.
        rows: One list of cells per row, without surrounding spaces; rows without any text are left out.
        lines: Line in the file at which each row ends, for messages.
        delimiter: Delimiter of a text file, else empty.
    """

    file: Path
    header: tuple[str, ...]
    rows: Sequence[Sequence[str]]
    lines: Sequence[int]
    delimiter: str = ""

    @cached_property
    def _full(self) -> bool:
        """Whether every row has a cell for every column."""
        return not self.rows or min(map(len, self.rows)) >= len(self.header)

    def name_of(self, name: str) -> str | None:
        """Return the column of this name, in any letter case if that is clear; ``None`` if there is none."""
        if name in self.header:
            return name
        found = {column for column in self.header if column.lower() == name.strip().lower()}
        return found.pop() if len(found) == 1 else None

    def column(self, name: str, remedy: str) -> list[str]:
        """Return one column, with empty texts if a row is too short.

        Args:
            name: Name of the column.
            remedy: Advice if the column does not exist, one sentence.

        Raises:
            DataError: The column does not exist.
        """
        found = self.name_of(name)
        if found is None:
            raise DataError(
                f"{self.file} has no column '{name}'.{did_you_mean(name, self.header)} Its columns: "
                f"{shorten([column for column in self.header if column], 30)}. {remedy}"
            )
        if self.header.count(found) > 1:
            raise DataError(f"{self.file} has several columns named '{found}'. Rename all but one.")
        return self.at(self.header.index(found))

    def at(self, place: int) -> list[str]:
        """Return the column at a place, with empty texts if a row is too short."""
        if self._full:
            return list(map(itemgetter(place), self.rows))
        return [row[place] if place < len(row) else "" for row in self.rows]

    def optional(self, chosen: str | None, default: str, remedy: str) -> list[str]:
        """Return the chosen column, else the column with the default name if it exists, else empty texts.

        ``none`` or an empty text as the chosen name refuses the default column.
        """
        refused = chosen is not None and chosen.lower() in ("", "none") and chosen not in self.header
        if refused or (chosen is None and self.name_of(default) is None):
            return [""] * len(self.rows)
        return self.column(chosen or default, remedy)

    def only(self, kept: Sequence[bool]) -> Table:
        """Return the table with some of its rows."""
        if all(kept):
            return self
        return replace(self, rows=list(compress(self.rows, kept)), lines=list(compress(self.lines, kept)))


def find_table(file: Path, root: Path) -> Path:
    """Look for a table in the current folder, then in ``root``.

    Raises:
        DataError: It is in neither folder.
    """
    for place in (file, root / file):
        if place.is_file():
            return place
    raise DataError(f"the table {file} is neither in the current folder nor in {root}. Check its name and folder.")


def read_table(file: Path, sheet: str | None = None, *, keep: bool = False) -> Table:
    """Read a table with a header.

    A text file may be UTF-8 or UTF-16, with or without a byte order mark, or Windows-1252; its delimiter is the one of
    comma, semicolon, tab and bar that divides the header into most columns, or the one that a first line ``sep=;``
    names. Empty lines and a title above the header are skipped.

    Args:
        file: The table.
        sheet: Name of a workbook's sheet; ``None``: the first with rows.
        keep: Whether the next call for this file returns the same table, as long as its size and time stay the same.

    Raises:
        DataError: It cannot be opened or read, or has no rows.
    """
    try:
        state = file.stat()
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}. Check the path and its permissions.") from error
    key = str(file), sheet, state.st_size, state.st_mtime_ns
    found = _kept.pop(key, None) or _read(file, sheet)
    _kept.clear()
    if keep:
        _kept[key] = found
    return found


_kept: dict[tuple[str, str | None, int, int], Table] = {}


def _read(file: Path, sheet: str | None) -> Table:
    kind, delimiter = file.suffix.lower(), ""
    rows: Iterator[tuple[int, Sequence[str]]]
    if kind in (".xlsx", ".xlsm"):
        rows = workbook_rows(file, sheet)
    elif kind == ".parquet":
        rows = parquet_rows(file)
    elif kind in (".xls", ".ods"):
        raise DataError(f"{file} is a spreadsheet in a format that is not read. Save it as .xlsx or as CSV in UTF-8.")
    else:
        rows, delimiter = _text_rows(file)
    filled = (row for row in rows if any(row[1]))
    head = list(islice(filled, _TITLES))
    skipped = _titles([row for _, row in head])
    if skipped:
        log.warning("the first %d rows of %s are a title and are skipped", skipped, file)
    head = head[skipped:]
    if len(head) < 2:
        raise DataError(f"{file} has no rows below its header. List one image in each row.")
    header = tuple(head[0][1])
    lines, cells = _gather([*head[1:]], filled)
    if len(lines) > TABLE_ROWS:
        raise DataError(f"{file} has more than {TABLE_ROWS:,} rows. Divide it into several tables.")
    return Table(file, header, cells, lines, delimiter)


def _gather(
    first: Iterable[tuple[int, Sequence[str]]], others: Iterable[tuple[int, Sequence[str]]]
) -> tuple[list[int], list[Sequence[str]]]:
    lines: list[int] = []
    cells: list[Sequence[str]] = []
    for each in (first, others):
        for line, row in islice(each, TABLE_ROWS + 1):
            lines.append(line)
            cells.append(row)
    return lines, cells


def _titles(head: Sequence[Sequence[str]]) -> int:
    """Count rows of one cell above a header of several."""
    filled = [sum(map(bool, row)) for row in head]
    return next((at for at, count in enumerate(filled) if count > 1), 0) if filled and max(filled) > 1 else 0


def _text_rows(file: Path) -> tuple[Iterator[tuple[int, Sequence[str]]], str]:
    try:
        content = read_table_file(file)
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}. Check the path and its permissions.") from error
    except ValueError as error:
        raise DataError(f"{file} cannot be read: {error}. Save it as CSV in UTF-8, or as several tables.") from error
    encoding = _encoding(content, file)
    opening = io.TextIOWrapper(io.BytesIO(content[:100_000]), encoding=encoding, errors="replace", newline="")
    lines = [line for line in islice(opening, 50) if line.strip(' \t\r\n,;|"\ufeff')]
    named = lines[0].strip() if lines else ""
    by_hint = named.lower().startswith("sep=") and len(named) <= 5
    delimiter = (named[4:] or "\t") if by_hint else _delimiter(lines)
    text = io.TextIOWrapper(io.BytesIO(content), encoding=encoding, errors="replace", newline="")
    return _parse(text, delimiter, file, by_hint), delimiter


def _encoding(content: bytes, file: Path) -> str:
    if content.startswith(_BINARY):
        raise DataError(f"{file} is not a text file, whatever its suffix says. Save it as CSV in UTF-8.")
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    if content[:4000].count(0) > len(content[:4000]) // 4:  # UTF-16 without its mark: every other byte is zero
        return "utf-16-be" if content[:1] == b"\0" else "utf-16-le"
    if content[:4000].count(0) > 1:
        raise DataError(f"{file} is not a text file, whatever its suffix says. Save it as CSV in UTF-8.")
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        log.warning("%s is not UTF-8 and is read as Windows-1252; save it in UTF-8 if letters look wrong", file)
        return "cp1252"
    return "utf-8-sig"


def _delimiter(lines: Sequence[str]) -> str:
    """Choose the delimiter that divides the first line, and then most others in the same way, into most columns."""

    def score(delimiter: str) -> tuple[bool, float, int]:
        try:
            widths = [len(row) for row in islice(csv.reader(lines, delimiter=delimiter), _TITLES * 2)]
        except csv.Error:
            return False, 0.0, 0
        header = next((width for width in widths if width > 1), 1)
        alike = sum(width == header for width in widths) / max(1, len(widths))
        return bool(widths) and widths[0] > 1, alike if header > 1 else 0.0, header

    return max(_DELIMITERS, key=score)


def _parse(text: Iterable[str], delimiter: str, file: Path, hinted: bool) -> Iterator[tuple[int, Sequence[str]]]:
    limit = csv.field_size_limit(_ENOUGH)
    known: dict[str, str] = {}  # equal cells become one object: half the memory of a table of a million rows
    try:
        reader = csv.reader(text, delimiter=delimiter)
        for row in reader:
            if hinted and any(row):
                hinted = False
                continue
            cells = list(map(str.strip, row))
            yield reader.line_num, list(map(known.setdefault if len(known) < _KEPT else known.get, cells, cells))
    except csv.Error as error:
        raise DataError(f"{file}: {error}. Save it as CSV in UTF-8.") from error
    finally:
        csv.field_size_limit(limit)


def normal_path(text: str, prefix: str = "") -> str:
    """Write a path from a table with forward slashes, without ``.`` and ``..`` where possible, below ``prefix``."""
    if not prefix and PLAIN_PATH(text):
        return text
    text = text.replace("\\", "/")
    return posixpath.normpath(posixpath.join(prefix.replace("\\", "/"), text) if prefix else text)
