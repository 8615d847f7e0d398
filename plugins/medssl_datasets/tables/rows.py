"""Reads the rows of a table of images: the options, the file of each row, its label and what else it says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import repeat
from pathlib import Path
from typing import Literal

from medssl.errors import DataError, shorten
from medssl_datasets.folders.files import Row
from medssl_datasets.shared.choosing import Choosing, parts_of_lists
from medssl_datasets.shared.groups import match_pattern, path_pattern
from medssl_datasets.shared.words import is_missing, missing_in
from medssl_datasets.tables import joining
from medssl_datasets.tables.conditions import parse_condition
from medssl_datasets.tables.files import Finder
from medssl_datasets.tables.reading import TABLE_SUFFIXES, Table, find_table, read_table
from medssl_datasets.tables.targets import (
    Labels,
    Meaning,
    TargetKind,
    no_labels,
    read_classes,
    read_columns,
    read_joined,
    read_quantity,
)

__all__ = ["TableOptions", "find_images", "open_table", "read_labels", "read_rows", "tables_in"]


@dataclass(frozen=True, kw_only=True)
class TableOptions(Choosing):
    """Options.

    Attributes:
        file: The table; ``None``: the only table in the data folder.
        sheet: Sheet of an Excel workbook; ``None``: the first one with rows.
        where: Conditions on a row, all of which must hold: ``modality == X-ray``, ``age >= 18``, ``view in PA|AP``.
        path_column: Column of the image files.
        path_columns: Columns of image files, for tables with several images in a row; they replace ``path_column``.
        label_column: Column of the labels; ``none``: the images have no labels.
        label_columns: Columns of findings, one each; they replace ``label_column``.
        target: Kind of target in ``label_column``; ``grades`` are ordered classes, ``findings`` are joined by a
            bar.
        names: Classes, grades from the lowest, or findings in their order; empty: the names that occur, sorted.
        unit: Unit of a quantity; empty: the column's name.
        blank: Meaning of an empty cell in ``label_columns``.
        uncertain: Meaning of -1 in ``label_columns``, and in a column of classes beside 0 and 1.
        group_column: Column of the patients, slides or source images; ``None``: ``group``, if it exists; ``none``:
            no column.
        group_pattern: Regular expression that marks the group in an image's path.
        site_column: Column of the hospitals or scanners.
        subgroup_columns: Columns of further facts, such as sex and age group.
        part_column: Column of train, val or test; ``None``: ``part``, if it exists; ``none``: no column.
        path_prefix: Folder put before each path.
        several_rows: Several rows of one image are merged if they ``agree``; ``any``: a finding of any row is
            present.
        absent: Whether a row without a file is an error, or is left out.
    """

    file: Path | None = None
    sheet: str | None = None
    where: tuple[str, ...] = ()
    path_column: str = "path"
    path_columns: tuple[str, ...] = ()
    label_column: str = "label"
    label_columns: tuple[str, ...] = ()
    target: TargetKind = "classes"
    names: tuple[str, ...] = ()
    unit: str = ""
    blank: Meaning = "unknown"
    uncertain: Meaning = "unknown"
    group_column: str | None = None
    group_pattern: str | None = None
    site_column: str | None = None
    subgroup_columns: tuple[str, ...] = ()
    part_column: str | None = None
    path_prefix: str = ""
    several_rows: joining.SeveralRows = "agree"
    absent: Literal["fail", "skip"] = "fail"

    def __post_init__(self) -> None:
        super().__post_init__()
        path_pattern("group_pattern", self.group_pattern)
        for condition in self.where:
            parse_condition(condition)


def tables_in(folder: Path) -> list[Path]:
    """List the tables in a folder, sorted; hidden ones and those that a spreadsheet has open are left out."""
    return sorted(
        path
        for path in folder.glob("*")
        if path.suffix.lower() in TABLE_SUFFIXES and path.name[0] not in ".~" and path.is_file()
    )


def open_table(options: TableOptions, root: Path) -> Table:
    """Read the table that the options name, or the only one in the data folder.

    Raises:
        DataError: It is missing or cannot be read, or there are several.
    """
    if options.file is not None:
        return read_table(find_table(options.file, root), options.sheet)
    found = tables_in(root) if root.is_dir() else []
    if len(found) != 1:
        there = f"has {len(found)} tables: {shorten([path.name for path in found])}" if found else "has no table"
        raise DataError(
            f"csv: the table of the images is not clear. {root} {there}. Give it with --set dataset.file=..., or the "
            "folder that contains it with --data-dir."
        )
    return read_table(found[0], options.sheet)


def find_images(
    options: TableOptions, table: Table, finder: Finder, problems: joining.Problems
) -> tuple[Table, list[str], list[str]]:
    """Find the file of each row.

    Returns:
        The rows that have one (one for each image, if a row has several), their paths, and how they were found.

    Raises:
        DataError: A column does not exist.
    """
    columns = options.path_columns or (options.path_column,)
    texts = [table.column(column, _remedy("path_column")) for column in columns]
    cells = texts[0]
    if len(columns) > 1:
        table = replace(table, rows=_repeated(table.rows, columns), lines=_repeated(table.lines, columns))
        cells = [cell for row in zip(*texts, strict=True) for cell in row]
        filled = [not is_missing(cell) for cell in cells]  # a patient may lack one of the images
        table, cells = table.only(filled), [cell for cell, there in zip(cells, filled, strict=True) if there]
    elif nothing := missing_in(cells):
        blank = [line for cell, line in zip(cells, table.lines, strict=True) if cell in nothing]
        problems.add(
            f"csv: {table.file} has no image path in {len(blank)} rows: line {shorten(blank)}. "
            f"Fill the column '{columns[0]}' or remove the rows."
        )
    found = finder.find(cells)
    if found.several:
        text, files = next(iter(found.several.items()))
        problems.add(
            f"csv: {len(found.several)} names of {table.file} stand for several files, for instance '{text}' for "
            f"{shorten(files, 3)}. Write the folder into the table, or give it with --set dataset.path_prefix=..."
        )
    there = [path is not None for path in found.paths]
    if all(there):
        return table, [path for path in found.paths if path is not None], found.said()
    missing = [
        cell
        for cell, path in zip(cells, found.paths, strict=True)
        if path is None and not is_missing(cell) and finder.normal(cell) not in found.several
    ]
    said = found.said()
    if missing and options.absent == "skip" and any(there):
        said.append(f"{len(missing)} of {len(cells)} rows match no file and are left out: {shorten(sorted(missing))}")
    elif missing:
        problems.add(f"csv: {finder.sentence_of_missing(missing, table.file)}")
        return table, [path or cell for cell, path in zip(cells, found.paths, strict=True)], said
    return table.only(there), [path for path in found.paths if path is not None], said


def _repeated(items: Sequence[joining.T], times: Sequence[str]) -> list[joining.T]:
    return [item for item in items for _ in times]


def read_labels(options: TableOptions, table: Table, images: Sequence[str]) -> Labels:
    """Read the labels of the images.

    Raises:
        DataError: A column does not exist or is empty, or a label cannot be read.
    """
    column = options.label_column
    if options.label_columns:
        return read_columns(table, options.label_columns, options.blank, options.uncertain, options)
    grades = options.target == "grades"
    read = partial(read_classes, options=options, grades=grades, names=options.names, uncertain=options.uncertain)
    if options.label_pattern is not None:
        marked = options.by_path("label_pattern", images)
        return read(f"csv: label_pattern '{options.label_pattern}'", [marked.get(image, "") for image in images])
    if column.lower() in ("", "none") and column not in table.header:
        return no_labels(len(images))
    texts = table.column(column, f"{_remedy('label_column')} (none: the images have no labels)")
    if images and all(map(is_missing, texts)):
        raise DataError(
            f"csv: the column '{column}' of {table.file} is empty. Fill it, give another with --set "
            "dataset.label_column=..., or pre-train without labels with --set dataset.label_column=none"
        )
    if options.target == "quantity":
        return read_quantity(table, column, texts, options.unit or column)
    if options.target == "findings":
        return read_joined(table, column, texts, options.names, options)
    return read(f"csv: the column '{column}' of {table.file}", texts)


def read_rows(
    options: TableOptions, table: Table, images: Sequence[str], labels: Labels, root: Path
) -> tuple[list[Row], list[str]]:
    """Read group, site, part and facts of the images; leave out those whose label is left out.

    Returns:
        One row for each image, and what the user should know.

    Raises:
        DataError: A column does not exist, or a part cannot be read.
    """
    said = []
    groups = joining.ids(table.optional(options.group_column, "group", _remedy("group_column")))
    if options.group_column is None and joining.says_only_the_label(groups, labels.values):
        said.append("the column 'group' says nothing but the label and is not used as groups")
        groups = [None] * len(images)
    if (pattern := path_pattern("group_pattern", options.group_pattern)) is not None:
        marked = match_pattern("group_pattern", pattern, images)
        groups = [marked.get(image) for image in images]
    sites = joining.ids(table.column(options.site_column, _remedy("site_column"))) if options.site_column else []
    by_path = options.by_path("site_pattern", images)
    cells = table.optional(options.part_column, "part", _remedy("part_column"))
    parts, left = joining.parts_of_column(table, cells, "part", named=options.part_column is not None)
    listed = parts_of_lists(options.part_lists, root, images)
    columns = [table.column(column, _remedy("subgroup_columns")) for column in options.subgroup_columns]
    missing = {cell for cells in columns for cell in missing_in(cells)}

    @cache  # rows with equal facts share them: a million dicts take longer, and 0.2 GB
    def facts_of(*cells: str) -> dict[str, str]:
        every = zip(options.subgroup_columns, cells, strict=True)
        return {column: cell for column, cell in every if cell not in missing}

    facts = map(facts_of, *columns) if columns else repeat(facts_of(), len(images))
    found = [
        Row(image, y, group, by_path.get(image) or site, listed.get(image) or part, own)
        for image, y, group, site, part, own, used in zip(
            images, labels.values, groups, sites or repeat(None, len(images)), parts, facts, labels.used, strict=True
        )
        if used
    ]
    return found, [*said, *left]


def _remedy(option: str) -> str:
    return f"Give the right column with --set dataset.{option}=..."
