"""Assigns groups to paths, with a regular expression or a table."""

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
        OptionError: It is not a valid regular expression.
    """
    try:
        return None if pattern is None else re.compile(pattern)
    except re.error as error:
        raise OptionError(
            f"{option} '{pattern}' is not a valid regular expression: {error}. See the documentation of Python's 're'. "
            "On the command line, put it in quotes."
        ) from error


def group_pattern(pattern: str | None) -> re.Pattern[str] | None:
    """Compile a regular expression that marks the group in a path.

    Raises:
        OptionError: It is not valid, or it does not mark one part of the path.
    """
    compiled = compile_pattern("group_pattern", pattern)
    if compiled and compiled.groups != 1 and "group" not in compiled.groupindex:
        raise OptionError(
            f"group_pattern '{pattern}' has {compiled.groups} pairs of parentheses. They must mark the part of a path "
            "that is the patient or slide. Use one pair, or (?P<group>...)."
        )
    return compiled


def groups_by_pattern(pattern: re.Pattern[str], images: Iterable[str]) -> dict[str, str]:
    """Map each path that matches the pattern to the text in its parentheses; leave out the others."""
    key: str | int = "group" if "group" in pattern.groupindex else 1
    matches = ((image, pattern.search(image)) for image in images)
    return {image: match[key] for image, match in matches if match and match[key]}


def groups_by_table(file: Path, root: Path, images: Iterable[str]) -> dict[str, str]:
    """Map paths to groups with a table (columns ``path`` and ``group``); paths are relative to the root or the table.

    An empty cell means that the image has no group; it is mapped to an empty text.

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
