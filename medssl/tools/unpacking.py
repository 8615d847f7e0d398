"""Unpacks an archive completely or not at all; links and names outside the folder are errors."""

from __future__ import annotations

import lzma
import os
import re
import stat
import struct
import tarfile
import tempfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING

from medssl.errors import DataError, shorten
from medssl.io import limits
from medssl.io.plain_text import is_device
from medssl.io.reading import open_regular
from medssl.tools.disk import disk_error

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["unpack"]

_CHUNK = 1 << 18
_WINDOWS = os.name == "nt"
_WINDOWS_REFUSES = re.compile(r'[<>:"|?*\x00-\x1f]|[ .]$')


def unpack(archive: str | Path, directory: str | Path) -> tuple[Path, ...]:
    """Unpack a zip or tar file (plain, gzip, bzip2, xz) into ``directory``, completely or not at all.

    The files are unpacked to a hidden folder next to the destination and moved when complete. Folders ``__MACOSX``,
    which contain macOS metadata under the names of the images, are left out. Permissions and times are not restored.

    Args:
        archive: The file.
        directory: Folder for its content; created if missing.

    Returns:
        The new paths in ``directory``, one for each top-level name of the archive, sorted.

    Raises:
        DataError: The archive is damaged or has another format, contains a link or a name outside its folder, one of
            its top-level names already exists in ``directory``, or the disk is full. Then no files are left behind.
    """
    archive, directory = Path(archive), Path(directory)
    if not archive.is_file():
        raise DataError(f"The file {archive} does not exist. Download it first.")
    budget = _Budget(archive)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".unpack-", dir=directory) as temporary:
            for name, content in _members(archive):
                target = Path(temporary, *name.parts)
                target.parent.mkdir(parents=True, exist_ok=True)
                with content, target.open("xb") as file:  # x: a second member of this name is an error
                    while chunk := content.read(_CHUNK):
                        budget.spend(len(chunk))
                        file.write(chunk)
            return _move_in(sorted(Path(temporary).iterdir()), directory, archive)
    except FileExistsError as error:
        raise DataError(f"{archive} contains a name twice: {error.filename}. Do not trust this archive.") from error
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, *_MALFORMED) as error:
        raise DataError(f"{archive} is damaged or not an archive: {error}. Delete it and download it again.") from error
    except RuntimeError as error:  # a password, or a compression that zipfile does not know
        raise DataError(f"{archive} cannot be unpacked here: {error}. Unpack it by hand into {directory}.") from error
    except OSError as error:
        if error.errno is None:  # gzip and bzip2 raise this for damaged data
            raise DataError(f"{archive} is damaged: {error}. Delete it and download it again.") from error
        raise disk_error(error, directory) from error


class _Budget:
    """The number of bytes that an archive may still unpack to.

    A few kilobytes can unpack to terabytes. The unpacked size is limited by that of the archive, unless both are small.
    """

    def __init__(self, archive: Path) -> None:
        self._archive = archive
        self._size = archive.stat().st_size
        self._left = min(limits.ARCHIVE_BYTES, max(limits.ARCHIVE_FREE, limits.ARCHIVE_FACTOR * self._size))

    def spend(self, count: int) -> None:
        """Count unpacked bytes.

        Raises:
            DataError: They are more than an archive of this size may have.
        """
        self._left -= count
        if self._left < 0:
            raise DataError(
                f"{self._archive} has {self._size:,} bytes and unpacks to more than {limits.ARCHIVE_FACTOR} times as "
                "much, as archives do that are made to fill a disk. Unpack it by hand if you trust it."
            )


#: What zipfile and tarfile raise for malformed headers, besides their own errors.
_MALFORMED = (ValueError, struct.error, IndexError, KeyError, TypeError, OverflowError, AttributeError, MemoryError)


def _members(archive: Path) -> Iterator[tuple[PurePosixPath, IO[bytes]]]:
    """Yield the checked name and the content of every file, in the archive's order."""
    for count, (name, content) in enumerate(_found(archive)):
        if count > limits.ARCHIVE_MEMBERS:
            raise DataError(f"{archive} contains more than {limits.ARCHIVE_MEMBERS:,} files. Unpack it by hand.")
        if content is not None and "__MACOSX" not in name.parts:
            yield name, content


def _found(archive: Path) -> Iterator[tuple[PurePosixPath, IO[bytes] | None]]:
    """Yield the checked name of every member, and the content of files."""
    if zipfile.is_zipfile(archive):
        with open_regular(archive) as opened, zipfile.ZipFile(opened) as container:
            for info in container.infolist():
                name = _safe_name(info.filename, archive)
                if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
                    raise DataError(f"{archive} contains a link, '{info.filename}'. Unpack it by hand if you trust it.")
                yield name, None if info.is_dir() else container.open(info)
        return
    with open_regular(archive) as opened, tarfile.open(fileobj=opened) as tar:
        for member in tar:
            name = _safe_name(member.name, archive)
            if not (member.isfile() or member.isdir()) or member.issparse():
                what = "a sparse file" if member.issparse() else "a link"
                raise DataError(f"{archive} contains {what}, '{member.name}'. Unpack it by hand if you trust it.")
            yield name, tar.extractfile(member)


def _safe_name(name: str, archive: Path) -> PurePosixPath:
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in (path.parts or ("",))[0]:
        raise DataError(f"{archive} contains '{name:.200}', which is outside its folder. Do not trust this archive.")
    if _WINDOWS and (bad := [part for part in path.parts if _WINDOWS_REFUSES.search(part) or is_device(part)]):
        raise DataError(
            f"{archive} contains the name '{bad[0]:.80}', which Windows does not allow. Unpack it on another system or "
            "by hand under another name."
        )
    encoded = [part.encode(errors="surrogateescape") for part in path.parts]
    long = any(len(part) > limits.NAME_BYTES for part in encoded) or sum(map(len, encoded)) > limits.PATH_BYTES
    if not encoded or "\0" in name or long or len(encoded) > limits.PATH_DEPTH:
        raise DataError(
            f"{archive} contains the name '{name[:60]!r:.80}', which no file can have: it is empty, too long, too "
            "deep, or has a null character. Delete the archive and download it again."
        )
    return path


def _move_in(entries: list[Path], directory: Path, archive: Path) -> tuple[Path, ...]:
    taken = [entry.name for entry in entries if (directory / entry.name).exists()]
    if taken:
        raise DataError(
            f"{archive} contains {shorten(taken)}, which already exists in {directory}. Nothing was changed. "
            "Move it away, or delete it if it is incomplete, and run the same command again."
        )
    return tuple(entry.rename(directory / entry.name) for entry in entries)
