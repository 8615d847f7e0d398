"""Reads files that may be damaged or hostile: only regular files, within limits, and with two kinds of errors.

Every function raises :class:`OSError` for a file that cannot be opened and :class:`ValueError` for one whose content is
not what it should be, so a caller needs no list of the errors of each library. The limits are in
:mod:`medssl.io.limits`.
"""

from __future__ import annotations

import errno
import io
import json
import os
import stat
import tokenize
import zipfile
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from medssl.io import limits

if TYPE_CHECKING:
    import numpy as np
    import yaml

__all__ = [
    "check_zip",
    "open_regular",
    "parse_json",
    "parse_yaml",
    "read_content",
    "read_json",
    "read_npz",
    "read_table_file",
    "read_text",
    "read_yaml",
]

_SPECIAL = {
    stat.S_IFDIR: "it is a folder",
    stat.S_IFIFO: "it is a named pipe",
    stat.S_IFSOCK: "it is a socket",
    stat.S_IFCHR: "it is a device",
    stat.S_IFBLK: "it is a device",
}


def open_regular(path: Path | str) -> io.BufferedReader:
    """Open a regular file for reading bytes.

    A named pipe would wait for a writer forever, and some devices never end; neither is opened.

    Raises:
        OSError: It does not exist, cannot be opened, or is not a regular file.
    """
    _require_regular(os.stat(path).st_mode, path)  # noqa: PTH116  (for every image: Path.stat takes three times as long)
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    file = os.fdopen(os.open(path, flags), "rb")
    try:
        _require_regular(os.fstat(file.fileno()).st_mode, path)  # it may have been replaced since
    except OSError:
        file.close()
        raise
    return file


def _require_regular(mode: int, path: Path | str) -> None:
    if not stat.S_ISREG(mode):
        reason = _SPECIAL.get(stat.S_IFMT(mode), "it is not a regular file")
        raise OSError(errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL, reason, str(path))


def read_content(path: Path | str, limit: int) -> bytes:
    """Read a whole file.

    Args:
        path: The file.
        limit: Largest allowed number of bytes.

    Raises:
        OSError: See :func:`open_regular`.
        ValueError: It is larger.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > limit:
            raise ValueError(f"it has {size:,} bytes, and {limit:,} are the limit")
        return file.read(size + 1)  # a file that grows meanwhile is not read without an end


def read_text(path: Path | str, limit: int = limits.JSON_BYTES) -> str:
    """Read a text in UTF-8.

    Raises:
        OSError: See :func:`open_regular`.
        ValueError: It is larger than the limit, or not UTF-8.
    """
    try:
        return read_content(path, limit).decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"it is not text in UTF-8 (byte {error.start})") from error


# -------------------------------------------------------------------------------------------------------------- JSON


def read_json(path: Path | str) -> Any:
    """Read a JSON file.

    Raises:
        OSError: See :func:`open_regular`.
        ValueError: It is too large, not UTF-8, not JSON, or nested too deeply.
    """
    return parse_json(read_text(path))


def parse_json(text: str) -> Any:
    """Read JSON.

    Raises:
        ValueError: It is not JSON, or nested too deeply.
    """
    try:
        values = json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    except json.JSONDecodeError as error:
        what = "it is empty" if not text.strip() else f"it is not JSON: {error}"
        raise ValueError(what) from error
    _require_shallow(values)
    return values


def _require_shallow(values: Any) -> None:
    level, depth = [values], 0
    while level:
        if depth > limits.TEXT_DEPTH:
            raise ValueError(f"it is nested more than {limits.TEXT_DEPTH} deep")
        inside: list[Any] = []
        for value in level:
            found = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
            inside.extend(each for each in found if isinstance(each, dict | list))
        level, depth = inside, depth + 1


# -------------------------------------------------------------------------------------------------------------- YAML


def read_yaml(path: Path | str) -> Any:
    """Read a YAML file of plain values.

    Raises:
        OSError: See :func:`open_regular`.
        ValueError: It is too large, not UTF-8, not YAML, or outside the limits of :func:`parse_yaml`.
    """
    return parse_yaml(read_text(path, limits.YAML_BYTES))


def parse_yaml(text: str, loader: type[yaml.SafeLoader] | None = None) -> Any:
    """Read YAML of plain values.

    The text is first read as a stream of events, because the values of a few aliases can be larger than the memory.

    Args:
        text: The text.
        loader: A subclass of yaml's safe loaders; ``None``: the safe loader.

    Raises:
        ValueError: It is not YAML, is nested too deeply, has too many values, or an alias contains itself.
    """
    import yaml  # noqa: PLC0415  (a tenth of a second: not for those who read no YAML)

    events: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's is six times as fast
    try:
        _require_small(yaml.parse(text, Loader=events))
        return yaml.load(text, Loader=loader or events)  # nosec B506 # a safe loader, or a subclass of one
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error
    except (RecursionError, TypeError, OverflowError, AttributeError, KeyError, IndexError) as error:
        raise ValueError(f"it has a value that cannot be read ({type(error).__name__})") from error


def _require_small(events: Any) -> None:
    """Count the values, each alias as what it stands for.

    Raises:
        ValueError: There are too many, they are nested too deeply, or an alias contains itself.
    """
    import yaml  # noqa: PLC0415

    total = 0
    known: dict[str, int] = {}  # anchor -> number of values
    opened: list[tuple[str | None, int]] = []  # the collections around this event: anchor, total before
    for event in events:
        if isinstance(event, yaml.ScalarEvent):
            if not event.style and len(event.value) > limits.NUMBER_CHARACTERS:
                raise ValueError(f"it has an unquoted value of more than {limits.NUMBER_CHARACTERS:,} characters")
            total += 1
            known[event.anchor or ""] = 1
        elif isinstance(event, yaml.AliasEvent):
            if any(anchor == event.anchor for anchor, _ in opened):
                raise ValueError(f"the alias '{event.anchor:.40}' contains itself")
            total += known.get(event.anchor or "", 1)
        elif isinstance(event, yaml.CollectionStartEvent):
            opened.append((event.anchor, total))
            total += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = opened.pop()
            known[anchor or ""] = total - before
        if total > limits.YAML_NODES:
            raise ValueError(f"it has more than {limits.YAML_NODES:,} values")
        if len(opened) > limits.TEXT_DEPTH:
            raise ValueError(f"it is nested more than {limits.TEXT_DEPTH} deep")


# ------------------------------------------------------------------------------------------------------------ tables


def read_table_file(path: Path | str) -> bytes:
    """Read the file of a table: text, or a workbook (which is a zip file) within the same limit when unpacked.

    Raises:
        OSError: See :func:`open_regular`.
        ValueError: It is larger than ``TABLE_BYTES``.
    """
    content = read_content(path, limits.TABLE_BYTES)
    if content.startswith(b"PK\x03\x04"):
        try:
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                unpacked = sum(info.file_size for info in archive.infolist())
        except _DAMAGED as error:
            raise ValueError(f"it is damaged: {str(error) or type(error).__name__}") from error
        if unpacked > limits.TABLE_BYTES:
            raise ValueError(f"it unpacks to {unpacked:,} bytes, and {limits.TABLE_BYTES:,} are the limit")
    return content


# ------------------------------------------------------------------------------------------------------------ arrays


def read_npz(path: Path | str, names: Collection[str] | None = None) -> dict[str, np.ndarray[Any, Any]]:
    """Read arrays of an ``.npz`` file. Their checksums, which the format contains, are checked.

    Args:
        path: The file.
        names: The arrays to read, as far as the file has them; ``None``: all.

    Raises:
        OSError: See :func:`open_regular`.
        ValueError: It is damaged, contains Python objects, or a header claims more than the file holds.
    """
    with open_regular(path) as file:
        try:
            with zipfile.ZipFile(file) as archive:
                _require_plausible(archive, os.fstat(file.fileno()).st_size)
                members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
                return {name: _array(archive, info) for name, info in members.items() if names is None or name in names}
        except _DAMAGED as error:
            raise ValueError(f"it is damaged: {str(error) or type(error).__name__}") from error


#: What zipfile, zlib and numpy raise for damaged content.
_DAMAGED = (
    ValueError,
    OSError,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    KeyError,
    TypeError,
    SyntaxError,
    RuntimeError,
    IndexError,
    OverflowError,
    MemoryError,
    AttributeError,
)


def _require_plausible(archive: zipfile.ZipFile, size: int) -> None:
    """Refuse members whose claimed sizes do not fit into the file.

    Raises:
        ValueError: They do not.
    """
    names = [info.filename for info in archive.infolist()]
    if len(set(names)) != len(names):
        raise ValueError("it contains a name twice")
    for info in archive.infolist():
        factor = 1 if info.compress_type == zipfile.ZIP_STORED else limits.DEFLATE_FACTOR
        if info.compress_size > size or info.file_size > info.compress_size * factor:
            raise ValueError(f"'{info.filename:.80}' claims {info.file_size:,} bytes, which do not fit into the file")
    if sum(info.file_size for info in archive.infolist()) > limits.ARRAY_BYTES:
        raise ValueError(f"its arrays have more than {limits.ARRAY_BYTES:,} bytes")


def _array(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray[Any, Any]:
    from numpy.lib import format as npy  # noqa: PLC0415  (not for those who read no arrays)

    with archive.open(info) as member:
        shape, dtype = _array_header(member)
    claimed = dtype.itemsize
    for length in shape:
        claimed *= max(length, 0)
    if dtype.hasobject or claimed > info.file_size:
        what = "Python objects" if dtype.hasobject else f"{claimed:,} bytes, which do not fit into the file"
        raise ValueError(f"the array '{info.filename:.80}' claims {what}")
    with archive.open(info) as member:
        array = npy.read_array(member, allow_pickle=False)
        if member.read(1):
            raise ValueError(f"the array '{info.filename:.80}' has more bytes than its shape")
    return array


def _array_header(member: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    from numpy.lib import format as npy  # noqa: PLC0415

    version = npy.read_magic(member)
    shape, _, dtype = npy.read_array_header_1_0(member) if version == (1, 0) else npy.read_array_header_2_0(member)
    return shape, dtype


def check_zip(path: Path) -> None:
    """Check the checksums of every member of a zip file, as ``torch.save`` writes one.

    Raises:
        OSError: See :func:`open_regular`.
        ValueError: It is not a zip file, or a checksum differs.
    """
    with open_regular(path) as file:
        try:
            with zipfile.ZipFile(file) as archive:
                _require_plausible(archive, os.fstat(file.fileno()).st_size)
                bad = archive.testzip()
        except _DAMAGED as error:
            raise ValueError(f"it is damaged: {str(error) or type(error).__name__}") from error
    if bad is not None:
        raise ValueError(f"it is damaged: the checksum of {bad:.80} differs")
