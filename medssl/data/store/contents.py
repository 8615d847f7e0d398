"""One checksum of everything that determines the pixels of a dataset; it names the store.

The checksum depends on contents, not on times or paths: a copied folder uses the store of the original, but an edited
image does not. Reading every file at every start would be slow, so the checksum of a file is cached together with its
size and modification time.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import inspect
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from stat import S_ISREG
from typing import Any

from medssl.contracts import Dataset, Reader, Sample
from medssl.contracts.crossing.datasets import path_problems, text_problems
from medssl.errors import BreachError
from medssl.io.reading import read_json
from medssl.world.membership import cores

__all__ = ["content_key", "file_keys", "paths_of", "reader_key"]

#: A file modified less than this time before it was read may change again with the same modification time.
_SETTLED_NS = 2_000_000_000
_BUNDLE = 32  # files per thread at a time
_SMALL = 1 << 20  # bytes; smaller files are hashed in one read, in half the time


def paths_of(dataset: Dataset, samples: Sequence[Sample]) -> list[Path | None]:
    """Return the file of each sample, ``None`` for one without a file.

    Raises:
        BreachError: The dataset returned something else.
    """
    paths = [dataset.path(sample) for sample in samples]
    for sample, path in zip(samples, paths, strict=True):
        if problems := path_problems(path):
            raise BreachError(type(dataset), f"path() of '{sample.id:.200}'", problems)
    return paths


def content_key(
    dataset: Dataset, samples: Sequence[Sample], cache: Path, files: Sequence[Path | None] | None = None
) -> str | None:
    """Hash everything that determines the decoded images: class and options of the dataset, ids in order, contents.

    Args:
        dataset: Asked for :meth:`~medssl.contracts.Dataset.path` and :meth:`~medssl.contracts.Dataset.fingerprint`.
        samples: In the order of the store.
        cache: Folder that caches the checksums of files.
        files: Those of the samples, see :func:`paths_of`, if they are known already.

    Returns:
        64 hexadecimal digits; ``None`` if the dataset gives neither files nor a fingerprint; then the decoded pixels
        are needed.
    """
    if problems := text_problems(fingerprint := dataset.fingerprint()):
        raise BreachError(type(dataset), "fingerprint()", problems)
    files = paths_of(dataset, samples) if files is None else files
    paths = [None if path is None else str(path.absolute()) for path in files]
    if fingerprint is None and None in paths:
        return None
    hashes = _file_hashes({path for path in paths if path is not None}, dataset, cache)
    made_by = [_class_name(dataset), repr(dataset.config), fingerprint, *_reader_options(dataset, paths)]
    key = hashlib.sha256(json.dumps(made_by).encode())
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
    found = zip(samples, paths_of(dataset, samples), strict=True)
    paths = {sample.id: str(path.absolute()) for sample, path in found if path is not None}
    hashes = _file_hashes(set(paths.values()), dataset, cache)
    return {name: bytes.fromhex(hashes[path]) for name, path in paths.items() if hashes[path]}


def _reader_options(dataset: Dataset, paths: Sequence[str | None]) -> list[str]:
    """Return the options of the readers of these files that differ from their defaults."""
    used = dataset.readers.used_for(path for path in paths if path is not None)
    return [f"{_class_name(each)} {each.config!r}" for each in used if each.config != each.Config()]


def reader_key(dataset: Dataset, paths: Sequence[Path | None]) -> str:
    """Hash the source files of the code that reads these files: after an edit, the old pixels must not be used.

    Of a reader, the modules of its own package that it imports count too.
    """
    kind = type(dataset)
    readers: set[Callable[..., Any]] = {kind.read}
    if kind.read_reduced is not Dataset.read_reduced:
        readers.add(kind.read_reduced)
    try:
        files = dict.fromkeys(inspect.getfile(each) for each in sorted(readers, key=lambda each: each.__name__))
        for each in dataset.readers.used_for({path for path in paths if path is not None}):
            files |= dict.fromkeys(_sources(type(each).__module__, inspect.getfile(type(each))))
        source = b"".join(Path(file).read_bytes() for file in files)
    except (OSError, TypeError):  # the class was defined in an interpreter
        source = b""
    return hashlib.sha256(source).hexdigest()


def _sources(module: str, file: str) -> list[str]:
    """Return the file of a module, and those of the modules of its package that it imports, in order of their names."""
    package, waiting, found = module.partition(".")[0], [module], {module: file}
    while waiting:
        text = Path(found[waiting.pop()]).read_text(encoding="utf-8")
        for name in _imported(text, package):
            known = sys.modules.get(name)
            if name not in found and known is not None and known.__file__:
                found[name] = known.__file__
                waiting.append(name)
    return [file, *(found[name] for name in sorted(found) if name not in (module, package))]


def _imported(source: str, package: str) -> Iterator[str]:
    """Yield the names of modules of a package that a source may import."""
    for node in _statements(ast.parse(source).body):
        if isinstance(node, ast.ImportFrom) and node.level == 0 and (node.module or "").partition(".")[0] == package:
            yield str(node.module)
            yield from (f"{node.module}.{each.name}" for each in node.names)
        elif isinstance(node, ast.Import):
            yield from (each.name for each in node.names if each.name.partition(".")[0] == package)


def _statements(nodes: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """Yield statements and what they hold, without expressions: these are most of a source, and import nothing."""
    for node in nodes:
        yield node
        for part in ("body", "handlers", "orelse", "finalbody", "cases"):
            yield from _statements(getattr(node, part, ()))


def _class_name(plugin: Dataset | Reader) -> str:
    return f"{type(plugin).__module__}.{type(plugin).__qualname__}"


def _file_hashes(paths: set[str], dataset: Dataset, cache: Path) -> dict[str, str]:
    """Return the sha256 of each file (empty if it cannot be read), from the cache if size and time are unchanged."""
    place = hashlib.sha256(f"{_class_name(dataset)} {dataset.root.absolute()}".encode()).hexdigest()[:16]
    index = cache / "contents" / f"{place}.json"
    known = _load(index)
    names = _names(paths, dataset.root)
    stamps = {path: _stamp(path) for path in paths}
    hashes = {path: known[names[path]][2] for path in paths if known.get(names[path], [])[:2] == stamps[path] != []}
    unknown = sorted(paths - hashes.keys())
    if not unknown:
        return hashes
    bundles = [unknown[start : start + _BUNDLE] for start in range(0, len(unknown), _BUNDLE)]
    with ThreadPoolExecutor(cores()) as pool:
        for bundle, found in zip(bundles, pool.map(lambda some: [_hash(path) for path in some], bundles), strict=True):
            hashes |= dict(zip(bundle, found, strict=True))
    settled = time.time_ns() - _SETTLED_NS
    fresh = {
        names[path]: [*stamps[path], hashes[path]] for path in unknown if stamps[path] and stamps[path][1] < settled
    }
    _save(index, known | fresh)
    return hashes


def _names(paths: set[str], root: Path) -> dict[str, str]:
    """Name each file in the cache: below the folder of the dataset, else by a hash; the cache holds no whole path."""
    folder = f"{root.absolute()}{os.sep}"
    return {
        path: path[len(folder) :]
        if path.startswith(folder)
        else f"sha256:{hashlib.sha256(os.fsencode(path)).hexdigest()}"
        for path in paths
    }


def _stamp(path: str) -> list[int]:
    try:
        stat = os.stat(path)  # noqa: PTH116  (a third of the time of Path.stat, and this runs for every image)
    except OSError:
        return []
    return [stat.st_size, stat.st_mtime_ns]


def _hash(path: str) -> str:
    try:
        if not S_ISREG(os.stat(path).st_mode):  # noqa: PTH116  (as above); a named pipe would wait for a writer
            return ""
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123  (as above)
            if os.fstat(file.fileno()).st_size < _SMALL:
                return hashlib.sha256(file.read()).hexdigest()
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:  # decoding will also fail and name the file
        return ""


def _load(index: Path) -> dict[str, list[Any]]:
    try:
        known = read_json(index)
    except (OSError, ValueError):
        return {}
    if not isinstance(known, dict):
        return {}
    return {name: stamp for name, stamp in known.items() if not os.path.isabs(name)}  # noqa: PTH117  (as in _stamp)


def _save(index: Path, known: dict[str, list[Any]]) -> None:
    """Write the cache atomically; if the folder cannot be written, the next start is only slower."""
    with contextlib.suppress(OSError):
        index.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.NamedTemporaryFile("w", dir=index.parent, delete=False, encoding="utf-8") as file:
            json.dump(known, file)
        Path(file.name).replace(index)
