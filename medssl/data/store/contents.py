"""One checksum of everything that determines the pixels of a dataset; it names the store.

The checksum depends on contents, not on times or paths: a copied folder uses the store of the original, but an edited
image does not. Reading every file at every start would be slow, so the checksum of a file is cached together with its
size and modification time.
"""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import json
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from medssl.contracts import Dataset, Sample
from medssl.data.store.decoding import thread_count

__all__ = ["content_key", "file_keys", "reader_key"]

#: A file modified less than this time before it was read may change again with the same modification time.
_SETTLED_NS = 2_000_000_000
_BUNDLE = 32  # files per thread at a time
_SMALL = 1 << 20  # bytes; smaller files are hashed in one read, in half the time


def content_key(dataset: Dataset, samples: Sequence[Sample], cache: Path) -> str | None:
    """Hash everything that determines the decoded images: class and options of the dataset, ids in order, contents.

    Args:
        dataset: Asked for :meth:`~medssl.contracts.Dataset.path` and :meth:`~medssl.contracts.Dataset.fingerprint`.
        samples: In the order of the store.
        cache: Folder that caches the checksums of files.

    Returns:
        64 hexadecimal digits; ``None`` if the dataset gives neither files nor a fingerprint; then the decoded pixels
        are needed.
    """
    fingerprint = dataset.fingerprint()
    paths = [None if path is None else str(path.absolute()) for path in map(dataset.path, samples)]
    if fingerprint is None and None in paths:
        return None
    hashes = _file_hashes({path for path in paths if path is not None}, dataset, cache)
    key = hashlib.sha256(json.dumps([_class_name(dataset), repr(dataset.config), fingerprint]).encode())
    for sample, path in zip(samples, paths, strict=True):
        content = "" if path is None else hashes[path]
        key.update(f"{sample.id}\0{content}\n".encode(errors="surrogateescape"))
    return key.hexdigest()


def file_keys(dataset: Dataset, samples: Sequence[Sample], cache: Path) -> dict[str, bytes]:
    """Return the sha256 of each sample's file, 32 bytes, by the sample's id; samples without a file are left out.

    Args:
        dataset: Asked for :meth:`~medssl.contracts.Dataset.path`.
        samples: Of the dataset.
        cache: Folder that caches the checksums of files.
    """
    paths = {s.id: str(path.absolute()) for s in samples if (path := dataset.path(s)) is not None}
    hashes = _file_hashes(set(paths.values()), dataset, cache)
    return {name: bytes.fromhex(hashes[path]) for name, path in paths.items() if hashes[path]}


def reader_key(dataset: Dataset) -> str:
    """Hash the source files of the reading code: after an edit, the old pixels must not be used."""
    kind = type(dataset)
    readers: set[Callable[..., Any]] = {kind.read}
    if kind.read_reduced is not Dataset.read_reduced:
        readers.add(kind.read_reduced)
    try:
        files = dict.fromkeys(inspect.getfile(each) for each in sorted(readers, key=lambda each: each.__name__))
        source = b"".join(Path(file).read_bytes() for file in files)
    except (OSError, TypeError):  # the class was defined in an interpreter
        source = b""
    return hashlib.sha256(source).hexdigest()


def _class_name(dataset: Dataset) -> str:
    return f"{type(dataset).__module__}.{type(dataset).__qualname__}"


def _file_hashes(paths: set[str], dataset: Dataset, cache: Path) -> dict[str, str]:
    """Return the sha256 of each file (empty if it cannot be read), from the cache if size and time are unchanged."""
    place = hashlib.sha256(f"{_class_name(dataset)} {dataset.root.absolute()}".encode()).hexdigest()[:16]
    index = cache / "contents" / f"{place}.json"
    known = _load(index)
    stamps = {path: _stamp(path) for path in paths}
    hashes = {path: known[path][2] for path in paths if known.get(path, [])[:2] == stamps[path] != []}
    unknown = sorted(paths - hashes.keys())
    if not unknown:
        return hashes
    bundles = [unknown[start : start + _BUNDLE] for start in range(0, len(unknown), _BUNDLE)]
    with ThreadPoolExecutor(thread_count()) as pool:
        for bundle, found in zip(bundles, pool.map(lambda some: [_hash(path) for path in some], bundles), strict=True):
            hashes |= dict(zip(bundle, found, strict=True))
    settled = time.time_ns() - _SETTLED_NS
    fresh = {path: [*stamps[path], hashes[path]] for path in unknown if stamps[path] and stamps[path][1] < settled}
    _save(index, known | fresh)
    return hashes


def _stamp(path: str) -> list[int]:
    try:
        stat = os.stat(path)  # noqa: PTH116  (a third of the time of Path.stat, and this runs for every image)
    except OSError:
        return []
    return [stat.st_size, stat.st_mtime_ns]


def _hash(path: str) -> str:
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123  (as above)
            if os.fstat(file.fileno()).st_size < _SMALL:
                return hashlib.sha256(file.read()).hexdigest()
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:  # decoding will also fail and name the file
        return ""


def _load(index: Path) -> dict[str, list[Any]]:
    try:
        known = json.loads(index.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _save(index: Path, known: dict[str, list[Any]]) -> None:
    """Write the cache atomically; if the folder cannot be written, the next start is only slower."""
    with contextlib.suppress(OSError):
        index.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=index.parent, delete=False, encoding="utf-8") as file:
            json.dump(known, file)
        Path(file.name).replace(index)
