"""Downloads published files: verified and resumed after an interruption; a wrong file is always an error.

pooch manages the transfer and checks the file. This module adds what a file of several gigabytes needs: a downloader
that resumes an interrupted download, and messages for a computer without a network.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import os
import shutil
import time
from dataclasses import dataclass
from email.utils import formatdate, mktime_tz, parsedate_tz
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests
from pooch.core import retrieve
from pooch.utils import get_logger
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from medssl.errors import DataError
from medssl.io import limits
from medssl.io.files import clear_unfinished, unfinished
from medssl.io.plain_text import is_device
from medssl.io.reading import open_regular, read_text
from medssl.tools.disk import disk_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Source", "download"]

_CHUNK = 1 << 14  # bytes; what has arrived of a chunk is lost if the connection breaks
_TRIES = 5
_PAUSE = 1.0  # seconds before the second try, doubled for each further one
_TIMEOUT = (15, 60)  # seconds to connect, and between two arrivals of data


@dataclass(frozen=True)
class Source:
    """A published file.

    Attributes:
        file: Name it has on disk, without folders.
        url: Address, http or https; empty if the download needs a login.
        bytes: Size; ``None`` if not known.
        sha256: Hexadecimal; ``None`` where not published.
        md5: Hexadecimal; used if there is no ``sha256``.
        title: Title of the file.
        licence: Name of its licence, shown before the download.
    """

    file: str
    url: str
    bytes: int | None = None
    sha256: str | None = None
    md5: str | None = None
    title: str = ""
    licence: str = ""

    @property
    def checksum(self) -> str | None:
        """``sha256:...``, else ``md5:...``, else ``None``; in lower case."""
        for algorithm, value in (("sha256", self.sha256), ("md5", self.md5)):
            if value:
                return f"{algorithm}:{value.lower()}"
        return None

    def __str__(self) -> str:
        facts = (f"{self.bytes:,} bytes" if self.bytes else "", (self.checksum or "").replace(":", " "))
        known = ", ".join(filter(None, facts))
        return f"{self.file} ({known})" if known else self.file


def download(source: Source, directory: str | Path, *, announce: Callable[[str], None] | None = None) -> Path:
    """Download one file to ``directory``; do nothing if the right file exists.

    An interrupted transfer leaves ``<file>.part``, and the next call resumes it. A file without a published checksum is
    accepted without a check. Its download is resumed only if the server says that the file has not changed (the part
    has the date of the server's file). Its sha256 is written to ``<file>.sha256``, in the format of ``sha256sum``, and
    every later call compares the file with it.

    Args:
        source: The file to download.
        directory: Folder for it; created if missing.
        announce: Called with one line at a time: the download, its licence, the recorded checksum.
            ``None``: the logger ``medssl``, level INFO.

    Returns:
        Path of the verified file.

    Raises:
        DataError: A different file with this name exists, the file cannot be downloaded, the downloaded file is not the
            published one, or the disk is full. The message says which file (name, size, checksum) to put where.
    """
    say = announce or logging.getLogger("medssl").info
    long = len(source.file.encode(errors="surrogateescape")) > limits.NAME_BYTES - len(".part.sha256")
    refused = source.file.endswith((".", " ")) or is_device(source.file)  # by Windows; "." and ".." everywhere
    if not source.file or any(mark in source.file for mark in "/\\:\0") or long or refused:
        raise DataError(
            f"'{source.file:.80}' is not a plain file name. Correct the entry of this source in the catalogue."
        )
    target = Path(directory) / source.file
    if not target.exists():
        _fetch(source, target, say)
    elif difference := _difference(target, source):
        raise DataError(
            f"{target} is not the file that was published. {difference} Move it away and run the same command again to "
            f"download it, or put the right file there: {source.url}"
        )
    if source.checksum is None:
        _hold_against_record(target, source, say)
    return target


def _difference(path: Path, source: Source) -> str:
    """Describe the differences of size and checksum from the published ones; empty if the known ones agree."""
    size = path.stat().st_size
    algorithm, _, expected = (source.checksum or "sha256:").partition(":")
    wrong_size = source.bytes is not None and size != source.bytes
    if not wrong_size and not expected:
        return ""
    seen = _digest(path, algorithm)
    return f"Expected {source}, found {size:,} bytes, {algorithm} {seen}." if wrong_size or seen != expected else ""


def _digest(path: Path, algorithm: str) -> str:
    with open_regular(path) as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def _hold_against_record(path: Path, source: Source, say: Callable[[str], None]) -> None:
    """Compare the file with the sha256 recorded at its first use, or record it now."""
    record = path.with_name(path.name + ".sha256")
    seen = _digest(path, "sha256")
    if not record.exists():
        record.write_bytes(f"{seen}  {path.name}\n".encode(errors="surrogateescape"))  # a name may be no UTF-8
        say(f"No checksum is published for {path.name}. Its sha256 is {seen}, recorded in {record.name}.")
    elif (recorded := _recorded(record)) != seen:
        raise DataError(
            f"{path} has changed since its first use. {record.name} says sha256 {recorded}, found "
            f"{path.stat().st_size:,} bytes, sha256 {seen}. Move it away and run the same command again to download it "
            f"from {source.url}, or delete {record.name} if the new file is intended."
        )


def _recorded(record: Path) -> str:
    try:
        return read_text(record, limits.PATH_BYTES).partition(" ")[0]
    except (OSError, ValueError) as error:
        raise DataError(f"{record} cannot be read: {error}. Delete it and run the same command again.") from error


def _fetch(source: Source, target: Path, say: Callable[[str], None]) -> None:
    """Download with pooch, and turn every failure into an error that says what to do."""
    by_hand = _by_hand(source, target)
    if not source.url.startswith(("http://", "https://")):
        raise DataError(f"{source.file} cannot be downloaded automatically, because it has no open address. {by_hand}")
    licence = f" Licence: {source.licence}." if source.licence else ""
    say(f"Downloading {source.title or source.file}: {source} from {source.url}.{licence}")
    logger = get_logger()
    level = logger.level
    logger.setLevel(logging.WARNING)  # its messages have already been announced
    key = hashlib.sha256(target.name.encode(errors="surrogateescape")).hexdigest()[:8]
    inside = unfinished(target.with_name(key))  # pooch's own temporary files, which a kill leaves
    transfer: Any = _Resumable(source, target)  # Any: pooch calls it as below, but declares other argument names
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        clear_unfinished(target.parent)
        retrieve(source.url, source.checksum, fname=target.name, path=inside, downloader=transfer)
        whole = (inside / target.name).replace(target.with_name(f"{target.name}.part"))
        shutil.rmtree(inside, ignore_errors=True)  # before the file is there, because no later call would do it
        whole.replace(target)
    except _RefusedError as error:
        raise DataError(f"{source.file} cannot be downloaded: the server answers {error}. {by_hand}") from error
    except requests.RequestException as error:
        raise DataError(
            f"{source.file} cannot be downloaded: no connection, or it was interrupted ({type(error).__name__}). Run "
            f"the same command again to resume the download. Without a network: {by_hand}"
        ) from error
    except OSError as error:
        raise disk_error(error, target.parent, source.bytes) from error
    except (ValueError, LookupError) as error:  # addresses that are none, here or where the server redirects to
        raise DataError(f"{source.file} cannot be downloaded: its address is not valid ({error}). {by_hand}") from error
    finally:
        logger.setLevel(level)
        shutil.rmtree(inside, ignore_errors=True)


def _by_hand(source: Source, target: Path) -> str:
    return f"Get {source} from {source.url or 'its authors'}, put it at {target}, and run the same command again."


@contextlib.contextmanager
def _progress_bar(source: Source) -> Iterator[Callable[[int], None]]:
    """Draw a progress bar, on a terminal only; the callable takes the number of received bytes."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(source.file, total=source.bytes)
        yield lambda done: progress.update(task, completed=done)


class _RefusedError(requests.RequestException):
    """The server answered with an error."""

    def __init__(self, answer: requests.Response) -> None:
        super().__init__(f"{answer.status_code} {answer.reason}")
        self.status = answer.status_code


class _Resumable:
    """A pooch downloader over HTTP that appends to a ``.part`` file and tries again if the connection breaks."""

    def __init__(self, source: Source, target: Path) -> None:
        self._source = source
        self._target = target
        self._part = target.with_name(target.name + ".part")

    def __call__(self, url: str, output_file: str, _pooch: Any) -> None:
        missing = (self._source.bytes or 0) - self._have()
        if missing > shutil.disk_usage(self._part.parent).free:
            raise OSError(errno.ENOSPC, "no space")
        with _progress_bar(self._source) as show:
            self._persist(url, show)
        if difference := _difference(self._part, self._source):
            self._part.unlink()
            raise DataError(
                f"{url} did not send the published file. {difference} It was deleted: run the same command again. "
                f"If that does not help: {_by_hand(self._source, self._target)}"
            )
        self._part.replace(output_file)

    def _have(self) -> int:
        return self._part.stat().st_size if self._part.exists() else 0

    def _persist(self, url: str, show: Callable[[int], None]) -> None:
        """Transfer until complete; stop after several tries without new data, or at once if no data ever arrived."""
        failures, most = 0, self._have()
        while True:
            try:
                return self._transfer(url, show)
            except _RefusedError as error:
                failures += 1
                if failures >= _TRIES or error.status not in (408, 429, 500, 502, 503, 504):
                    raise
            except requests.RequestException:
                failures = 1 if self._have() > most else failures + 1
                most = max(most, self._have())
                if failures >= _TRIES or not most:
                    raise
            time.sleep(_PAUSE * 2 ** (failures - 1))

    def _transfer(self, url: str, show: Callable[[int], None]) -> None:
        have = self._have()
        if have and have == self._source.bytes:
            return
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
        if have and self._source.checksum is None:  # then only the server knows whether the file has changed
            headers["If-Range"] = formatdate(self._part.stat().st_mtime, usegmt=True)
        with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT) as answer:
            place = answer.headers.get("Content-Range", "")
            if answer.status_code == 416 and place == f"bytes */{have}":
                return  # the part was complete
            if answer.status_code == 416 or (answer.status_code == 206 and not place.startswith(f"bytes {have}-")):
                self._part.unlink(missing_ok=True)
                raise requests.ConnectionError(f"{url} does not resume at byte {have}")
            if answer.status_code >= 400:
                raise _RefusedError(answer)
            if "text/html" in answer.headers.get("Content-Type", ""):
                by_hand = _by_hand(self._source, self._target)
                raise DataError(f"{url} answers with a web page: the file has moved, or needs a login. {by_hand}")
            have = have if answer.status_code == 206 else 0  # 200: this server sends the whole file
            try:
                with self._part.open("ab" if have else "wb", buffering=0) as file:  # what has arrived is kept
                    for chunk in answer.iter_content(_CHUNK):
                        file.write(chunk)
                        have += len(chunk)
                        self._require_size(have)
                        show(have)
            finally:
                date = _date(answer.headers.get("Last-Modified", ""))
                with contextlib.suppress(FileNotFoundError):
                    os.utime(self._part, (date, date) if date else None)
            self._require_end(have)

    def _require_size(self, have: int) -> None:
        """Stop a transfer that does not end.

        Raises:
            DataError: It has more bytes than the published file.
        """
        known = self._source.bytes
        limit = limits.DOWNLOAD_BYTES if known is None else known + limits.DOWNLOAD_FREE  # a wrong file is described
        if have > limit:
            self._part.unlink()
            raise DataError(
                f"{self._source.url} sends more than {limit:,} bytes, which is not the published file. It was deleted. "
                f"{_by_hand(self._source, self._target)}"
            )

    def _require_end(self, have: int) -> None:
        """Notice a connection that was closed early, as an interruption: requests takes it for the end of the file.

        Raises:
            ConnectionError: Bytes are missing.
        """
        if self._source.bytes is not None and have < self._source.bytes:
            raise requests.ConnectionError(f"the connection was closed after {have:,} bytes of {self._source.bytes:,}")


def _date(text: str) -> float | None:
    """Read the date of a server's file, in seconds; ``None`` if it is none, or not of this century."""
    try:
        parts = parsedate_tz(text)
        seconds = None if parts is None else float(mktime_tz(parts))
    except (ValueError, OverflowError, TypeError, IndexError):
        return None
    return seconds if seconds is not None and 0 <= seconds < limits.LATEST_DATE else None
