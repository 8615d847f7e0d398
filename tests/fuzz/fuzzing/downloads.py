"""Downloads from a server on this machine that breaks off, lies about sizes, redirects, and sends other things."""

from __future__ import annotations

import functools
import hashlib
import random
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

from fuzzing.mutating import damage
from fuzzing.watching import FaultError, watched

USES = ("medssl.tools.downloading",)
"""Modules that the cases use."""

_CONTENT = random.Random(0).randbytes(50_000)
_SHORT = 2**19  # bytes: the limits of a download are smaller here, so that a test of them takes no time
_FILES = (
    "a.bin",
    "a.bin",
    "a.bin",
    "a.bin",
    "",
    ".",
    "..",
    "../x",
    "/x",
    "a/b",
    "a\\b",
    "a:b",
    "x" * 255,
    "x" * 200,
    "a\0b",
    "é",
    "CON",
    "\udc80",
)


def check(rng: random.Random, folder: Path) -> None:
    """Download one file.

    Raises:
        MedsslError: medssl refuses it.
    """
    from medssl.io import limits
    from medssl.tools import Source, download, downloading

    target = folder / "target"
    target.mkdir()
    server = _server()
    server.plan = _Plan(rng)
    size = rng.choice((None, len(_CONTENT), len(_CONTENT), len(_CONTENT), 0, 1, 10**15))
    right = hashlib.sha256(_CONTENT).hexdigest()
    sha256 = rng.choice((None, right, right, right.upper(), "0" * 64, "x", ""))
    md5 = rng.choice((None, None, hashlib.md5(_CONTENT).hexdigest(), "y"))
    name = rng.choice(_FILES) if rng.random() < 0.2 else "a.bin"
    address = f"http://127.0.0.1:{server.port}/a"
    if rng.random() < 0.05:
        address = rng.choice(
            (
                "",
                "x",
                "file:///etc/hostname",
                "ftp://127.0.0.1:1/a",
                "http://",
                "http://127.0.0.1:1/a",
                "http://[::1",
                "http://127.0.0.1:99999/",
                f"http://127.0.0.1:{server.port}/\x00 é",
            )
        )
    source = Source(file=name, url=address, bytes=size, sha256=sha256, md5=md5)
    if rng.random() < 0.3:
        (target / "a.bin.part").write_bytes(rng.choice((_CONTENT[:1000], _CONTENT, _CONTENT + b"x", b"other", b"")))
    if rng.random() < 0.1:
        (target / "a.bin.sha256").write_bytes(rng.choice((b"", b"x", b"\xff\xfe", b"0" * 64 + b"  a.bin\n")))
    small = mock.patch.multiple(limits, DOWNLOAD_BYTES=_SHORT, DOWNLOAD_FREE=_SHORT)
    quick = mock.patch.multiple(downloading, _PAUSE=0.0, _TIMEOUT=(1, 0.3), _TRIES=3)
    with small, quick:
        _twice(source, target, right, download)


def _twice(source: object, target: Path, right: str, download: Callable[..., Path]) -> None:
    for _ in range(2):  # the second call resumes, or finds the file
        with watched(target):
            path = download(source, target, announce=len)
        if path.parent != target or not path.is_file():
            raise FaultError(f"it returned {path}")
        wanted = getattr(source, "sha256", None)
        if wanted and hashlib.sha256(path.read_bytes()).hexdigest() != wanted.lower():
            raise FaultError("a file with another checksum was accepted")
        if path.stat().st_size > 2 * _SHORT + len(_CONTENT):
            raise FaultError("a file beyond the limit was accepted")


class _Plan:
    """What the server answers, one request after the other."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._lock = threading.Lock()

    def answer(self, request: bytes, port: int) -> tuple[list[bytes], float]:
        """Return the pieces to send, and the seconds between them."""
        with self._lock:
            answer = _right_answer(self._rng, request)
            self._rng.choice(_LIES)(self._rng, answer, port)
        head = _head(answer.status, answer.headers)
        head = damage(self._rng, head) if answer.damaged else head
        return answer.pieces or [head, answer.body], answer.pause


@dataclass
class _Answer:
    status: bytes
    headers: dict[bytes, bytes]
    body: bytes
    start: int
    pieces: list[bytes] = field(default_factory=list)
    pause: float = 0.0
    damaged: bool = False


def _right_answer(rng: random.Random, request: bytes) -> _Answer:
    start = 0
    if b"range: bytes=" in request.lower():
        start = int(request.lower().split(b"range: bytes=")[1].split(b"-")[0])
    resumes = 0 < start < len(_CONTENT) and rng.random() < 0.8
    body = _CONTENT[start:] if resumes else _CONTENT
    headers = {b"Content-Length": b"%d" % len(body)}
    if resumes:
        headers[b"Content-Range"] = b"bytes %d-%d/%d" % (start, len(_CONTENT) - 1, len(_CONTENT))
    return _Answer(b"206 Partial Content" if resumes else b"200 OK", headers, body, start)


def _tell_the_truth(rng: random.Random, answer: _Answer, port: int) -> None:
    del rng, answer, port


def _break_off(rng: random.Random, answer: _Answer, port: int) -> None:
    answer.body = answer.body[: rng.choice((0, 1, 1000, 40_000))]


def _lie_on_length(rng: random.Random, answer: _Answer, port: int) -> None:
    answer.headers[b"Content-Length"] = rng.choice((b"0", b"-1", b"x", b"9" * 20, b"1", b"10", b"1,2", b""))


def _redirect(rng: random.Random, answer: _Answer, port: int) -> None:
    own = b"http://127.0.0.1:%d/b" % port
    others = (b"/a", b"", b"file:///etc/passwd", b"//", b"/../../x", b"\xff", b"ftp://x/", b"http://[", b"x" * 5000)
    answer.status = rng.choice((b"301 Moved", b"302 Found", b"307 Temporary", b"308 Permanent"))
    answer.headers[b"Location"] = rng.choice((own, own, b"http://127.0.0.1:1/", *others))


def _refuse(rng: random.Random, answer: _Answer, port: int) -> None:
    statuses = (b"204 None", b"404 No", b"429 Slow", b"500 Bad", b"503 Wait", b"416 Range", b"206 Partial", b"304 Same")
    answer.status = rng.choice((*statuses, b"999 ?", b"100 Continue", b"0 x"))
    if rng.random() < 0.5:
        places = (
            b"bytes */%d" % answer.start,
            b"bytes %d-" % answer.start,
            b"bytes 5-9/10",
            b"x",
            b"",
            b"bytes */9999999",
        )
        answer.headers[b"Content-Range"] = rng.choice(places)


def _encode(rng: random.Random, answer: _Answer, port: int) -> None:
    answer.headers[b"Content-Encoding"] = rng.choice((b"gzip", b"deflate", b"br", b"x", b"identity, gzip"))


def _in_chunks(rng: random.Random, answer: _Answer, port: int) -> None:
    del answer.headers[b"Content-Length"]
    answer.headers[b"Transfer-Encoding"] = rng.choice((b"chunked", b"chunked", b"chunked, chunked", b"x"))
    whole = b"%x\r\n" % len(answer.body) + answer.body + b"\r\n0\r\n\r\n"
    answer.body = rng.choice((whole, whole, b"ffffffffffff\r\n" + answer.body, b"-1\r\nx", b"zz\r\n", b"5\r\nabc"))


def _without_end(rng: random.Random, answer: _Answer, port: int) -> None:
    del answer.headers[b"Content-Length"]
    answer.body = b"\0" * (4 * _SHORT)


def _odd_header(rng: random.Random, answer: _Answer, port: int) -> None:
    dates = (b"Fri, 31 Dec 9999999 00:00:00 GMT", b"Thu, 01 Jan 1960 00:00:00 GMT")
    name = rng.choice((b"Last-Modified", b"Last-Modified", b"Content-Type", b"Set-Cookie", b"Date"))
    answer.headers[name] = rng.choice((*dates, b"x" * 3000, b"\xff\xfe", b"", b"text/html", b"a=b; expires=x"))
    if rng.random() < 0.2:
        answer.headers |= {b"X-%d" % i: b"y" * 100 for i in range(200)}


def _damage_head(rng: random.Random, answer: _Answer, port: int) -> None:
    answer.damaged = True


def _other_protocol(rng: random.Random, answer: _Answer, port: int) -> None:
    answer.pieces = [
        rng.choice((b"", b"\0" * 100, b"HTTP/9.9 200\r\n\r\n", b"SSH-2.0\r\n", b"HTTP/1.1\r\n\r\n", b"x" * 70_000))
    ]


def _slowly(rng: random.Random, answer: _Answer, port: int) -> None:
    answer.pieces = [_head(answer.status, answer.headers), answer.body[:1000], answer.body[1000:]]
    answer.pause = rng.choice((0.01, 0.4))


_LIES: tuple[Callable[[random.Random, _Answer, int], None], ...] = (
    *[_tell_the_truth] * 8,
    *(_break_off, _break_off, _lie_on_length, _redirect, _refuse, _encode, _in_chunks, _without_end),
    *(_odd_header, _odd_header, _damage_head, _other_protocol, _slowly),
)


def _head(status: bytes, headers: dict[bytes, bytes]) -> bytes:
    lines = b"".join(b"%s: %s\r\n" % each for each in headers.items())
    return b"HTTP/1.1 " + status + b"\r\n" + lines + b"Connection: close\r\n\r\n"


class _Server:
    """A server in a thread."""

    def __init__(self) -> None:
        self.plan: _Plan | None = None
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            connection, _ = self._socket.accept()
            threading.Thread(target=self._answer, args=(connection, self.plan), daemon=True).start()

    def _answer(self, connection: socket.socket, plan: _Plan | None) -> None:
        with connection:
            try:
                connection.settimeout(5)
                request = b""
                while b"\r\n\r\n" not in request and len(request) < 10**6:
                    piece = connection.recv(10_000)
                    if not piece:
                        return
                    request += piece
                pieces, pause = plan.answer(request, self.port) if plan else ([], 0.0)
                for piece in pieces:
                    connection.sendall(piece)
                    time.sleep(pause)
            except (OSError, ValueError):  # the other side has closed, or sent no request
                return


@functools.cache
def _server() -> _Server:
    return _Server()
