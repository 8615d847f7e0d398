"""Files that are written completely or not at all, and their checksums."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from medssl.errors import CheckpointError
from medssl.io.leases import confirm
from medssl.io.limits import HEADER_BYTES
from medssl.io.machines import machine, runs
from medssl.io.reading import open_regular, parse_json

__all__ = [
    "checksum",
    "clear_unfinished",
    "keep_private",
    "read_header",
    "require_writable",
    "unfinished",
    "write_atomic",
    "write_atomic_with",
]

_UNFINISHED = re.compile(r"\.(.+)\.(\d+)(?:-([0-9a-f]*))?\.tmp")  # earlier versions did not name the machine


def checksum(path: Path) -> str:
    """Return the sha256 of a file's content, in hexadecimal.

    Raises:
        OSError: It cannot be read.
    """
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def keep_private(path: Path) -> None:
    """Let only the owner read a file (mode 0600) or a folder (0700); what belongs to another user stays as it is."""
    with contextlib.suppress(OSError):
        path.chmod(0o700 if path.is_dir() else 0o600)


def read_header(path: Path) -> dict[str, str]:
    """Read the metadata entries of a safetensors file; empty for any other file."""
    try:
        with open_regular(path) as file:
            length = int.from_bytes(file.read(8), "little")
            entries = parse_json(file.read(min(length, HEADER_BYTES)).decode()).get("__metadata__", {})
        return {str(name): str(value) for name, value in entries.items()}
    except (OSError, ValueError, AttributeError):
        return {}


def unfinished(path: Path) -> Path:
    """Return the name of a file until it is complete; no other process on any machine uses it."""
    return path.with_name(f".{path.name}.{os.getpid()}-{machine()}.tmp")


def clear_unfinished(folder: Path, name: str = "", *, alone: bool = False) -> None:
    """Delete the temporary files and folders that killed processes left in a folder, not those of running ones.

    Args:
        folder: The folder; it need not exist.
        name: Of the file whose temporary files are deleted; empty: those of all files.
        alone: Whether this process has the lease of the folder; then what other machines left is deleted too.
    """
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            found = _UNFINISHED.fullmatch(path.name)
            here = found is not None and found[3] in (None, machine())
            ours = found is not None and name in ("", found[1])
            if found and ours and (not runs(int(found[2])) if here else alone):
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)


def require_writable(path: Path) -> None:
    """Make sure that a file can be written, before the work that it will hold; make its folder where it is missing.

    Raises:
        CheckpointError: It is a folder, its folder cannot be made, or nothing can be written there.
    """
    if path.is_dir():
        raise CheckpointError(f"{path} cannot be written. It is a folder. Give the name of a file (--output).")
    probe = unfinished(path)
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


def write_atomic(path: Path, content: bytes, *, private: bool = False) -> None:
    """Write a file atomically: a reader finds the old content or the new content, even after an interruption.

    Args:
        path: The file; its folder must exist.
        content: Its content.
        private: Only its owner may read it (mode 0600).

    Raises:
        CheckpointError: The disk is full or the folder cannot be written to; the previous file is unchanged.
    """
    write_atomic_with(path, lambda file: file.write(content), private=private)


def write_atomic_with(
    path: Path, write: Callable[[BinaryIO], object], *, private: bool = False, keep: Path | None = None
) -> None:
    """Write a file atomically through a function that writes to an open file.

    What killed processes left of the same file is deleted: most folders have no other moment for it.

    Args:
        path: The file; its folder must exist.
        write: Called once with a file open for writing bytes.
        private: Only its owner may read it (mode 0600; on Windows the rights of the folder hold).
        keep: The new name of the file that was at ``path`` before; ``None``: it is replaced. After an interruption
            between the two renames, only the file of this name exists.

    Raises:
        CheckpointError: The disk is full or the folder cannot be written to; the previous file is unchanged.
        LeaseLostError: The folder's lease was lost.
    """
    temporary = unfinished(path)
    try:
        clear_unfinished(path.parent, path.name)
        temporary.unlink(missing_ok=True)  # an earlier one may have other rights
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        with os.fdopen(os.open(temporary, flags, 0o600 if private else 0o666), "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        confirm(path)
        if keep is not None and path.exists():
            path.replace(keep)
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
