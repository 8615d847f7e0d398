"""Archives: zip and tar files with names, links, sizes and kinds of members that harm, then damaged as bytes."""

from __future__ import annotations

import gzip
import io
import random
import struct
import tarfile
import zipfile
from pathlib import Path
from unittest import mock

from fuzzing.mutating import NUMBERS, damage
from fuzzing.watching import FaultError, watched

USES = ("medssl.tools.unpacking", "bz2", "lzma")
"""Modules that the cases use."""

_FREE = 2**22  # bytes: the limit is smaller here, so that archives beyond it are made in no time
_NAMES = (
    *("a.png", "b/c.png", "b/d.png", "B/C.png", "a.png/", "./e.png", "f//g.png", "b", "taken", "taken/x"),
    *("../x", "b/../../x", "/x", "//x", "C:/x", "C:x", "\\\\host\\share\\x", "..\\x", "b\\..\\..\\x", "~/x", "$HOME/x"),
    *(
        "",
        ".",
        "..",
        "/",
        " ",
        ".hidden",
        "-rf",
        "a\nb",
        "a\x1b[2Jb",
        "a\x00b",
        "\u202egnp.a",
        "é",
        "é",
        "\U0001d518",
        "\udc80.png",
    ),
    *(
        "CON",
        "nul.png",
        "com1.txt",
        "a:b.png",
        "a.png.",
        "a.png ",
        "a?b",
        "a|b",
        "x" * 255,
        "x" * 256,
        "é" * 128,
        "x" * 70_000,
    ),
    *("/".join("abcdefgh" * 5), "/".join("a" * 70), "/".join(["x" * 200] * 22), "__MACOSX/a.png", "b/__MACOSX/x"),
)
_PLAIN = ("a.png", "b/c.png", "b/d.png", "e/f/g.txt", "h.csv")


def check(rng: random.Random, folder: Path) -> None:
    """Write an archive and unpack it.

    Raises:
        MedsslError: medssl refuses it.
    """
    from medssl.io import limits
    from medssl.tools import unpack

    target = folder / "target"
    target.mkdir()
    (target / "taken").write_text("mine")
    archive = folder / rng.choice(("a.zip", "a.tar", "a.tar.gz", "a.tgz", "a"))
    content = _zip(rng) if rng.random() < 0.5 else _tar(rng)
    if rng.random() < 0.35:
        content = damage(rng, content)
    archive.write_bytes(content)
    unpacked = False
    small = mock.patch.object(limits, "ARCHIVE_FREE", _FREE)
    try:
        with small, watched(target):
            paths = unpack(archive, target)
        unpacked = True
        for path in paths:
            if path.parent != target or not path.exists():
                raise FaultError(f"it returned {path}")
    finally:
        _require_whole(target, unpacked, max(_FREE, limits.ARCHIVE_FACTOR * len(content)))


def _require_whole(target: Path, unpacked: bool, most: int) -> None:
    """Refuse what an archive must not leave: a part of itself, special files, links, more bytes than the limit.

    Raises:
        FaultError: There is such a thing.
    """
    if (target / "taken").read_text() != "mine":
        raise FaultError("a file of the user was changed")
    total = 0
    for path in target.rglob("*"):
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise FaultError(f"{path} is no plain file")
        total += path.stat().st_size if path.is_file() else 0
    names = {path.name for path in target.iterdir()} - {"taken"}
    if total > most or (names and not unpacked) or any(name.startswith(".unpack-") for name in names):
        raise FaultError(f"{sorted(names)[:5]} of {total} bytes were left")


def _names(rng: random.Random) -> list[str]:
    count = rng.choice((0, 1, 2, 3, 8))
    names = [rng.choice(_NAMES if rng.random() < 0.3 else _PLAIN) for _ in range(count)]
    return names if rng.random() < 0.1 else list(dict.fromkeys(names))


def _content(rng: random.Random) -> bytes:
    way = rng.random()
    if way < 0.03:
        return bytes(rng.choice((_FREE // 2, _FREE + 1, 2**24)))
    return rng.randbytes(rng.choice((0, 1, 100, 3000)))


def _zip(rng: random.Random) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as container:
        for name in _names(rng):
            info = zipfile.ZipInfo("a", (2020, 1, 1, 0, 0, 0))
            info.filename = name.encode(errors="replace").decode()[:65_000]
            info.compress_type = rng.choice(
                (zipfile.ZIP_STORED, *[zipfile.ZIP_DEFLATED] * 3, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
            )
            kinds = (
                0o100644,
                0o100644,
                0o100644,
                0o104755,
                0o120777,
                0o010644,
                0o020644,
                0o060644,
                0o140644,
                0o040755,
                0,
            )
            info.external_attr = (rng.choice(kinds) if rng.random() < 0.3 else 0o100644) << 16
            if rng.random() < 0.05:
                info.extra = struct.pack("<HH", 1, 8) + b"\xff" * 8
            container.writestr(info, _content(rng))
        if rng.random() < 0.1:
            container.comment = rng.randbytes(100)
    content = bytearray(buffer.getvalue())
    if rng.random() < 0.3:
        _lie_in_zip(rng, content)
    if rng.random() < 0.03:  # members that overlap: a bomb without nested archives
        content = bytearray(_overlapping())
    return bytes(content)


def _lie_in_zip(rng: random.Random, content: bytearray) -> None:
    """Change sizes, checksums, flags or the offset of an entry of the central directory."""
    start = content.rfind(b"PK\x01\x02")
    if start < 0:
        return
    field, kind = rng.choice(((8, "H"), (10, "H"), (16, "I"), (20, "I"), (24, "I"), (28, "H"), (38, "I"), (42, "I")))
    struct.pack_into("<" + kind, content, start + field, rng.choice(NUMBERS) % 256 ** struct.calcsize(kind))


def _overlapping() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as container:
        container.writestr("a", bytes(2**22))
    content = buffer.getvalue()
    place, end = content.rfind(b"PK\x01\x02"), content.rfind(b"PK\x05\x06")
    entry, count = content[place:end], 200
    entries = b"".join(entry[:46] + bytes([97 + i % 26, 97 + i // 26]) for i in range(count))
    entries = entries.replace(entry[28:30] + entry[30:32], struct.pack("<HH", 2, 0), 0)
    fixed = bytearray()
    for i in range(count):
        one = bytearray(entry[:46]) + bytes([97 + i % 26, 97 + i // 26])
        struct.pack_into("<H", one, 28, 2)
        fixed += one
    tail = struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, count, count, len(fixed), place, 0)
    return content[:place] + bytes(fixed) + tail


def _tar(rng: random.Random) -> bytes:
    buffer = io.BytesIO()
    form = rng.choice((tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.GNU_FORMAT))
    with tarfile.open(fileobj=buffer, mode="w", format=form) as container:
        for name in _names(rng):
            info = tarfile.TarInfo(name)
            content = _content(rng)
            if rng.random() < 0.2:
                info.type = rng.choice(
                    (b"0", b"\0", b"1", b"2", b"3", b"4", b"5", b"6", b"7", b"S", b"g", b"x", b"L", b"K", b"Z")
                )
                info.linkname = rng.choice(("", "a.png", "../x", "/etc/passwd", "taken"))
            if form == tarfile.PAX_FORMAT and rng.random() < 0.3:
                key = rng.choice(
                    (
                        "path",
                        "size",
                        "linkpath",
                        "GNU.sparse.major",
                        "GNU.sparse.map",
                        "GNU.sparse.size",
                        "mtime",
                        "hdrcharset",
                        "GNU.sparse.name",
                        "uid",
                    )
                )
                info.pax_headers = {key: rng.choice(("", "x", "../x", "/x", "-1", "1e9", str(2**70), "a\0b", "0,1,2"))}
            info.size = len(content)
            info.mode = rng.choice((0o644, 0o4755, 0, 0o777))
            try:
                container.addfile(info, io.BytesIO(content))
            except (ValueError, UnicodeError):  # tarfile cannot write this name
                continue
    content = buffer.getvalue()
    if rng.random() < 0.2:
        content = _lie_in_tar(rng, content)
    way = rng.random()
    if way < 0.4:
        content = gzip.compress(content, 1)
    elif way < 0.5:
        import bz2
        import lzma

        content = rng.choice((bz2.compress, lzma.compress))(content)
    elif way < 0.55:
        content = gzip.compress(gzip.compress(content, 1), 1)
    return content


def _lie_in_tar(rng: random.Random, content: bytes) -> bytes:
    """Change a field of a header, and correct its checksum."""
    data = bytearray(content)
    place = 512 * rng.randrange(max(1, min(8, len(data) // 512)))
    at, size = rng.choice(((0, 100), (100, 8), (124, 12), (136, 12), (156, 1), (157, 100), (257, 8), (345, 155)))
    value = rng.choice((b"\xff" * size, b"\x80" + b"\x7f" * (size - 1), b"7" * size, rng.randbytes(size), bytes(size)))
    data[place + at : place + at + size] = value
    data[place + 148 : place + 156] = b" " * 8
    total = sum(data[place : place + 512])
    data[place + 148 : place + 156] = b"%06o\0 " % total
    return bytes(data)
