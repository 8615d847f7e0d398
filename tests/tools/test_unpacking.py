"""Archives that are whole, broken, or made to do harm."""

from __future__ import annotations

import io
import re
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from medssl.errors import DataError
from medssl.tools import unpack


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def make_zip(path, names):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in names.items():
            archive.writestr(name, content)
    return path


def make_tar(path, names, mode="w:gz"):
    with tarfile.open(path, mode) as archive:
        for name, content in names.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


MAKERS = {"set.zip": make_zip, "set.tar.gz": make_tar, "set.tar": lambda p, n: make_tar(p, n, "w")}


@pytest.mark.parametrize("name", MAKERS)
def test_an_archive_is_unpacked_with_its_folders(tmp_path, name):
    names = {"set/train/a.png": b"a", "set/test/b c.png": b"b", "readme.txt": b"r", "__MACOSX/set/._a.png": b"x"}
    archive = MAKERS[name](tmp_path / name, names)
    made = unpack(archive, tmp_path)
    assert made == (tmp_path / "readme.txt", tmp_path / "set")
    assert (tmp_path / "set" / "test" / "b c.png").read_bytes() == b"b"
    assert (tmp_path / "set" / "train" / "a.png").read_bytes() == b"a"
    assert files(tmp_path) == sorted(["readme.txt", "set", name])


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("evil", ["../evil", "a/../../evil", "/evil", "..\\evil", "C:/evil"])
def test_a_name_that_leads_outside_is_refused_and_nothing_stays(tmp_path, name, evil):
    archive = MAKERS[name](tmp_path / name, {"good/a": b"a", evil: b"b"})
    with pytest.raises(DataError, match="outside its folder"):
        unpack(archive, tmp_path / "here")
    assert files(tmp_path / "here") == []
    assert not (tmp_path / "evil").exists()


def test_a_link_is_refused(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        link = tarfile.TarInfo("set/link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    with pytest.raises(DataError, match=r"a link, 'set/link'"):
        unpack(tmp_path / "a.tar", tmp_path / "here")


@pytest.mark.parametrize("name", MAKERS)
def test_a_broken_archive_leaves_nothing(tmp_path, name):
    content = np.random.default_rng(0).bytes(100_000)
    archive = MAKERS[name](tmp_path / name, {"set/a": content, "set/b": content})
    archive.write_bytes(archive.read_bytes()[:120_000])
    with pytest.raises(DataError, match=rf"{re.escape(name)} is damaged"):
        unpack(archive, tmp_path / "here")
    assert files(tmp_path / "here") == []


def test_a_flipped_bit_in_a_zip_is_noticed(tmp_path):
    archive = make_zip(tmp_path / "a.zip", {"set/a": b"abcdefgh" * 100})
    archive.write_bytes(archive.read_bytes().replace(b"abcdefgh", b"abcdefgX", 1))
    with pytest.raises(DataError, match="is damaged"):
        unpack(archive, tmp_path / "here")


def test_something_that_is_no_archive_is_named(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"hello")
    with pytest.raises(DataError, match=r"a\.zip is damaged or not an archive"):
        unpack(tmp_path / "a.zip", tmp_path / "here")


def test_what_is_there_already_is_not_touched(tmp_path):
    archive = make_zip(tmp_path / "a.zip", {"set/a": b"new", "other/b": b"new"})
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "a").write_bytes(b"old")
    with pytest.raises(DataError, match=r"contains set, which already exists in"):
        unpack(archive, tmp_path)
    assert (tmp_path / "set" / "a").read_bytes() == b"old"
    assert files(tmp_path) == ["a.zip", "set"]


def test_a_missing_archive_is_named(tmp_path):
    with pytest.raises(DataError, match=r"gone\.zip"):
        unpack(Path(tmp_path / "gone.zip"), tmp_path / "here")


@pytest.mark.parametrize("name", ["NUL", "a/con.png", "a/b:c.png", "a.png.", "a.png ", "a?.png", "a/<b>.png"])
def test_windows_refuses_a_name_before_anything_is_written(tmp_path, name, monkeypatch):
    archive = make_zip(tmp_path / "set.zip", {"good.png": b"1", name: b"2"})
    monkeypatch.setattr("medssl.tools.unpacking._WINDOWS", True)
    with pytest.raises(DataError, match="Windows does not allow"):
        unpack(archive, tmp_path / "there")
    assert files(tmp_path / "there") == []


def test_names_that_differ_in_letter_case_collide_where_the_file_system_says_so(tmp_path, monkeypatch):
    archive = make_zip(tmp_path / "set.zip", {"a/B.png": b"1", "a/b.png": b"2"})
    true_open = Path.open
    monkeypatch.setattr(Path, "open", lambda self, *words: true_open(self.with_name(self.name.lower()), *words))
    with pytest.raises(DataError, match="twice"):
        unpack(archive, tmp_path / "there")
    assert files(tmp_path / "there") == []


def test_backslashes_of_windows_divide_folders(tmp_path):
    archive = make_zip(tmp_path / "set.zip", {"a\\b.png": b"1"})
    unpack(archive, tmp_path / "there")
    assert (tmp_path / "there" / "a" / "b.png").read_bytes() == b"1"
