"""Error messages for a full disk or a folder that cannot be written."""

from __future__ import annotations

import errno
from pathlib import Path

from medssl.errors import DataError

__all__ = ["disk_error"]


def disk_error(error: OSError, folder: Path, needed: int | None = None) -> DataError:
    """Return an error that says why a folder cannot be written, what to do, and how many bytes are needed, if known."""
    size = f" {needed:,} bytes are needed." if needed else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DataError(f"There is no space left in {folder}.{size} Free some space, or choose another data folder.")
    return DataError(f"The folder {folder} cannot be written: {error.strerror}.{size} Choose another data folder.")
