"""``header.json`` of a store: what its pixels are, with the checksums by which damage is noticed."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from medssl.io.files import checksum, write_atomic
from medssl.io.reading import read_json

__all__ = ["FORMAT", "read_store_header", "write_store_header"]

FORMAT = 1


def write_store_header(folder: Path, header: Mapping[str, Any]) -> None:
    """Write ``header.json`` with its own checksum, and with the checksum and the time of ``pixels``.

    Args:
        folder: Of the store; ``pixels`` is complete.
        header: All other entries.
    """
    pixels = folder / "pixels"
    sealed = {**header, "pixels_sha256": checksum(pixels), "pixels_time": pixels.stat().st_mtime_ns}
    write_atomic(folder / "header.json", json.dumps({**sealed, "sha256": _seal(sealed)}).encode(), private=True)


def read_store_header(folder: Path) -> dict[str, Any]:
    """Read what :func:`write_store_header` wrote, and compare it and ``pixels`` with the checksums.

    ``pixels`` is only read if its time differs from the recorded one, because a store may be larger than the memory;
    if it is right, it gets the recorded time.

    Raises:
        OSError: A file is missing or cannot be opened.
        ValueError, KeyError, TypeError, AttributeError: A file is damaged, or another version wrote it.
    """
    header: dict[str, Any] = read_json(folder / "header.json")
    if header.pop("sha256") != _seal(header):
        raise ValueError("the checksum of the header differs")
    pixels = folder / "pixels"
    size = sum(height * width for height, width in header["shapes"]) * header["channels"]
    if pixels.stat().st_size != size * np.dtype(header["dtype"]).itemsize:
        raise ValueError("the size of the pixels differs")
    if pixels.stat().st_mtime_ns != header["pixels_time"]:
        if checksum(pixels) != header["pixels_sha256"]:
            raise ValueError("the checksum of the pixels differs")
        with contextlib.suppress(OSError):
            os.utime(pixels, ns=(header["pixels_time"], header["pixels_time"]))
    return header


def _seal(header: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(header, sort_keys=True).encode()).hexdigest()
