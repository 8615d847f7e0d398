"""Downloads from a server on this machine that can break off, refuse, and send something else."""

from __future__ import annotations

import hashlib
import logging
import re
import shutil
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from medssl.errors import DataError
from medssl.tools import Source, download
from medssl.tools import downloading as module

CONTENT = np.random.default_rng(0).bytes(1_000_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
MD5 = hashlib.md5(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Serves CONTENT with Range support; what goes wrong is written on the server object."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        server = self.server
        place = self.headers.get("Range")
        server.requests.append(place)
        if server.refusals:
            self.send_error(server.refusals.pop(0))
            return
        content = server.content
        start = int(re.fullmatch(r"bytes=(\d+)-", place).group(1)) if place and server.ranges else 0
        if "If-Range" in self.headers and self.headers["If-Range"] != server.changed:
            start = 0
        if start >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Type", server.content_type)
        if server.changed:
            self.send_header("Last-Modified", server.changed)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        stop = start + server.break_after.pop(0) if server.break_after else len(content)
        self.wfile.write(content[start:stop])
        self.close_connection = True

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(module, "_PAUSE", 0.0)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.content, running.content_type, running.ranges = CONTENT, "application/zip", True
        running.changed = "Thu, 18 Mar 2021 10:00:00 GMT"
        running.requests, running.refusals, running.break_after = [], [], []
        running.url = f"http://127.0.0.1:{running.server_port}/set.zip"
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def source(server, **changes):
    facts = {"bytes": len(CONTENT), "sha256": SHA256, "title": "A set", "licence": "CC BY 4.0"}
    return Source("set.zip", server.url, **facts | changes)


def files(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("checksum", [{}, {"sha256": SHA256.upper()}, {"sha256": None, "md5": MD5}])
def test_a_file_arrives_verified_and_alone(server, tmp_path, checksum):
    path = download(source(server, **checksum), tmp_path / "new" / "folder")
    assert path == tmp_path / "new" / "folder" / "set.zip"
    assert path.read_bytes() == CONTENT
    assert files(path.parent) == ["set.zip"]


def test_what_a_killed_download_left_is_removed(server, tmp_path):
    """Found by kills at random moments: pooch's temporary files lay beside the data for ever."""
    left = tmp_path / ".0123abcd.999999999.tmp"
    left.mkdir()
    (left / "tmpndbt12v1").touch()
    download(source(server), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [source(server).file]


def test_the_file_appears_when_nothing_temporary_is_left(server, tmp_path, monkeypatch):
    """A plugin may not ask for a file that is there, and then no later call removes anything."""
    seen, remove = [], shutil.rmtree
    monkeypatch.setattr(shutil, "rmtree", lambda *a, **k: (seen.append(files(tmp_path)), remove(*a, **k)))
    download(source(server), tmp_path)
    name = source(server).file
    assert seen[0][-1] == f"{name}.part"
    assert name not in seen[0]
    (tmp_path / name).rename(tmp_path / f"{name}.part")  # as a kill after that leaves it
    download(source(server), tmp_path)
    assert files(tmp_path) == [name]


def test_nothing_is_asked_of_the_server_when_the_right_file_is_there(server, tmp_path):
    (tmp_path / "set.zip").write_bytes(CONTENT)
    said = []
    download(source(server), tmp_path, announce=said.append)
    assert server.requests == []
    assert said == []


def test_licence_and_address_are_announced_before_the_transfer(server, tmp_path):
    server.refusals = [404]
    said = []
    with pytest.raises(DataError):
        download(source(server), tmp_path, announce=said.append)
    assert len(said) == 1
    assert "A set" in said[0]
    assert "Licence: CC BY 4.0." in said[0]
    assert server.url in said[0]


def test_announcements_go_to_the_log_without_a_callback_and_nothing_to_the_screen(server, tmp_path, caplog, capfd):
    with caplog.at_level(logging.INFO, logger="medssl"):
        download(source(server), tmp_path)
    assert "CC BY 4.0" in caplog.text
    assert capfd.readouterr() == ("", "")


def test_another_file_of_that_name_is_refused_and_kept(server, tmp_path):
    (tmp_path / "set.zip").write_bytes(b"mine")
    with pytest.raises(DataError) as caught:
        download(source(server), tmp_path)
    message = str(caught.value)
    for fact in (str(tmp_path / "set.zip"), SHA256, "1,000,000 bytes", hashlib.sha256(b"mine").hexdigest(), "4 bytes"):
        assert fact in message
    assert "Move it away" in message
    assert (tmp_path / "set.zip").read_bytes() == b"mine"
    assert server.requests == []


def test_a_transfer_that_breaks_off_goes_on_where_it_stopped(server, tmp_path):
    server.break_after = [300_000, 300_000]
    assert download(source(server), tmp_path).read_bytes() == CONTENT
    starts = [0 if place is None else int(place[6:-1]) for place in server.requests]
    assert starts[0] == 0
    assert len(starts) == 3
    assert 0 < starts[1] <= 300_000 < starts[2] <= 600_000


def test_the_next_call_goes_on_after_one_that_gave_up(server, tmp_path):
    server.break_after = [300_000] + [0] * 20
    with pytest.raises(DataError, match="to resume the download") as caught:
        download(source(server), tmp_path)
    assert SHA256 in str(caught.value)
    assert files(tmp_path) == ["set.zip.part"]
    had = (tmp_path / "set.zip.part").stat().st_size
    assert 0 < had <= 300_000
    server.break_after, server.requests = [], []
    assert download(source(server), tmp_path).read_bytes() == CONTENT
    assert server.requests == [f"bytes={had}-"]
    assert files(tmp_path) == ["set.zip"]


def test_a_part_that_is_whole_already_is_not_asked_for_again(server, tmp_path):
    (tmp_path / "set.zip.part").write_bytes(CONTENT)
    download(source(server), tmp_path)
    assert server.requests == []
    (tmp_path / "set.zip").rename(tmp_path / "set.zip.part")
    download(source(server, bytes=None), tmp_path)
    assert server.requests == [f"bytes={len(CONTENT)}-"]
    assert files(tmp_path) == ["set.zip"]


def test_a_part_longer_than_the_file_is_thrown_away(server, tmp_path):
    (tmp_path / "set.zip.part").write_bytes(CONTENT + b"more")
    assert download(source(server), tmp_path).read_bytes() == CONTENT


def test_a_server_without_ranges_starts_over(server, tmp_path):
    server.ranges = False
    server.break_after = [300_000]
    assert download(source(server), tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize("changed", ["same", "Fri, 19 Mar 2021 10:00:00 GMT", None])
def test_without_a_checksum_a_part_is_only_continued_if_the_server_has_the_same_file_still(server, tmp_path, changed):
    unknown = source(server, sha256=None, bytes=None)
    server.break_after = [300_000] + [0] * 20
    with pytest.raises(DataError):
        download(unknown, tmp_path)
    server.break_after, server.requests = [], []
    if changed != "same":
        server.changed, server.content = changed, CONTENT[::-1]
    assert download(unknown, tmp_path).read_bytes() == server.content
    assert server.requests[0].startswith("bytes=")


def test_a_part_of_unknown_age_is_not_continued_without_a_checksum(server, tmp_path):
    (tmp_path / "set.zip.part").write_bytes(b"older version")
    assert download(source(server, sha256=None, bytes=None), tmp_path).read_bytes() == CONTENT


def test_a_wrong_file_from_the_server_is_deleted_and_told(server, tmp_path):
    server.content = CONTENT[:-1] + bytes([CONTENT[-1] ^ 1])
    with pytest.raises(DataError) as caught:
        download(source(server), tmp_path)
    message = str(caught.value)
    for fact in ("did not send the published file", SHA256, hashlib.sha256(server.content).hexdigest(), server.url):
        assert fact in message
    assert files(tmp_path) == []


def test_a_wrong_size_is_told_when_no_checksum_is_known(server, tmp_path):
    with pytest.raises(DataError, match=r"7 bytes.*found 1,000,000 bytes"):
        download(source(server, sha256=None, bytes=7), tmp_path)
    assert files(tmp_path) == []


def test_a_web_page_is_no_data_set(server, tmp_path):
    server.content, server.content_type = b"<html>please log in</html>", "text/html; charset=utf-8"
    with pytest.raises(DataError, match="answers with a web page"):
        download(source(server, sha256=None, bytes=None), tmp_path)
    assert files(tmp_path) == []


def test_a_busy_server_is_asked_again_and_a_missing_file_is_not(server, tmp_path):
    server.refusals = [503, 429]
    assert download(source(server), tmp_path).read_bytes() == CONTENT
    assert len(server.requests) == 3
    server.refusals, server.requests = [404], []
    with pytest.raises(DataError, match=r"the server answers 404.*set\.zip \(1,000,000 bytes, sha256 "):
        download(source(server), tmp_path / "other")
    assert len(server.requests) == 1


def test_without_a_network_the_message_says_which_file_to_put_where(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        nobody = probe.getsockname()[1]
    there = Source("set.zip", f"http://127.0.0.1:{nobody}/set.zip", bytes=5, md5=MD5)
    with pytest.raises(DataError) as caught:
        download(there, tmp_path)
    message = str(caught.value)
    for fact in (f"set.zip (5 bytes, md5 {MD5})", there.url, str(tmp_path / "set.zip")):
        assert fact in message


def test_a_source_without_an_open_address_says_so(tmp_path):
    with pytest.raises(DataError, match=r"no open address\. Get set\.zip .*from its authors"):
        download(Source("set.zip", ""), tmp_path)


REFUSED = ["../set.zip", "a/b.zip", "/etc/set.zip", "a\\b.zip", "C:b.zip", "..", "", "NUL", "con.zip", "set.zip."]


@pytest.mark.parametrize("name", REFUSED)
def test_a_name_with_folders_or_of_a_device_is_refused(tmp_path, name):
    with pytest.raises(DataError, match="not a plain file name"):
        download(Source(name, "http://127.0.0.1/x"), tmp_path)


def test_an_unpublished_checksum_is_recorded_and_held_against(server, tmp_path):
    unknown = source(server, sha256=None, bytes=None)
    said = []
    path = download(unknown, tmp_path, announce=said.append)
    assert (tmp_path / "set.zip.sha256").read_text() == f"{SHA256}  set.zip\n"
    assert SHA256 in said[-1]
    assert download(unknown, tmp_path, announce=said.append) == path
    assert len(said) == 2
    path.write_bytes(b"changed")
    with pytest.raises(DataError, match=f"has changed since.*{SHA256}.*7 bytes"):
        download(unknown, tmp_path)


def test_a_full_disk_is_told_before_the_transfer(server, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 5, 5))
    with pytest.raises(DataError, match=r"no space left in .*1,000,000 bytes are needed"):
        download(source(server), tmp_path)
    assert server.requests == []


def test_a_folder_that_cannot_be_made_is_named(server, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"The folder .*file.* cannot be written"):
        download(source(server), tmp_path / "file" / "folder")
