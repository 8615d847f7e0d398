"""Checks of ``fetch`` without a network, and with a server that sends a wrong file. Nothing is transferred."""

from __future__ import annotations

import errno
import io
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPResponse

from medssl.conformance.datasets import explains, open_at
from medssl.conformance.running import Check, NotSeen, Subject, require
from medssl.contracts import Dataset
from medssl.data.listing import index
from medssl.errors import DataError

__all__ = ["CHECKS"]

_WRONG_FILE = (
    b"<html>Please log in to download this file.</html>\n"  # a typical answer of a server whose file has moved
)


def check_fetch_without_a_network_is_explained(subject: Subject) -> None:
    """Without a network ``fetch`` says which file the user must place where (DataError), unless no file is needed."""
    with TemporaryDirectory() as empty, _no_network():
        root = Path(empty)
        if not _is_fetched(subject, root):
            raise NotSeen("it has no fetch(), or needs no files")
        error = _fetch(subject, root)
        if error is None:
            require(_is_listed(subject, root), "without a network fetch() must raise a DataError, but raised nothing")
            return
        text = f"the message must say which file belongs where, and name the folder, but is: {error}"
        require(explains(error, root), text)


def check_fetch_refuses_a_wrong_file(subject: Subject) -> None:
    """If a server sends a wrong file, ``fetch`` refuses it (DataError), at the first call and at the next."""
    with TemporaryDirectory() as empty, _no_network(), _wrong_answers():
        root = Path(empty)
        if not _is_fetched(subject, root):
            raise NotSeen("it has no fetch(), or needs no files")
        for turn in ("", " when called again"):
            refused = _fetch(subject, root) is not None or not _is_listed(subject, root)
            require(refused, f"fetch() must refuse a file that is not the published one, but accepted it{turn}")


def _is_fetched(subject: Subject, empty: Path) -> bool:
    """Whether the dataset needs files and downloads them itself."""
    return subject.plugin.fetch is not Dataset.fetch and not _is_listed(subject, empty)


def _fetch(subject: Subject, root: Path) -> DataError | None:
    try:
        open_at(subject, root).fetch()
    except DataError as error:
        return error
    return None


def _is_listed(subject: Subject, root: Path) -> bool:
    try:
        return bool(index(open_at(subject, root)).samples)
    except DataError:
        return False


@contextmanager
def _no_network() -> Iterator[None]:
    """Block all network connections of this process."""

    def refuse(*_arguments: object, **_options: object) -> None:
        raise OSError(errno.ENETUNREACH, "Network is unreachable")

    with patch.object(socket.socket, "connect", refuse), patch.object(socket, "getaddrinfo", refuse):
        yield


@contextmanager
def _wrong_answers() -> Iterator[None]:
    """Answer every request with a page instead of the file."""

    def answer(_adapter: HTTPAdapter, request: requests.PreparedRequest, **_options: object) -> requests.Response:
        response = requests.Response()
        response.status_code, response.reason = 200, "OK"
        response.url, response.request = str(request.url), request
        response.raw = HTTPResponse(io.BytesIO(_WRONG_FILE), status=200, preload_content=False)
        return response

    with patch.object(HTTPAdapter, "send", answer):
        yield


CHECKS: tuple[Check, ...] = (check_fetch_without_a_network_is_explained, check_fetch_refuses_a_wrong_file)
