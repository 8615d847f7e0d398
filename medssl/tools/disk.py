"""What to say when a disk takes no more."""

from __future__ import annotations

import errno
from pathlib import Path

from medssl.errors import DataError

__all__ = ["disk_error"]


def disk_error(error: OSError, folder: Path, needed: int | None = None) -> DataError:
    """Say why nothing can be written to a folder, what to do, and how many bytes are needed, where that is known."""
    size = f" {needed:,} bytes are needed." if needed else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DataError(f"There is no space left in {folder}.{size} Free some, or choose another data folder.")
    return DataError(f"Nothing can be written to {folder}: {error.strerror}.{size} Choose another data folder.")
