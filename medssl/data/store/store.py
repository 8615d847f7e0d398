"""The store: every image of a dataset, decoded once, in one memory-mapped file.

If a small dataset is decoded and resized in each epoch, this is most of the training cost. With a store it happens once
per dataset and computer. A store is a folder with two files, ``pixels`` (the images one after the other, without gaps)
and ``header.json`` (shapes, ids, how it was made). Its name is a checksum of the contents.

N images, each H x W pixels and C channels.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pooch.utils import os_cache

from medssl.contracts import Dataset, Sample
from medssl.data.store.building import build_store, store_name, sweep
from medssl.data.store.contents import content_key, paths_of, reader_key
from medssl.data.store.decoding import Unreadable
from medssl.data.store.header import FORMAT, read_store_header
from medssl.errors import DataError
from medssl.io.files import keep_private

__all__ = ["Store", "default_cache", "forget_checks", "open_store"]


@dataclass(frozen=True, eq=False)
class Store:
    """Decoded images, in the order in which the samples were given.

    Attributes:
        ids: N sample ids.
        skipped: Samples that could not be read, with the reason.
        key: Checksum of everything that determines the pixels; the same on every computer.
        dtype: uint8, or uint16 if any image has 16 bits; 8-bit images are then multiplied by 257, so white stays white.
        channels: 1 when every image is grey or has three equal channels, else the number of channels of the others, 3
            for colour; grey images then have equal channels.
        shapes: ``(N, 2)`` int32, heights and widths.
        levels: ``(N, 2)`` float64, grey levels to show as black and white (:mod:`medssl.data.store.windows`); ``None``
            for uint8, where they are 0 and 255.
        limit: Largest short side in pixels; larger images are reduced.
        reduced: Whether any image was reduced.
        built_seconds: Time to build the store, in this run or an earlier one.
        reused: Whether the store existed before.
        pixels: All images one after the other, flat, read-only, mapped from the file.
    """

    ids: tuple[str, ...]
    skipped: tuple[Unreadable, ...]
    key: str
    dtype: np.dtype[Any]
    channels: int
    shapes: np.ndarray
    levels: np.ndarray | None
    limit: int
    reduced: bool
    built_seconds: float
    reused: bool
    pixels: np.ndarray

    def __len__(self) -> int:
        """N."""
        return len(self.ids)

    def image(self, i: int) -> np.ndarray:
        """Return image ``i``, ``(H, W, C)``: a read-only view of the file."""
        height, width = self.shapes[i]
        return self.pixels[self._offsets[i] : self._offsets[i + 1]].reshape(height, width, self.channels)

    @property
    def uniform(self) -> bool:
        """Whether all images have the same size."""
        return bool((self.shapes == self.shapes[0]).all())

    @property
    def array(self) -> np.ndarray:
        """All images as one read-only array ``(N, H, W, C)``; only if they are :attr:`uniform`."""
        if not self.uniform:
            raise ValueError("images of several sizes are not one array; use image(i) for each")
        return self.pixels.reshape(len(self), *self.shapes[0], self.channels)

    @property
    def nbytes(self) -> int:
        """Size of all pixels in bytes."""
        return self.pixels.nbytes

    def describe(self) -> dict[str, Any]:
        """Return the entry ``data.store`` of a result."""
        return {
            "key": self.key,
            "reduced": self.reduced,
            "bytes": self.nbytes,
            "channels": self.channels,
            "bits": 8 * self.dtype.itemsize,
        }

    @cached_property
    def _offsets(self) -> np.ndarray:
        return np.concatenate([[0], np.cumsum(self.shapes.prod(axis=1, dtype=np.int64) * self.channels)])


def default_cache() -> Path:
    """Return the folder named by the environment variable ``MEDSSL_CACHE``, else the platform's cache folder.

    Raises:
        DataError: There is no such variable, and the user has no home directory.
    """
    try:
        folder = Path(os.environ.get("MEDSSL_CACHE") or os_cache("medssl")).expanduser()
    except RuntimeError:
        folder = Path("~")
    if "~" in folder.parts[:1]:
        raise DataError(
            "there is no place for decoded images, because the user has no home directory. Name a folder with the "
            "environment variable MEDSSL_CACHE."
        )
    return folder


def forget_checks(cache: Path) -> None:
    """Let every image file and every store be read and compared again when it is used next, as ``--verify`` wants it.

    A file of a dataset is otherwise taken for unchanged if its size and time are, and so are the pixels of a store.

    Args:
        cache: The cache folder.

    Raises:
        DataError: It cannot be written to.
    """
    try:
        for index in cache.glob("contents/*.json"):
            index.unlink(missing_ok=True)
        for pixels in cache.glob("stores/*/pixels"):
            os.utime(pixels, ns=(0, 0))
    except OSError as error:
        raise DataError(
            f"--verify cannot be carried out, because {cache} cannot be written: {error.strerror or error}. Name "
            "another cache folder with the environment variable MEDSSL_CACHE."
        ) from error


def open_store(
    dataset: Dataset,
    samples: Sequence[Sample],
    *,
    view_size: int,
    cache: Path,
    on_bad_image: Literal["fail", "skip"] = "fail",
    progress: Callable[[int, int], None] | None = None,
) -> Store:
    """Open the store of these samples; build it first if it does not exist.

    If the short side of an image is more than twice ``view_size``, it is reduced to that size, antialiased, with its
    aspect ratio. A store without reduced images also serves every larger view size. A store is reused as long as the
    ids, the contents of the files, the dataset's options and the source file of its ``read`` stay the same. A dataset
    that gives neither files nor a fingerprint is decoded at each call.

    Args:
        dataset: The dataset of the images.
        samples: What to store, in this order.
        view_size: Side of the views in pixels.
        cache: Folder for stores; created if missing. It is safe to delete, and several processes may use it.
        on_bad_image: ``fail``: images that cannot be read give an error that lists them; ``skip``: they are left out
            and listed in :attr:`Store.skipped`.
        progress: Called with (images done, N) while building.

    Raises:
        DataError: There are no samples, two samples have the same id, images cannot be read, the dataset breaks its
            contract, or the cache folder cannot be written or is full.
    """
    if not samples:
        raise DataError("the dataset has no samples, so there are no images to store. Check the data folder.")
    _refuse_duplicates(samples)
    limit, skip, stores = 2 * view_size, on_bad_image == "skip", cache / "stores"
    paths = paths_of(dataset, samples)
    content, reader = content_key(dataset, samples, cache, paths), reader_key(dataset, paths)
    if content and (found := _find(stores, content, reader, limit, skip=skip)):
        sweep(stores)
        return found
    try:
        stores.mkdir(parents=True, exist_ok=True, mode=0o700)
        keep_private(stores)
        folder = build_store(
            dataset, samples, stores, content=content, reader=reader, limit=limit, skip=skip, progress=progress
        )
    except OSError as error:
        raise DataError(
            f"the cache folder {cache} for decoded images cannot be written: {error.strerror or error}. Choose "
            "another one with the environment variable MEDSSL_CACHE."
        ) from error
    if content is not None and content_key(dataset, samples, cache, paths) != content:
        shutil.rmtree(folder, ignore_errors=True)
        raise DataError(
            f"files in {dataset.root} were changed while they were read, so the decoded images may be of both states. "
            "Run the same command again when they are complete."
        )
    store = _open(folder, reused=False)
    if store is None:
        raise DataError(
            f"the store {folder} was changed or deleted while it was being opened. Run the same command again."
        )
    return store


def _refuse_duplicates(samples: Sequence[Sample]) -> None:
    twice = [name for name, count in Counter(sample.id for sample in samples).items() if count > 1]
    if twice:
        raise DataError(
            f"{len(twice)} sample ids occur more than once, for example '{twice[0]}'. With such ids, labels and splits "
            "would be assigned to the wrong images. Make the ids unique in the dataset."
        )


# ------------------------------------------------------------------------------------------------- finding and opening


def _find(stores: Path, content: str, reader: str, limit: int, *, skip: bool) -> Store | None:
    """Open a suitable store, if it exists; a store with skipped images is only suitable if skipping is allowed."""
    for folder in sorted(stores.glob(store_name(content, reader, "*"))):
        store = _open(folder, reused=True)
        if store is None or (store.skipped and not skip):
            continue
        if store.limit == limit or not (store.reduced or store.shapes.min(axis=1).max() > limit):
            return store
    return None


def _open(folder: Path, *, reused: bool) -> Store | None:
    """Map a store; ``None`` if it is damaged or has another format, so that it is built again."""
    try:
        header = read_store_header(folder)
        if header["format"] != FORMAT:
            return None
        return Store(
            ids=tuple(header["ids"]),
            skipped=tuple(Unreadable(*bad) for bad in header["skipped"]),
            key=header["key"],
            dtype=np.dtype(header["dtype"]),
            channels=header["channels"],
            shapes=np.array(header["shapes"], np.int32),
            levels=None if header["dtype"] == "uint8" else np.array(header["levels"], np.float64),
            limit=header["limit"],
            reduced=header["reduced"],
            built_seconds=header["seconds"],
            reused=reused,
            pixels=np.memmap(folder / "pixels", header["dtype"], "r").view(np.ndarray),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
