"""MedMNIST: twelve datasets of small 2D images with official parts (Yang et al. 2023)."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from medssl.contracts import Dataset, Listing, Part, Sample
from medssl.errors import DataError
from medssl.tools import Source, download, open_regular, read_npz
from medssl_datasets._medmnist import MODALITY, check_array, check_finding, target_of
from medssl_datasets.folders.files import log

__all__ = ["MedMNIST"]

_PARTS: tuple[Part, ...] = ("train", "val", "test")


@lru_cache(maxsize=16)
def _sha256(path: Path, _size: int, _modified_ns: int) -> str:
    """Hash a file; the result is cached until the file changes."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class MedMNIST(Dataset):
    """One of the twelve 2D datasets of MedMNIST, in one of four sizes.

    Layout: ``<name>.npz`` (28 px) or ``<name>_<size>.npz``. A whole part is decoded into memory when its first image is
    read. The images of ``chestmnist`` have 14 findings each; with ``finding``, one of them is used, and the two classes
    are without and with this finding. ``retinamnist`` has five grades of retinopathy.

    Source: Yang et al., Sci. Data 10:41 (2023), doi:10.5281/zenodo.10519652. Licence: CC BY 4.0, ``dermamnist`` CC
    BY-NC 4.0.

    Known leaks: the files have no patient ids, so there are no groups. In ``pneumoniamnist``, the training patients of
    the dataset ``pneumonia`` are split by image into train and val. The classes of ``organ*mnist`` distinguish left
    from right, and a horizontal flip swaps them.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            name: Name of the dataset.
            size: Side of the square images in pixels.
            finding: The finding to predict, for ``chestmnist`` only; ``None``: all findings.
        """

        name: Literal[
            "bloodmnist",
            "breastmnist",
            "chestmnist",
            "dermamnist",
            "octmnist",
            "organamnist",
            "organcmnist",
            "organsmnist",
            "pathmnist",
            "pneumoniamnist",
            "retinamnist",
            "tissuemnist",
        ] = "pneumoniamnist"
        size: Literal[28, 64, 128, 224] = 28
        finding: str | None = None

        def __post_init__(self) -> None:
            check_finding(self.name, self.finding)

    @classmethod
    def augmentation_for(cls, config: Any) -> str:
        """Return the augmentation that suits the dataset's modality."""
        return MODALITY[config.name]

    def __init__(self, config: Any, root: Path, facts: Mapping[str, Any] | None = None) -> None:
        super().__init__(config, root, facts)
        self._arrays: dict[str, np.ndarray] = {}
        self._lock = threading.Lock()

    @property
    def file(self) -> Path:
        """Path of the set's file."""
        suffix = "" if self.config.size == 28 else f"_{self.config.size}"
        return self.root / f"{self.config.name}{suffix}.npz"

    def fetch(self) -> None:
        """Download the dataset's file, unless it exists.

        Raises:
            DataError: It cannot be downloaded; the message says which file to put where.
        """
        if not self.file.exists():
            download(self._source(), self.root)

    def index(self) -> Listing:
        """List the images by part and number.

        Raises:
            DataError: The file does not exist, or belongs to another dataset.
        """
        labels = {part: self._load(f"{part}_labels") for part in _PARTS}  # (N, 1), chestmnist (N, 14)
        found = {part: len(values) for part, values in labels.items()}
        official = self.facts.get("sets", {}).get(self.config.name, {}).get("samples", found)
        if found != dict(official):
            log.warning(
                "medmnist: %s has %s images, but the published dataset has %s", self.file.name, found, dict(official)
            )
        target, value_of = target_of(self.config.name, self.config.finding)
        samples = [
            Sample(id=f"{part}/{number:06d}", y=value_of(row), part=part)
            for part in _PARTS
            for number, row in enumerate(labels[part].reshape(found[part], -1).tolist())
        ]
        return Listing(
            samples=samples,
            target=target,
            default_split="official",
            split_reason="published results use the official parts; the files have no patient ids",
            depth=8,
        )

    def read(self, sample: Sample) -> np.ndarray:
        """Return one image, ``(size, size, 1)`` or ``(size, size, 3)`` uint8."""
        part, _, number = sample.id.partition("/")
        with self._lock:
            if part not in self._arrays:
                self._arrays[part] = self._load(f"{part}_images")
        images = self._arrays[part]
        if int(number) >= len(images):
            raise DataError(
                f"medmnist: {self.file} is damaged: it has {len(images)} images of the part {part}, but more labels. "
                "Move it away and run 'medssl fetch medmnist'."
            )
        image: np.ndarray = images[int(number)]
        return image[..., None] if image.ndim == 2 else image

    def fingerprint(self) -> str:
        """Return the sha256 of the file."""
        state = self.file.stat()
        return _sha256(self.file, state.st_size, state.st_mtime_ns)

    def _load(self, array: str) -> np.ndarray:
        """Decode one array of the file."""
        if not self.file.is_file():
            raise DataError(
                f"medmnist: {self.file} does not exist. Run 'medssl fetch medmnist --set "
                f"dataset.name={self.config.name} --set dataset.size={self.config.size}', or get {self._source()} "
                "from its authors and put it there."
            )
        try:
            loaded = read_npz(self.file, [array])[array]
            check_array(array, loaded)
        except (KeyError, ValueError, OSError) as error:
            raise DataError(
                f"medmnist: {self.file} is damaged or not a file of MedMNIST: {error}. "
                "Move it away and run 'medssl fetch medmnist'."
            ) from error
        return loaded

    def _source(self) -> Source:
        facts = self.facts.get("sets", {}).get(self.config.name, {})
        entry = {str(size): value for size, value in facts.get("files", {}).items()}.get(str(self.config.size), {})
        return Source(
            file=self.file.name,
            url=entry.get("url", ""),
            md5=entry.get("md5"),
            title=f"MedMNIST {self.config.name}, {self.config.size} px",
            licence=facts.get("licence", ""),
        )
