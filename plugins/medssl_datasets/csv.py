"""Your own images, listed in a table."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medssl.contracts import Listing, Part, Sample, Target, Value
from medssl.errors import DataError
from medssl_datasets._files import FileDataset, own_split, shorten
from medssl_datasets._table import Table, find_table, normal_path, read_table
from medssl_datasets._targets import Meaning, TargetKind, read_columns, read_joined, read_quantity

__all__ = ["Csv"]

_PARTS: dict[str, Part | None] = {
    "": None,
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}


class Csv(FileDataset):
    """Images listed in a table, one per row; the classes are the labels that occur, sorted (numbers by value).

    Layout: a table with a header in UTF-8, separated by commas, semicolons, tabs or bars. Paths are relative to the
    data folder. A row without a label is used for pre-training only. Group and part may be empty.

    Labels: a column of classes, of grades, of findings joined by a bar (``Effusion|Mass``, ``No Finding``) or of
    numbers; or with ``label_columns`` one column for each finding, with 1, 0, yes, no, -1 for uncertain, or nothing.

    Source and licence: your own.

    Known leaks: they cannot be found without a column of groups. Give one if a patient, slide or source image has more
    than one file.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            file: The table; ``None``: the only ``*.csv`` in the data folder.
            path_column: Column of the image files.
            label_column: Column of the labels.
            label_columns: Columns of findings, one each; they replace ``label_column``.
            target: Kind of target in ``label_column``; ``grades`` are ordered classes, ``findings`` are joined by a
                bar.
            names: Classes, grades from the lowest, or findings in their order; empty: the names that occur, sorted.
            unit: Unit of a quantity; empty: the column's name.
            blank: Meaning of an empty cell in ``label_columns``.
            uncertain: Meaning of -1 in ``label_columns``.
            group_column: Column of the patients, slides or source images; ``None``: ``group``, if it exists.
            part_column: Column of train, val or test; ``None``: ``part``, if it exists.
            path_prefix: Folder put before each path.
            augmentation: Name of the augmentation recipe.
        """

        file: Path | None = None
        path_column: str = "path"
        label_column: str = "label"
        label_columns: tuple[str, ...] = ()
        target: TargetKind = "classes"
        names: tuple[str, ...] = ()
        unit: str = ""
        blank: Meaning = "unknown"
        uncertain: Meaning = "unknown"
        group_column: str | None = None
        part_column: str | None = None
        path_prefix: str = ""
        augmentation: str = "natural"

    @classmethod
    def augmentation_for(cls, config: Any) -> str:
        """Return the augmentation that the user gives."""
        return str(config.augmentation)

    def index(self) -> Listing:
        """List the images, sorted by path.

        Raises:
            DataError: The table is missing, lacks a column, lists a file twice or a file that does not exist, or has a
                label or a part that cannot be read.
        """
        table = read_table(self._file())
        paths = self._paths(table)
        target, values = self._labels(table)
        parts = self._parts(table)
        groups = table.optional(self.config.group_column, "group", _remedy("group_column"))
        samples = [
            Sample(id=path, y=value, group=group or None, part=part)
            for path, value, group, part in zip(paths, values, groups, parts, strict=True)
        ]
        protocol, reason = own_split(samples)
        return Listing(
            samples=sorted(samples, key=lambda sample: sample.id),
            target=target,
            group_kind=(self.config.group_column or "group").replace("_", " ") if any(groups) else None,
            default_split=protocol,
            split_reason=reason,
        )

    def _labels(self, table: Table) -> tuple[Target, list[Value | None]]:
        config, column = self.config, self.config.label_column
        if config.label_columns:
            return read_columns(table, config.label_columns, config.blank, config.uncertain)
        texts = table.column(column, _remedy("label_column"))
        if not any(texts):
            raise DataError(
                f"csv: the column '{column}' of {table.file} is empty. Without labels, no evaluation is "
                "possible. Fill it, or give another with --set dataset.label_column=..."
            )
        if config.target == "quantity":
            return read_quantity(table, column, texts, config.unit or column)
        return read_joined(table, column, texts, config.target, config.names)

    def _file(self) -> Path:
        if self.config.file is not None:
            return find_table(self.config.file, self.root)
        found = sorted(path for path in self.root.glob("*.csv") if not path.name.startswith("."))
        if len(found) != 1:
            there = f"has {len(found)} tables: {shorten([path.name for path in found])}" if found else "has no table"
            raise DataError(
                f"csv: the table of the images is not clear. {self.root} {there}. Give it with --set dataset.file=..., "
                "or the folder that contains it with --data-dir."
            )
        return found[0]

    def _paths(self, table: Table) -> list[str]:
        """Read the paths, relative to the root if they are below it, and check that every file exists, once."""
        texts = table.column(self.config.path_column, _remedy("path_column"))
        if blank := [str(line) for text, line in zip(texts, table.lines, strict=True) if not text]:
            raise DataError(
                f"csv: {table.file} has no image path in {len(blank)} rows: line {shorten(blank)}. "
                f"Fill the column '{self.config.path_column}' or remove the rows."
            )
        paths = [self._relative(normal_path(text, self.config.path_prefix)) for text in texts]
        if twice := [path for path, count in Counter(paths).items() if count > 1]:
            raise DataError(
                f"csv: {table.file} lists {len(twice)} images more than once: {shorten(twice)}. Keep one row of each."
            )
        if missing := [path for path in paths if not (self.root / path).is_file()]:
            raise DataError(
                f"csv: {len(missing)} of the {len(paths)} images in {table.file} do not exist: {shorten(missing)}. "
                f"Paths are relative to {self.root}. Correct them, or set dataset.path_prefix or --data-dir."
            )
        return paths

    def _relative(self, path: str) -> str:
        place = Path(path)
        return place.relative_to(self.root).as_posix() if place.is_relative_to(self.root) else path

    def _parts(self, table: Table) -> list[Part | None]:
        texts = [text.lower() for text in table.optional(self.config.part_column, "part", _remedy("part_column"))]
        if unknown := sorted(set(texts) - set(_PARTS)):
            raise DataError(
                f"csv: {table.file} contains unknown parts: {shorten(unknown)}. "
                "A part must be train, val, test or empty. "
                "Correct them, or give another column with --set dataset.part_column=..."
            )
        return [_PARTS[text] for text in texts]


def _remedy(option: str) -> str:
    return f"Give the right column with --set dataset.{option}=..."
