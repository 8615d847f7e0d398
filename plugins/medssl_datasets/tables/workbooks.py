"""Reads the rows of Excel workbooks and Parquet files as texts; needs an extra package for each."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from medssl.errors import DataError, MedsslError, shorten
from medssl.tools import TABLE_ROWS, read_table_file

__all__ = ["parquet_rows", "workbook_rows"]

_EXCEL_ROWS = 1_048_576  # of a sheet (Microsoft, Excel specifications and limits)
_BATCH = 50_000  # rows of a Parquet file that are converted at once


def workbook_rows(file: Path, sheet: str | None) -> Iterator[tuple[int, Sequence[str]]]:
    """Yield the rows of a sheet with their numbers.

    Args:
        file: An ``.xlsx`` workbook.
        sheet: Name of the sheet; ``None``: the first one with rows.

    Raises:
        DataError: The package is missing, the file cannot be read, or it has no such sheet.
    """
    try:
        openpyxl: Any = import_module("openpyxl")  # an extra
    except ImportError as error:
        raise DataError(
            f"{file} is an Excel workbook. To read it, install openpyxl with: pip install 'medssl[excel]'. "
            "Or save it as CSV in UTF-8."
        ) from error
    try:
        book = openpyxl.load_workbook(io.BytesIO(read_table_file(file)), read_only=True, data_only=True)
    except Exception as error:  # openpyxl raises many kinds for damaged files
        raise DataError(f"{file} cannot be read as an Excel workbook: {error}. Save it again, or as CSV.") from error
    try:
        if sheet is not None and sheet not in book.sheetnames:
            raise DataError(f"{file} has no sheet '{sheet}'. Its sheets: {shorten(book.sheetnames, 20)}.")
        for name in [sheet] if sheet is not None else book.sheetnames:
            rows = _filled(file, book[name])
            if (first := next(rows, None)) is not None:
                yield first
                yield from rows
                return
    except MedsslError:
        raise
    except Exception as error:  # a damaged sheet, which openpyxl reads row by row
        raise DataError(f"{file} cannot be read as an Excel workbook: {error}. Save it again, or as CSV.") from error
    finally:
        book.close()


def _filled(file: Path, sheet: Any) -> Iterator[tuple[int, Sequence[str]]]:
    """Yield the rows that are not empty; a row number of a damaged sheet may be any."""
    for line, row in enumerate(sheet.iter_rows(values_only=True), 1):
        if line > _EXCEL_ROWS:
            raise DataError(f"{file} has more than {_EXCEL_ROWS:,} rows, which Excel does not allow.")
        cells = [_text(value) for value in row]
        if any(cells):
            yield line, cells


def parquet_rows(file: Path) -> Iterator[tuple[int, Sequence[str]]]:
    """Yield the rows of a Parquet file with their numbers; columns of bytes, lists and structures are left out.

    Raises:
        DataError: The package is missing, or the file cannot be read.
    """
    try:
        arrow: Any = import_module("pyarrow")  # an extra
        import_module("pyarrow.parquet")
    except ImportError as error:
        raise DataError(
            f"{file} is a Parquet file. To read it, install pyarrow with: pip install 'medssl[parquet]'. Or save it as "
            "CSV in UTF-8."
        ) from error
    try:
        content = arrow.parquet.ParquetFile(io.BytesIO(read_table_file(file)))
        if content.metadata.num_rows > TABLE_ROWS:
            raise DataError(f"{file} has more than {TABLE_ROWS:,} rows. Divide it into several tables.")
        types = content.schema_arrow
        plain = [
            column.name
            for column in types
            if not (arrow.types.is_nested(column.type) or arrow.types.is_binary(column.type))
        ]
        yield 1, plain
        line = 1
        for batch in content.iter_batches(_BATCH, columns=plain):
            columns = [[_text(value) for value in column.to_pylist()] for column in batch.columns]
            for row in zip(*columns, strict=True):
                line += 1
                yield line, row
    except (OSError, ValueError, arrow.ArrowException) as error:
        raise DataError(f"{file} cannot be read as a Parquet file: {error}. Save it again, or as CSV.") from error


def _text(value: Any) -> str:
    """Write a cell as text: whole numbers without a decimal point, missing values as nothing."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    return str(value).strip()
