"""Assigns groups, sites and labels to paths, with a regular expression or a table."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from medssl.errors import DataError, OptionError, shorten
from medssl_datasets.shared.words import is_missing
from medssl_datasets.tables.reading import find_table, normal_path, read_table

__all__ = ["compile_pattern", "groups_by_table", "match_pattern", "path_pattern"]

_MEANT = {"group": "patient or slide"}


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


def path_pattern(option: str, pattern: str | None) -> re.Pattern[str] | None:
    """Compile a regular expression that marks a part of a path: its group named like the option, or its only group.

    Args:
        option: Name of the option: ``group_pattern``, ``site_pattern`` or ``label_pattern``.
        pattern: The expression; ``None``: none is set.

    Raises:
        OptionError: It is not valid, or it does not mark one part of the path.
    """
    compiled = compile_pattern(option, pattern)
    name = option.removesuffix("_pattern")
    if compiled and compiled.groups != 1 and name not in compiled.groupindex:
        raise OptionError(
            f"{option} '{pattern}' has {compiled.groups} pairs of parentheses. They must mark the part of a path "
            f"that is the {_MEANT.get(name, name)}. Use one pair, or (?P<{name}>...)."
        )
    return compiled


def match_pattern(option: str, pattern: re.Pattern[str], images: Sequence[str]) -> dict[str, str]:
    """Map each path that matches the pattern to the text in its parentheses; leave out the others.

    Raises:
        DataError: No path matches.
    """
    name = option.removesuffix("_pattern")
    key: str | int = name if name in pattern.groupindex else 1
    matches = ((image, pattern.search(image)) for image in images)
    found = {image: match[key] for image, match in matches if match and match[key]}
    if not found:
        raise DataError(
            f"{option} '{pattern.pattern}' matches no image. The paths are like {shorten(sorted(images), 3)}. "
            "Correct it so that it matches them."
        )
    return found


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
    known = {path: "" if is_missing(group) else group for path, group in known.items()}
    return {image: known[image] for image in images if image in known}
