"""Lists the files below a folder by kind: images, masks, archives, and files that are passed over."""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from medssl.errors import DataError, shorten
from medssl.tools import installed_readers
from medssl_datasets.shared.words import MASK_WORDS, mask_base

__all__ = ["Tree", "read_tree", "readable_name", "real_path", "sample_id", "suffix_of"]

#: Folders that operating systems, archives and storage servers create, in lower case.
_JUNK = frozenset(
    {"__macosx", "@eadir", "$recycle.bin", "lost+found", "system volume information", "thumbs.db", "desktop.ini"}
)
_ARCHIVES = frozenset({".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".7z", ".rar", ".zst"})
_DOUBLE = (".nii.gz", ".tar.gz", ".tar.bz2", ".tar.xz", ".csv.gz")
#: Text, tables and documents: they lie beside images everywhere, and are no images.
_BESIDE = frozenset(
    {
        *(".txt", ".md", ".rst", ".csv", ".tsv", ".json", ".xml", ".xlsx", ".xls", ".parquet", ".pdf", ".html", ".doc"),
        *(".docx", ".yaml", ".yml", ".log", ".py", ".ipynb", ".mat", ".pkl", ".db", ".ini", ".ods", ".csv.gz"),
    }
)
_KNOWN = {
    ".dcm": "DICOM",
    ".dicom": "DICOM",
    ".ima": "DICOM",
    ".nii": "NIfTI",
    ".nii.gz": "NIfTI",
    ".gif": "GIF",
    ".mha": "MetaImage",
    ".mhd": "MetaImage",
    ".nrrd": "NRRD",
    ".svs": "whole-slide image",
    ".ndpi": "whole-slide image",
    ".npy": "NumPy array",
    ".npz": "NumPy archive",
    ".h5": "HDF5",
    ".heic": "HEIC",
    ".avi": "video",
    ".mp4": "video",
}
#: One of them is in the path of any mask, in lower case.
_MASK_HINTS = ("mask", "label", "annot", "ground", "gt", "seg", "roi", "overlay", "contour", "bbox")
_LOST = re.compile(r"[\udc80-\udcff]")
_WRITTEN = re.compile(r"%([89A-F][0-9A-F])")


def suffix_of(name: str) -> str:
    """Return the suffix of a file name in lower case, with both parts of ``.nii.gz``; empty if there is none."""
    low = name.lower()
    double = next((suffix for suffix in _DOUBLE if low.endswith(suffix)), None)
    ending = os.path.splitext(low)[1]  # noqa: PTH122  (ten times as fast as Path)
    return double or ("" if len(ending) > 9 or ending[1:].isdigit() else ending)  # IM.0001 has no suffix


def sample_id(path: str) -> str:
    """Write a path as a sample id: bytes of the file name that are no UTF-8 become ``%F6``."""
    return _LOST.sub(lambda match: f"%{ord(match[0]) - 0xDC00:02X}", path)


def real_path(root: Path, name: str) -> Path:
    """Return the file of a sample id, see :func:`sample_id`."""
    path = root / name
    if "%" not in name or path.exists():
        return path
    other = root / _WRITTEN.sub(lambda match: chr(0xDC00 + int(match[1], 16)), name)
    return other if other.exists() else path


def readable_name(name: str) -> str:
    """Write a folder's name for people: bytes that are no UTF-8 are read as Windows-1252."""
    if not _LOST.search(name):
        return name
    return os.fsencode(name).decode("cp1252", errors="replace")


@dataclass(frozen=True)
class Tree:
    """The files below a folder; paths are relative to it, with forward slashes, and sorted.

    Attributes:
        root: The folder.
        images: Image files.
        masks: Image files in a folder of masks, or named like the mask of another image in their folder.
        archives: Archives.
        others: All other files.
        folders: Folders.
    """

    root: Path
    images: tuple[str, ...]
    masks: tuple[str, ...] = ()
    archives: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()

    def kinds(self) -> dict[str, int]:
        """Count the files that are not images by their kind, documents left out."""
        counts = Counter(self._kind(name) for name in self.others if suffix_of(name) not in _BESIDE)
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))

    def documents(self) -> dict[str, int]:
        """Count text files, tables and documents by suffix."""
        return dict(Counter(suffix_of(name) for name in self.others if suffix_of(name) in _BESIDE))

    def _kind(self, name: str) -> str:
        suffix = suffix_of(name)
        if not suffix:
            return "DICOM files without a suffix" if _is_dicom(self.root / name) else "files without a suffix"
        kind = _KNOWN.get(suffix)
        return f"{suffix} files ({kind})" if kind else f"{suffix} files"

    def left_out(self) -> list[str]:
        """Describe in sentences what is not used as an image, documents left out."""
        said = []
        if kinds := self.kinds():
            counts = [f"{count} {kind}" for kind, count in kinds.items()]
            said.append(f"files that are not read as images are left out: {shorten(counts, 8)}")
        if self.masks:
            said.append(f"{len(self.masks)} masks are left out, for instance {self.masks[0]}")
        if self.archives:
            said.append(
                f"archives are not opened: {shorten(self.archives)}. Unpack them if they hold images of the data"
            )
        return said


def _is_dicom(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def read_tree(
    root: Path,
    is_image: Callable[[str], bool] | None = None,
    *,
    masks: bool = False,
    deep: bool = True,
    exclude: re.Pattern[str] | None = None,
) -> Tree:
    """List the files at any depth below a folder.

    Hidden files and folders, and those that operating systems create, are not listed. Links to folders are followed,
    but not in circles.

    Args:
        root: The folder.
        is_image: Whether the file of this path is an image; ``None``: any installed reader decides.
        masks: Whether masks count as images.
        deep: Whether folders in the folder are entered.
        exclude: Files and folders whose path contains a match are not listed.

    Raises:
        DataError: A folder cannot be listed.
    """
    is_image = is_image or installed_readers().is_image
    images, archives, others = [], [], []
    folders: list[str] = []
    for prefix, below, names in _walk(root, "", frozenset() if deep else None):
        folders += [prefix + name for name in below if not (exclude and exclude.search(f"{prefix}{name}/"))]
        above = f"{root}/{prefix}"
        for name in names:
            path = prefix + name
            if exclude and exclude.search(path):
                continue
            if is_image(above + name):
                images.append(path)
            elif os.path.splitext(name)[1].lower() in _ARCHIVES and suffix_of(name) not in _BESIDE | _KNOWN.keys():  # noqa: PTH122
                archives.append(path)
            else:
                others.append(path)
    kept, left = (images, []) if masks else _without_masks(images)
    return Tree(root, *(tuple(sorted(each)) for each in (kept, left, archives, others, folders)))


def _walk(folder: Path | str, prefix: str, above: frozenset[str] | None) -> Iterator[tuple[str, list[str], list[str]]]:
    """Yield the prefix, the folders and the files of each folder.

    Args:
        folder: The folder.
        prefix: Put before the names in it.
        above: The folders above; ``None``: enter no folder.
    """
    here = os.path.realpath(folder)
    if above and here in above:
        return
    try:
        with os.scandir(folder) as entries:
            found = [e for e in entries if (name := e.name)[0] != "." and name.lower() not in _JUNK]
    except OSError as error:
        raise DataError(f"{folder} cannot be listed: {error.strerror}. Check the path and its permissions.") from error
    below = sorted(entry.name for entry in found if entry.is_dir())
    yield prefix, below, sorted(entry.name for entry in found if entry.is_file())
    if above is not None:
        for name in below:
            yield from _walk(f"{folder}/{name}", f"{prefix}{name}/", above | {here})


def _without_masks(images: Sequence[str]) -> tuple[list[str], list[str]]:
    """Separate images from masks.

    A file is a mask if its name is that of another image in the same folder with ``_mask``, ``_seg`` or the like after
    it. A folder holds masks if it is named like one, and either half of its files are named like images elsewhere, or a
    folder ``images`` lies beside it.
    """
    every = "\n".join(images).lower()
    if not any(hint in every for hint in _MASK_HINTS):  # a hundredth of the time of what follows, for a million images
        return list(images), []
    stems = {_stem(path) for path in images}
    by_folder: dict[str, list[str]] = defaultdict(list)
    for path in images:
        parts = path.split("/")[:-1]
        at = next((i for i, name in enumerate(parts) if MASK_WORDS & set(_words(name))), None)
        if at is not None:
            by_folder["/".join(parts[: at + 1])].append(path)
    doubtful = {path for paths in by_folder.values() for path in paths}
    names = {_stem(path).rpartition("/")[2] for path in images if path not in doubtful}
    parents = {folder for path in images if path not in doubtful for folder in _above(path)}
    left = {
        path
        for folder, paths in by_folder.items()
        if _pairs(paths, names) * 2 >= len(paths) or parents & set(_beside(folder))
        for path in paths
    }
    for path in images:
        folder, _, name = _stem(path).rpartition("/")
        base = mask_base(name)
        if base is not None and (f"{folder}/{base}" if folder else base) in stems:
            left.add(path)
    kept = [path for path in images if path not in left]
    return (kept, sorted(left)) if kept else (list(images), [])


def _pairs(paths: Sequence[str], names: set[str]) -> int:
    """Count masks whose name is that of an image, with or without a word for masks after it."""
    stems = [_stem(path).rpartition("/")[2] for path in paths]
    return sum(stem in names or mask_base(stem) in names for stem in stems)


def _beside(folder: str) -> list[str]:
    parent = folder.rpartition("/")[0]
    return [f"{parent}/{name}" if parent else name for name in ("images", "image", "imgs", "Images", "img")]


def _above(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:at]) for at in range(1, len(parts))]


def _words(name: str) -> list[str]:
    return re.split(r"[^a-z]+", name.lower())


def _stem(path: str) -> str:
    return path[: len(path) - len(suffix_of(path.rpartition("/")[2]))]
