"""Files are whole or not there."""

from __future__ import annotations

import errno
import os

import pytest

from medssl.errors import CheckpointError
from medssl.io import files
from medssl.io.files import write_atomic, write_atomic_with
from medssl.io.machines import machine
from medssl.train.encoder.checkpoint import load_state, save_state


def test_content_is_replaced_and_nothing_else_is_left(tmp_path):
    path = tmp_path / "a.json"
    write_atomic(path, b"old")
    write_atomic(path, b"new")
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["a.json"]  # noqa: PTH208  (hidden files too)


def test_what_a_killed_process_left_of_a_file_goes_when_the_file_is_written(tmp_path):
    """Found by kills before each change: outside a run's folder, nothing else removes it."""
    here, dead = machine(), 999_999_999
    own = f".a.json.{os.getpid()}-{here}.tmp"
    kept = [own, f".b.json.{dead}-{here}.tmp", f".x.a.json.{dead}-{here}.tmp", f".a.json.{dead}-abc.tmp", ".a.json.tmp"]
    gone = [f".a.json.{dead}-{here}.tmp", f".a.json.{dead - 1}-{here}.tmp"]
    for name in [*kept, *gone]:
        (tmp_path / name).touch()
    seen = []
    write_atomic_with(tmp_path / "a.json", lambda _: seen.extend(os.listdir(tmp_path)))  # noqa: PTH208
    assert sorted(seen) == sorted(kept)
    assert sorted(os.listdir(tmp_path)) == sorted([*kept[1:], "a.json"])  # noqa: PTH208  (hidden files too)


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_interrupted_writing_leaves_the_old_file(tmp_path, error):
    path = tmp_path / "a.json"
    write_atomic(path, b"old")

    def write(file):
        file.write(b"half of the n")
        raise error

    with pytest.raises(error):
        write_atomic_with(path, write)
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]


def test_full_disk_is_said_and_the_old_file_kept(tmp_path, monkeypatch):
    path = tmp_path / "state.pt"
    save_state(path, {"epoch": 1})

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(CheckpointError, match=r"no space left to write .*state\.pt.*unchanged\. Free some space"):
        save_state(path, {"epoch": 2})
    assert load_state(path) == {"epoch": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["state.pt"]


def test_folder_that_is_not_there_is_an_error_to_act_on(tmp_path):
    with pytest.raises(CheckpointError, match=r"cannot be written.*--output"):
        write_atomic(tmp_path / "absent" / "a", b"")
