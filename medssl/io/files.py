"""Files that are written completely or not at all, and their checksums."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from medssl.errors import CheckpointError

__all__ = ["checksum", "read_header", "require_writable", "write_atomic", "write_atomic_with"]

_LONGEST_HEADER = 2**26  # bytes; an encoder's header has about 10,000, and 120 for each image it was trained on


def checksum(path: Path) -> str:
    """Return the sha256 of a file's content, in hexadecimal.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_header(path: Path) -> dict[str, str]:
    """Read the metadata entries of a safetensors file; empty for any other file."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            entries = json.loads(file.read(min(length, _LONGEST_HEADER))).get("__metadata__", {})
        return {str(name): str(value) for name, value in entries.items()}
    except (OSError, ValueError, AttributeError, RecursionError):
        return {}


def require_writable(path: Path) -> None:
    """Make sure that a file can be written, before the work that it will hold; make its folder where it is missing.

    Raises:
        CheckpointError: It is a folder, its folder cannot be made, or nothing can be written there.
    """
    if path.is_dir():
        raise CheckpointError(f"{path} cannot be written. It is a folder. Give the name of a file (--output).")
    probe = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        probe.touch()
    except OSError as error:
        raise CheckpointError(
            f"{path} cannot be written. {error.strerror or error}. Give a folder you may write to (--output)."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            probe.unlink()


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file atomically: a reader finds the old content or the new content, even after an interruption.

    Raises:
        CheckpointError: The disk is full or the folder cannot be written to; the previous file is unchanged.
    """
    write_atomic_with(path, lambda file: file.write(content))


def write_atomic_with(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file atomically through a function that writes to an open file.

    Args:
        path: The file; its folder must exist.
        write: Called once with a file open for writing bytes.

    Raises:
        CheckpointError: The disk is full or the folder cannot be written to; the previous file is unchanged.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        what = f"there is no space left to write {path}" if full else f"{path} cannot be written"
        kept = " The previous file is unchanged." if path.exists() else ""
        advice = (
            "Free some space and run the same command again"
            if full
            else "Give a folder that you can write to (--output)"
        )
        raise CheckpointError(f"{what}. {error.strerror or error}.{kept} {advice}.") from error
    finally:
        temporary.unlink(missing_ok=True)
