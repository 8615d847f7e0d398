"""Groups from a table, for the images of any dataset."""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from medssl.contracts import Listing
from medssl.errors import DataError
from medssl.io.reading import read_table_file

__all__ = ["with_groups"]

log = logging.getLogger(__name__)
_SHOWN = 3


def with_groups(listing: Listing, file: Path, root: Path) -> Listing:
    """Give each sample the group that a table names; it replaces the dataset's own.

    Args:
        listing: Listing of a dataset.
        file: CSV with the columns ``path`` and ``group``, as ``medssl audit --groups FILE`` writes it. A path is the id
            of a sample, or the id below the name of the data folder. An empty group means none.
        root: The data folder.

    Raises:
        DataError: The table cannot be read, lacks a column, or matches no sample.
    """
    groups = _read(file)
    given = {s.id: groups.get(s.id, groups.get(f"{root.name}/{s.id}")) for s in listing.samples}
    missing = sorted(name for name, group in given.items() if group is None)
    if not any(given.values()):
        raise DataError(
            f"the groups of {file} match no image. Its paths are like {_some(sorted(groups))}, and the images are "
            f"called {_some(missing)}. Correct the table, or write one with medssl audit --groups FILE."
        )
    if missing:
        log.warning("%s gives %d images no group, for instance %s", file, len(missing), _some(missing))
    official = listing.default_split == "official"
    return replace(
        listing,
        samples=[replace(sample, group=given[sample.id] or None) for sample in listing.samples],
        group_kind=listing.group_kind or "group",
        default_split="official" if official else "grouped",
        split_reason=listing.split_reason if official else f"groups are known from {file.name}",
    )


def _read(file: Path) -> Mapping[str, str]:
    try:
        rows = csv.DictReader(io.StringIO(read_table_file(file).decode("utf-8-sig"), newline=""))
        columns = rows.fieldnames or ()
        if not {"path", "group"} <= set(columns):
            raise DataError(
                f"{file} cannot be used as a table of groups. It needs the columns 'path' and 'group', and has "
                f"{_some(columns)}. Rename its columns."
            )
        return {(row["path"] or "").replace("\\", "/"): (row["group"] or "").strip() for row in rows}
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"the table of groups {file} cannot be read. {error}. Give a CSV file in UTF-8.") from error


def _some(names: Iterable[str]) -> str:
    listed = [f"'{name}'" for name in names]
    return ", ".join(listed[:_SHOWN]) or "none"
