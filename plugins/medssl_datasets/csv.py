"""Your own images, listed in a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any

from medssl.contracts import Listing, Understanding
from medssl_datasets.folders.files import FileDataset, Row, log, own_split, without_collection
from medssl_datasets.shared.words import named_by
from medssl_datasets.tables import joining
from medssl_datasets.tables.files import Finder
from medssl_datasets.tables.guessing import understand_table
from medssl_datasets.tables.rows import TableOptions, find_images, open_table, read_labels, read_rows
from medssl_datasets.tables.targets import no_labels

__all__ = ["Csv"]


class Csv(FileDataset):
    """Images listed in a table, one per row; the classes are the labels that occur, sorted (numbers by value).

    Tables: text separated by commas, semicolons, tabs or bars, in UTF-8, UTF-16 or Windows-1252; Excel workbooks
    (``pip install "medssl[excel]"``); Parquet (``pip install "medssl[parquet]"``). The first row names the columns.

    Paths: relative to the data folder or to the table, with or without suffix, with slashes of either kind. An image
    that is not there is searched by its name in all folders below the data folder, and by its number if the table lost
    leading zeros.

    Labels: a column of classes, of grades, of findings joined by a bar (``Effusion|Mass``, ``No Finding``) or of
    numbers; or with ``label_columns`` one column for each finding, with 1, 0, yes, no, -1 for uncertain, or nothing.
    ``nan``, ``NA``, ``None``, ``null``, ``?``, ``-`` and the like are missing values. A row without a label is used for
    pre-training only. Spellings that differ in letter case, spaces or number format are one class.

    Source and licence: your own.

    Known leaks: they cannot be found without a column of groups. Give one if a patient, slide or source image has more
    than one file.
    """

    published = False

    @dataclass(frozen=True, kw_only=True)
    class Config(TableOptions):
        """Options."""

    @classmethod
    def augmentation_for(cls, config: Any) -> str:
        """Return the augmentation that the user gives."""
        return str(config.augmentation)

    @classmethod
    @without_collection()
    def understand(cls, path: Path, given: Mapping[str, Any]) -> Understanding | None:
        """Guess the columns of a table, or of the table in a folder that lists most images."""
        return understand_table(path, given)

    @without_collection()
    def index(self) -> Listing:
        """List the images, sorted by path.

        Raises:
            DataError: The table is missing, lacks a column, lists a file that does not exist, or has a label or a part
                that cannot be read; one message has all problems.
        """
        config, is_image = self.config, self.readers.is_image
        table, said = joining.chosen_rows(open_table(config, self.root), config.where)
        problems = joining.Problems(table.file)
        finder = Finder(self.root, table.file.parent, config.path_prefix, is_image)
        table, images, how = find_images(config, table, finder, problems)
        labels = problems.keep(partial(read_labels, config, table, images), no_labels(len(images)))
        no_rows: tuple[list[Row], list[str]] = ([], [])
        read, remarks = problems.keep(partial(read_rows, config, table, images, labels, self.root), no_rows)
        problems.report()
        found, merged = joining.merged(read, labels.target, config.several_rows)
        said += [*how, *labels.said, *remarks, *merged, *joining.unlisted(self.root, images, is_image)]
        for text in [*said, *joining.unnamed_columns(table, config)]:
            log.warning("csv: %s", text)
        grouped = any(row.group for row in found)
        survey = self.survey([row.file for row in found])
        samples = survey.samples(found, grouped=grouped)
        protocol, reason = own_split(samples)
        sited = any(row.site for row in found)
        return Listing(
            samples=sorted(samples, key=attrgetter("id")),
            target=labels.target,
            group_kind=named_by(config.group_column or "", "group") if grouped else survey.group_kind,
            site_kind=named_by(config.site_column or "", "site") if sited else survey.site_kind,
            default_split=protocol,
            split_reason=reason,
        )
