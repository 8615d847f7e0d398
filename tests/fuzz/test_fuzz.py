"""Damaged and hostile files: accepted, or refused with an error of medssl, soon and with little memory."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fuzzing import downloads, images
from fuzzing.mutating import damage, vary
from fuzzing.running import KINDS, run_cases
from fuzzing.watching import FaultError, limited, watched

from medssl.errors import DataError
from medssl.tools import unpack
from medssl.tools.reading import installed_readers

#: Cases in the fast tests. Texts and arrays need a finished run, so they are among the longer tests only.
SHORT = {"images": 120, "archives": 60, "downloads": 40}
#: Cases of the longer tests: about half a minute each.
LONGER = {"images": 1200, "archives": 400, "downloads": 300, "texts": 300, "arrays": 300}


@pytest.mark.parametrize("kind", SHORT)
def test_some_damaged_files_are_accepted_or_refused(kind: str) -> None:
    found = run_cases(kind, 0, range(SHORT[kind]))
    assert found.faults == []
    assert found.refused


@pytest.mark.fuzz
@pytest.mark.parametrize("kind", KINDS)
def test_many_damaged_files_are_accepted_or_refused(kind: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "fuzzing", kind, "--seed", "1", "--count", str(LONGER[kind])]
    environment = {**os.environ, "MEDSSL_FUZZ_RUN": str(tmp_path)}
    done = subprocess.run(
        command, check=False, cwd=Path(__file__).parent, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


# ------------------------------------------------------------------------------------ the tests themselves can fail


@pytest.mark.parametrize("name", [name for name in images.whole_files() if name not in ("empty.png", "zeros.dcm")])
def test_a_file_is_accepted_before_it_is_damaged(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(images.whole_files()[name])
    if not installed_readers().is_image(path):
        pytest.skip("no reader takes this format")
    images.read_all(random.Random(0), installed_readers(), path)


def test_a_case_depends_on_its_seed_and_number_only() -> None:
    content = images.whole_files()["grey.png"]
    assert damage(random.Random("images 1 2"), content) == damage(random.Random("images 1 2"), content)
    assert damage(random.Random("images 1 2"), content) != damage(random.Random("images 1 3"), content)
    assert str(vary(random.Random(1), {"a": [1, 2]})) == str(vary(random.Random(1), {"a": [1, 2]}))


def test_a_file_outside_the_folder_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    with watched(inside):
        (inside / "a").write_text("x")
        (inside / "a").rename(inside / "b")
    with pytest.raises(FaultError, match="outside"), watched(inside):
        (tmp_path / "c").write_text("x")
    with pytest.raises(FaultError, match="outside"), watched(inside):
        (inside / "b").rename(tmp_path / "d")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FaultError, match="outside"), watched(inside):
        os.mkdir("e")  # noqa: PTH102  (relative)


def test_a_program_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(FaultError, match=r"subprocess\.Popen"), watched(tmp_path):
        subprocess.run(["true"], check=True)


def test_time_and_memory_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fuzzing.watching.SECONDS", 0.05)
    with pytest.raises(FaultError, match="more than"), limited():
        time.sleep(5)
    with pytest.raises(FaultError, match="more than"), limited():
        sum(range(10**8))
    monkeypatch.setattr("fuzzing.watching.SECONDS", 10)
    monkeypatch.setattr("fuzzing.watching.BYTES", 2**20)
    with pytest.raises(FaultError, match="memory"), limited():
        assert len(b"\1" * 2**29) == 2**29  # more than an earlier test can have left behind


def test_an_archive_that_leaves_something_is_a_fault(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    (target / "taken").write_text("mine")
    (target / "left").write_text("x")
    from fuzzing.archives import _require_whole

    _require_whole(target, unpacked=True, most=100)
    with pytest.raises(FaultError, match="left"):
        _require_whole(target, unpacked=False, most=100)


def test_the_server_sends_the_right_file_too() -> None:
    found = run_cases("downloads", 5, range(30))
    assert found.accepted > 0
    assert downloads._CONTENT


# ------------------------------------------------------------------------------------------- faults that were found


@pytest.mark.parametrize(
    ("name", "package"), [("a.png", "PIL"), ("a.tif", "PIL"), ("a.dcm", "pydicom"), ("a.nii.gz", "nibabel")]
)
def test_a_named_pipe_in_the_place_of_an_image_is_refused_at_once(tmp_path: Path, name: str, package: str) -> None:
    pytest.importorskip(package)
    os.mkfifo(tmp_path / name)
    with pytest.raises(DataError), limited():
        installed_readers().read(tmp_path / name)


def test_an_archive_names_its_file_and_unpacks_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"PK\x03\x04 no archive")
    with pytest.raises(DataError, match=r"a\.zip"):
        unpack(tmp_path / "a.zip", tmp_path / "target")
    assert not list((tmp_path / "target").iterdir())
