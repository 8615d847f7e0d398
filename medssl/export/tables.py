"""Images to predict that a user gives as files, folders and tables of paths."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from medssl.errors import DataError, OptionError, did_you_mean
from medssl.export.images import find_images
from medssl.io.reading import read_table_file

__all__ = ["read_paths"]

_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_OTHERS = (".xlsx", ".xls", ".parquet", ".zip")  # tables and archives that only a dataset reads


def read_paths(
    given: Iterable[Path], options: Mapping[str, Any], path_column: str | None = None, group_column: str | None = None
) -> tuple[list[Path], list[str | None]]:
    """List images and the group of each.

    Args:
        given: Image files, folders, and tables (``.csv`` and ``.tsv``), whose paths are relative to the table's folder.
        options: Options of the run's dataset. Its ``path_column`` and ``group_column``, if it has them, are the columns
            of a table.
        path_column: Column of paths; ``None``: that of the options, else ``path``.
        group_column: Column of groups; ``None``: that of the options, else no column.

    Raises:
        DataError: A file does not exist, a folder contains no image, or a table cannot be read or has no row.
        OptionError: A table has no such column.
    """
    paths: list[Path] = []
    groups: list[str | None] = []
    for each in given:
        if each.suffix.lower() in _DELIMITERS and each.is_file():
            rows = _rows(each)
            at = path_column or options.get("path_column") or "path"
            by = group_column or options.get("group_column")
            found = [each.parent / _cell(row, at, each) for row in rows]
            groups += [(_cell(row, by, each) or None) if by else None for row in rows]
            if missing := [path for path in found if not path.is_file()]:
                raise DataError(
                    f"{each} lists {len(missing)} of {len(found)} images that do not exist, for instance {missing[0]}. "
                    "Paths are relative to the folder of the table."
                )
        elif each.suffix.lower() in _OTHERS and each.is_file():
            raise OptionError(f"{each} is no image, but a table or an archive. Give it with --data {each.name}.")
        else:
            found = find_images([each])
            groups += [None] * len(found)
        paths += found
    return paths, groups


def _rows(table: Path) -> list[dict[str, str]]:
    try:
        text = io.StringIO(read_table_file(table).decode("utf-8-sig"), newline="")
        rows = [dict(row) for row in csv.DictReader(text, delimiter=_DELIMITERS[table.suffix.lower()])]
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"the table {table} cannot be read. {error}. Save it as CSV in UTF-8.") from error
    if not rows:
        raise DataError(f"the table {table} has no rows, so there is nothing to predict.")
    return rows


def _cell(row: Mapping[str, str], column: str, table: Path) -> str:
    if column not in row:
        known = [str(name) for name in row]
        raise OptionError(
            f"the table {table} has no column '{column}'.{did_you_mean(column, known)} Columns: {', '.join(known)}. "
            "Name the right one with --path-column or --group-column."
        )
    return (row[column] or "").strip()
