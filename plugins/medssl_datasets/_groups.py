"""From paths to groups: by a regular expression, or by a table."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from medssl.errors import OptionError
from medssl_datasets._table import find_table, normal_path, read_table

__all__ = ["compile_pattern", "group_pattern", "groups_by_pattern", "groups_by_table"]


def compile_pattern(option: str, pattern: str | None) -> re.Pattern[str] | None:
    """Compile an option's regular expression.

    Raises:
        OptionError: It is none.
    """
    try:
        return None if pattern is None else re.compile(pattern)
    except re.error as error:
        raise OptionError(
            f"{option} '{pattern}' is no regular expression: {error}. See the documentation of Python's 're', and "
            "quote it on the command line."
        ) from error


def group_pattern(pattern: str | None) -> re.Pattern[str] | None:
    """Compile a regular expression that says which part of a path is the group.

    Raises:
        OptionError: It is none, or does not say which part.
    """
    compiled = compile_pattern("group_pattern", pattern)
    if compiled and compiled.groups != 1 and "group" not in compiled.groupindex:
        raise OptionError(
            f"group_pattern '{pattern}' has {compiled.groups} pairs of parentheses. They must say which part of a path "
            "names the patient or slide. Use one pair, or (?P<group>...)."
        )
    return compiled


def groups_by_pattern(pattern: re.Pattern[str], images: Iterable[str]) -> dict[str, str]:
    """Map each path in which the pattern is found to what stands in its parentheses; leave out the others."""
    key: str | int = "group" if "group" in pattern.groupindex else 1
    matches = ((image, pattern.search(image)) for image in images)
    return {image: match[key] for image, match in matches if match and match[key]}


def groups_by_table(file: Path, root: Path, images: Iterable[str]) -> dict[str, str]:
    """Map each path that a table with the columns ``path`` and ``group`` knows, as seen from the root or the table.

    An empty cell says that the image has no group: it is mapped to an empty text.

    Raises:
        DataError: The table is missing or has other columns.
    """
    found = find_table(file, root)
    table = read_table(found)
    paths = [normal_path(path) for path in table.column("path", "Rename the column of the files.")]
    groups = table.column("group", "Rename the column of the patients or slides.")
    beside, base = found.resolve().parent, root.resolve()
    seen = [os.path.relpath(beside / path, base).replace(os.sep, "/") for path in paths]
    known = dict(zip(seen, groups, strict=True))
    known |= dict(zip(paths, groups, strict=True))
    return {image: known[image] for image in images if image in known}
