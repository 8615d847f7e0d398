"""Every form in which a user may give images, as one dataset.

N images, H x W pixels, C channels.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medssl.catalog import Catalog
from medssl.contracts import Classes, Dataset, Listing, Readers, Sample
from medssl.contracts.kinds import DATASET
from medssl.data.loading import open_dataset
from medssl.errors import DataError, PluginError
from medssl.recipe import choose
from medssl.tools.images import read_image, read_opened
from medssl.tools.reading import installed_readers

__all__ = ["GivenImages", "ImageLike", "ImagesLike", "as_dataset", "find_images", "pixels_of"]

#: A file (``FILE#frame`` is one of several frames), a Pillow image, or an array ``(H, W)`` or ``(H, W, C)`` of uint8 or
#: uint16.
ImageLike = str | Path | Image.Image | NDArray[Any]
#: One or several of these; folders; a dataset, its name, or a mapping of ``plugin`` (its name) and options.
ImagesLike = ImageLike | Sequence[ImageLike] | Dataset | Mapping[str, Any]


def find_images(paths: Iterable[Path], readers: Readers | None = None) -> list[Path]:
    """List images: the given files, and those in the given folders, sorted within each folder.

    A file with several frames gives a path ``FILE#frame`` for each.

    In folders, hidden files and folders and ``__MACOSX`` are left out, as in the dataset ``folder``. Links to folders
    are followed, but never in circles.

    Args:
        paths: Files and folders.
        readers: Readers of the files; ``None``: all installed ones.

    Raises:
        DataError: A file does not exist, or a folder contains no image.
    """
    readers = readers or installed_readers()
    found: list[Path] = []
    for path in paths:
        if path.is_file():
            found.extend(_frames(path, readers))
            continue
        if readers.locate(Path(), str(path))[0].is_file():  # one frame of it
            found.append(path)
            continue
        inside = [frame for file in sorted(_walk(path, frozenset(), readers)) for frame in _frames(file, readers)]
        if not inside:
            what = "contains no image" if path.is_dir() else "does not exist"
            raise DataError(f"{path} {what}. Give image files, or folders that contain some.")
        found.extend(inside)
    return found


def _frames(file: Path, readers: Readers) -> list[Path]:
    return [Path(name) for name in readers.ids(str(file), file)] if readers.is_image(file) else [file]


def _walk(folder: Path, above: frozenset[str], readers: Readers) -> Iterator[Path]:
    """Yield the image files at any depth below a folder, in no order."""
    here = os.path.realpath(folder)
    if here in above or not folder.is_dir():
        return
    try:
        entries = list(folder.iterdir())
    except OSError as error:
        raise DataError(f"{folder} cannot be listed: {error.strerror}. Check the path and its permissions.") from error
    for entry in entries:
        if entry.name.startswith(".") or entry.name == "__MACOSX":
            continue
        if entry.is_dir():
            yield from _walk(entry, above | {here}, readers)
        elif readers.is_image(entry):
            yield entry


def as_dataset(images: ImagesLike, catalog: Catalog, data_dir: Path | None, readers: Readers | None = None) -> Dataset:
    """Make a dataset of what a user gives.

    Args:
        images: See :data:`ImagesLike`. A text is a path if something exists there, else the name of a dataset.
        catalog: Facts about datasets.
        data_dir: Where a named dataset lies, see :func:`medssl.data.loading.data_folder`.
        readers: Readers of the files; ``None``: all installed ones.

    Raises:
        DataError: The images do not exist, or are of another type.
        PluginError: The dataset cannot be loaded.
        OptionError: A mapping names no dataset, or an option is wrong.
    """
    if isinstance(images, Dataset):
        return images
    dataset = _as_dataset(images, catalog, data_dir, readers)
    if readers is not None:
        dataset.readers = readers
    return dataset


def _as_dataset(
    images: ImageLike | Sequence[ImageLike] | Mapping[str, Any],
    catalog: Catalog,
    data_dir: Path | None,
    readers: Readers | None,
) -> Dataset:
    if isinstance(images, Mapping):
        name = str(images.get("plugin", ""))
        return open_dataset(choose(DATASET.name, name, images, catalog), catalog, data_dir)
    if isinstance(images, str) and not Path(images).exists():
        return _named(images, catalog, data_dir)
    if isinstance(images, str | Path):
        return GivenImages(find_images([Path(images)], readers))
    if isinstance(images, Image.Image):
        return GivenImages([images])
    if isinstance(images, np.ndarray):
        return GivenImages(_rows(images))
    return GivenImages(list(_each(images, readers)))


def _named(name: str, catalog: Catalog, data_dir: Path | None) -> Dataset:
    try:
        return open_dataset(choose(DATASET.name, name, {}, catalog), catalog, data_dir)
    except PluginError as error:
        raise DataError(f"there is no file or folder '{name}', and no dataset of this name: {error}") from error


def _rows(array: NDArray[Any]) -> list[ImageLike]:
    """Split one array into images: ``(N, H, W)`` or ``(N, H, W, C)``, or a single ``(H, W)``."""
    if array.ndim == 2:
        return [array]
    if array.ndim == 3 and array.shape[2] in (1, 3):
        raise DataError(
            f"an array of shape {array.shape} may be one colour image or {array.shape[0]} narrow grey ones. "
            "Give [image] for one image, and images[..., None] for several."
        )
    if array.ndim in (3, 4):
        return list(array)
    raise DataError(f"an array of shape {array.shape} does not hold images. Give (N, H, W) or (N, H, W, C).")


def _each(images: object, readers: Readers | None) -> Iterator[ImageLike]:
    if not isinstance(images, Iterable):
        raise DataError(
            f"a {type(images).__name__} does not hold images. Give a path, a Pillow image, an array, a dataset, or a "
            "list of these."
        )
    for number, image in enumerate(images):
        if isinstance(image, str | Path):
            yield from find_images([Path(image)], readers)
        elif isinstance(image, Image.Image | np.ndarray):
            yield image
        else:
            raise DataError(
                f"image {number} is a {type(image).__name__}. Give a path, a Pillow image or a NumPy array (H, W) or "
                "(H, W, C)."
            )


def pixels_of(image: ImageLike, short_side: int | None = None, readers: Readers | None = None) -> NDArray[Any]:
    """Read one image: ``(H, W, C)``, uint8 or uint16.

    Args:
        image: See :data:`ImageLike`. A Pillow image is read as its file.
            A file goes to the reader of its format; ``FILE#frame`` is one of several frames.
        short_side: What the image will be reduced to, see :func:`medssl.tools.images.read_image`.
        readers: Readers of the files; ``None``: all installed ones. A file that none of them knows by its name is read
            as one of Pillow's formats.

    Raises:
        DataError: It cannot be read, or is not an image.
    """
    if isinstance(image, str | Path):
        readers = readers or installed_readers()
        file, frame = readers.locate(Path(), str(image))
        return readers.read(file, frame, short_side) if readers.is_image(file) else read_image(image, short_side)
    if isinstance(image, Image.Image):
        return read_opened(image, short_side)
    array = np.asarray(image)
    array = array[:, :, None] if array.ndim == 2 else array
    if array.ndim != 3 or array.dtype not in (np.uint8, np.uint16):
        raise DataError(
            f"an array of shape {np.shape(image)} and type {array.dtype} is not an image. An image is (H, W) or "
            "(H, W, C), of uint8 or uint16. Convert it first."
        )
    return array


class GivenImages(Dataset):
    """Images that the caller has: files, Pillow images or arrays.

    Args:
        images: N of them.
    """

    def __init__(self, images: Sequence[ImageLike]) -> None:
        super().__init__(self.Config(), Path())
        self._images = images

    def index(self) -> Listing:
        """Return one sample per image, in the given order; its id is its number and, for a file, its path."""
        paths = (image if isinstance(image, str | Path) else "" for image in self._images)
        samples = [Sample(id=f"{i:09d} {path}".rstrip()) for i, path in enumerate(paths)]
        return Listing(samples=samples, target=Classes(("any",)))  # none has a label

    def read(self, sample: Sample) -> np.ndarray:
        """Return ``(H, W, C)``."""
        return pixels_of(self._images[int(sample.id[:9])], None, self.readers)

    def read_reduced(self, sample: Sample, short_side: int) -> np.ndarray:
        """Return ``(H, W, C)``; a file is read at the reduced size that a run reads."""
        return pixels_of(self._images[int(sample.id[:9])], short_side, self.readers)
