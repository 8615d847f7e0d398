"""Datasets in the format of Hugging Face, from a folder or from the cache.

``pip install "medssl[hf]"`` installs the package ``datasets``. It is imported when a dataset is opened.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from medssl.contracts import Dataset, Listing, Sample, Understanding
from medssl.errors import DataError
from medssl_datasets.shared.words import is_missing, named_by, part_of
from medssl_datasets.tables.hub_columns import Columns, targets_of

__all__ = ["HF"]

_SAVED = ("dataset_dict.json", "dataset_info.json", "state.json")  # files of a folder that save_to_disk wrote


class HF(Dataset):
    """A dataset of Hugging Face: a folder of Parquet files or images, one saved with ``save_to_disk``, or a name.

    A name is looked up in the local cache only. ``medssl fetch hf --set dataset.name=NAME`` downloads it.

    The image column is the first one of images. Its parts become train, val and test where their names say so. Labels
    are a column of class names, texts or whole numbers (classes, or grades), of lists of them (findings), or of other
    numbers (a quantity).

    Source and licence: those of the dataset, see its card.

    Known leaks: they cannot be found without a column of groups. Give one if a patient, slide or source image has more
    than one image.
    """

    published = False

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            name: A folder, or a name on the Hub: ``owner/name``.
            config: The configuration, for datasets that have several.
            revision: A commit, tag or branch on the Hub; ``None``: the newest one. A commit keeps the images the same.
            image_column: Column of the images; ``None``: the first one of images.
            label_column: Column of the labels; ``None``: the first one of class names, else one called ``label`` or the
                like; ``none``: the images have no labels.
            group_column: Column of the patients, slides or source images.
            site_column: Column of the hospitals or scanners.
            target: ``auto``: see above; ``grades``: ordered classes.
            augmentation: Augmentation that suits the images.
        """

        name: str = ""
        config: str | None = None
        revision: str | None = None
        image_column: str | None = None
        label_column: str | None = None
        group_column: str | None = None
        site_column: str | None = None
        target: Literal["auto", "grades"] = "auto"
        augmentation: str = "natural"

    config: Config

    @classmethod
    def augmentation_for(cls, config: Any) -> str:
        """Return the augmentation that the user gives."""
        return str(config.augmentation)

    @classmethod
    def understand(cls, path: Path, given: Mapping[str, Any]) -> Understanding | None:  # noqa: ARG003
        """Understand a folder that ``save_to_disk`` wrote."""
        if not any((path / name).is_file() for name in _SAVED):
            return None
        said = ["the folder is a saved dataset of Hugging Face"]
        return Understanding(sure=0.95, folder=path.resolve(), options={"name": str(path.resolve())}, said=said)

    def __init__(self, config: Any, root: Path, facts: Mapping[str, Any] | None = None) -> None:
        super().__init__(config, root, facts)
        self._lock = threading.Lock()

    def fetch(self) -> None:
        """Download the dataset into the cache of Hugging Face.

        Raises:
            DataError: It cannot be downloaded.
        """
        if self._folder() is None:
            self._open(local=False)

    def index(self) -> Listing:
        """List the images of all parts.

        Raises:
            DataError: The dataset is neither in a folder nor in the cache, or lacks a column.
        """
        columns = Columns.of(self.config, next(iter(self._parts.values())).features)
        tables = list(self._parts.items())
        cells = {column: [cell for _, rows in tables for cell in rows[column]] for column in columns.all}
        names = [(name, row) for name, rows in tables for row in range(len(rows))]
        target, values = targets_of(columns, cells, len(names), grades=self.config.target == "grades")
        parts = {name: part_of(name) for name in self._parts}
        groups, sites = (_texts(cells.get(column or ""), len(names)) for column in (columns.group, columns.site))
        samples = [
            Sample(id=f"{name}/{row:07d}", y=y, group=group, site=site, part=parts[name])
            for (name, row), y, group, site in zip(names, values, groups, sites, strict=True)
        ]
        official = {"train", "test"} <= set(parts.values())
        grouped = any(groups)
        return Listing(
            samples=samples,
            target=target,
            group_kind=named_by(columns.group or "", "group") if grouped else None,
            site_kind=named_by(columns.site or "", "site") if any(sites) else None,
            default_split="official" if official else "grouped" if grouped else "random",
            split_reason="the dataset has a training and a test part"
            if official
            else "the dataset has groups"
            if grouped
            else "no groups and no official parts are known",
        )

    def read(self, sample: Sample) -> np.ndarray:
        """Decode one image."""
        from medssl.tools import read_opened  # noqa: PLC0415  (Pillow is imported anyway; this keeps the tools lazy)

        name, _, row = sample.id.rpartition("/")
        with self._lock:  # one reader of the table at a time; decoding is outside
            cell = self._parts[name][int(row)][self._image_column]
        if cell is None:
            raise DataError(f"'{sample.id}' has no image.")
        source = io.BytesIO(cell["bytes"]) if cell["bytes"] is not None else cell["path"]
        try:
            return read_opened(Image.open(source))
        except OSError as error:
            raise DataError(f"the image of '{sample.id}' cannot be read: {error}.") from error

    def fingerprint(self) -> str:
        """Return the fingerprints of the parts, which change with their content."""
        return " ".join(f"{name}:{rows._fingerprint}" for name, rows in sorted(self._parts.items()))

    @cached_property
    def _image_column(self) -> str:
        return Columns.of(self.config, next(iter(self._parts.values())).features).image

    @cached_property
    def _parts(self) -> dict[str, Any]:
        """The tables of the parts by name; images are not decoded."""
        opened = self._open(local=True)
        parts = dict(opened) if isinstance(opened, dict) else {"train": opened}
        return {
            str(name): rows.cast_column(
                Columns.of(self.config, rows.features).image, import_module("datasets").Image(decode=False)
            )
            for name, rows in parts.items()
        }

    def _folder(self) -> Path | None:
        if not self.config.name:
            raise DataError(
                "hf: no dataset is named. Give --set dataset.name=FOLDER, a folder of Parquet files or images in "
                f"{self.root}, or the name of a dataset in the local cache."
            )
        return next((each for each in (self.root / self.config.name, Path(self.config.name)) if each.is_dir()), None)

    def _open(self, *, local: bool) -> Any:
        folder, name = self._folder(), self.config.name
        try:
            datasets: Any = import_module("datasets")  # an extra
        except ImportError as error:
            raise DataError('hf: reading datasets of Hugging Face needs `pip install "medssl[hf]"`.') from error
        try:
            if folder is not None and any((folder / each).is_file() for each in _SAVED):
                return datasets.load_from_disk(str(folder))
            only = datasets.DownloadConfig(local_files_only=local)
            source, revision = str(folder or name), None if folder else self.config.revision
            return datasets.load_dataset(source, self.config.config, revision=revision, download_config=only)
        except Exception as error:
            cause = " ".join(str(error).split())[:300]
            way_out = (
                "Check that it holds Parquet files, a folder of images, or a saved dataset."
                if folder
                else f"`medssl fetch hf --set dataset.name={name}` downloads a dataset; a run uses no network."
            )
            raise DataError(f"hf: '{name}' cannot be opened: {cause}. {way_out}") from error


def _texts(cells: Sequence[Any] | None, count: int) -> list[str | None]:
    if cells is None:
        return [None] * count
    return [None if cell is None or is_missing(str(cell)) else str(cell) for cell in cells]
