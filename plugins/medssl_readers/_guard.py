"""What a damaged file makes a library raise becomes an error that names the file."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

from medssl.errors import DataError, MedsslError
from medssl.tools import open_regular, require_pixels

__all__ = ["HeaderFile", "check_pixels", "damage_named", "size_of"]


_RUST = "pyo3_runtime"  # a decoder that is written in Rust panics with an exception that is no Exception
_MOST_READS = 400_000  # a CT of 2,000 frames with functional groups needs about half


@contextlib.contextmanager
def damage_named(path: Path, what: str) -> Iterator[None]:
    """Turn any exception into a :class:`DataError`. Its own text is left out, because it may quote the header.

    Args:
        path: The file.
        what: What it should be, with an article: ``a NIfTI file``.

    Raises:
        DataError: Something was raised that is no error of medssl.
    """
    try:
        yield
    except MedsslError:
        raise
    except BaseException as error:  # decoders and parsers raise anything for a damaged file
        if not isinstance(error, Exception) and type(error).__module__ != _RUST:
            raise
        reason = f": {error.strerror}" if isinstance(error, OSError) and error.strerror else ""
        raise DataError(
            f"{path} cannot be read as {what}{reason}. It is damaged, or another kind of file ({type(error).__name__})."
        ) from None


def size_of(path: Path) -> int:
    """Return the size of a regular file in bytes; nothing else is opened.

    Raises:
        OSError: It is a folder, a pipe, a socket or a device, or cannot be opened.
    """
    with open_regular(path) as file:
        return file.seek(0, 2)


class HeaderFile:
    """An open file for a parser that reads element after element: zeros without an end would keep it busy for hours.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._file = open_regular(path)
        self._reads = 0
        self.seek, self.tell, self.close, self.name = self._file.seek, self._file.tell, self._file.close, str(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read(self, size: int = -1) -> bytes:
        """Read bytes.

        Raises:
            ValueError: It was called more often than a header of any file needs.
        """
        self._reads += 1
        if self._reads > _MOST_READS:
            raise ValueError("the header has no end")
        return self._file.read(size)


def check_pixels(path: Path, shape: Sequence[int]) -> int:
    """Check the size of an image or a volume before it is decoded, see :func:`medssl.tools.require_pixels`.

    Args:
        path: The file.
        shape: Its pixels in each direction, as its header says.

    Returns:
        The size of the file in bytes.

    Raises:
        DataError: It is empty, too large, or far larger than its file can hold.
        OSError: See :func:`size_of`.
    """
    size = size_of(path)
    try:
        require_pixels(shape, size)
    except DataError as error:
        raise DataError(f"{path} cannot be used as an image: {error}") from error
    return size
