"""Texts from files and plugins, made safe for where they go: a screen, a page, a table, the name of a file."""

from __future__ import annotations

import csv
import hashlib
import io
import re
import unicodedata
from collections.abc import Iterable

__all__ = ["file_stem", "is_device", "printable", "table_cell", "table_text"]

#: Control characters but line feed and tab, marks that change the direction of the text, and lone surrogates.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_PLAIN = re.compile(r"[^A-Za-z0-9._-]+")
_DEVICE = re.compile("con|prn|aux|nul|conin\\$|conout\\$|(com|lpt)[0-9\u00b9\u00b2\u00b3]", re.IGNORECASE)
_LONGEST = 80  # characters of a file name; file systems allow 255 bytes


def printable(text: str) -> str:
    r"""Write characters that steer a terminal or turn the direction of a text as escapes: ``\x1b``, ``\u202e``.

    A byte of a file name that is no UTF-8 is written as that byte: ``\xfc``.
    """
    return _UNPRINTABLE.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    code = code - 0xDC00 if 0xDC80 <= code <= 0xDCFF else code
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def table_cell(value: object) -> object:
    """Return the value of a cell of a CSV file; a text that a spreadsheet would take for a formula begins with ``'``.

    Source: OWASP, CSV injection.
    """
    if not isinstance(value, str):
        return value
    text = printable(value)
    return f"'{text}" if text.startswith(_FORMULA) and not _NUMBER.fullmatch(text) else text


def table_text(rows: Iterable[Iterable[object]]) -> str:
    """Return rows as a CSV file, with the cells of :func:`table_cell`."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([*map(table_cell, row)] for row in rows)
    return text.getvalue()


def is_device(name: str) -> bool:
    """Whether Windows takes the name of a file for a device, with any suffix: ``nul``, ``COM1.txt``.

    Source: Microsoft, Naming Files, Paths, and Namespaces.
    """
    return bool(_DEVICE.fullmatch(name.partition(".")[0].rstrip(" ")))


def file_stem(text: str) -> str:
    """Turn a text into a part of a file name that every file system takes: letters, digits, dot, dash, underscore.

    A text that changes ends with eight digits of its checksum, so that different texts keep different names. The names
    of devices on Windows (``con``, ``nul.png``) change too.
    """
    plain = _PLAIN.sub("-", unicodedata.normalize("NFKD", text)).strip("-.")[:_LONGEST]
    if plain == text and not is_device(text):
        return text
    plain = f"_{plain}" if is_device(plain) else plain
    return f"{plain or 'name'}-{hashlib.sha256(text.encode(errors='surrogatepass')).hexdigest()[:8]}"
