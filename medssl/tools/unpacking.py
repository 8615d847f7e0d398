"""Unpacks an archive completely or not at all; links and names outside the folder are errors."""

from __future__ import annotations

import lzma
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING

from medssl.errors import DataError
from medssl.tools.disk import disk_error

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["unpack"]

_CHUNK = 1 << 18


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
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".unpack-", dir=directory) as temporary:
            for name, content in _members(archive):
                target = Path(temporary, *name.parts)
                target.parent.mkdir(parents=True, exist_ok=True)
                with content, target.open("wb") as file:
                    shutil.copyfileobj(content, file, _CHUNK)
            return _move_in(sorted(Path(temporary).iterdir()), directory, archive)
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError) as error:
        raise DataError(f"{archive} is damaged or not an archive: {error}. Delete it and download it again.") from error
    except (RuntimeError, NotImplementedError) as error:  # a password, or a compression that zipfile does not know
        raise DataError(f"{archive} cannot be unpacked here: {error}. Unpack it by hand into {directory}.") from error
    except OSError as error:
        if error.errno is None:  # gzip and bzip2 raise this for damaged data
            raise DataError(f"{archive} is damaged: {error}. Delete it and download it again.") from error
        raise disk_error(error, directory) from error


def _members(archive: Path) -> Iterator[tuple[PurePosixPath, IO[bytes]]]:
    """Yield the checked name and the content of every file, in the archive's order."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as container:
            for info in container.infolist():
                name = _safe_name(info.filename, archive)
                if not info.is_dir() and "__MACOSX" not in name.parts:
                    yield name, container.open(info)
        return
    with tarfile.open(archive) as tar:
        for member in tar:
            name = _safe_name(member.name, archive)
            if not (member.isfile() or member.isdir()):
                raise DataError(f"{archive} contains a link, '{member.name}'. Unpack it by hand if you trust it.")
            content = tar.extractfile(member)
            if content is not None and "__MACOSX" not in name.parts:
                yield name, content


def _safe_name(name: str, archive: Path) -> PurePosixPath:
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in (path.parts or ("",))[0]:
        raise DataError(f"{archive} contains '{name}', which is outside its folder. Do not trust this archive.")
    return path


def _move_in(entries: list[Path], directory: Path, archive: Path) -> tuple[Path, ...]:
    taken = [entry.name for entry in entries if (directory / entry.name).exists()]
    if taken:
        raise DataError(
            f"{archive} contains {', '.join(taken)}, which already exists in {directory}. Nothing was changed. "
            "Move it away, or delete it if it is incomplete, and run the same command again."
        )
    return tuple(entry.rename(directory / entry.name) for entry in entries)
