"""A machine that lacks something or changes: each is said in a sentence, and nothing is lost."""

from __future__ import annotations

import errno
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from medssl.cli import main
from medssl.data.store import building

pytestmark = pytest.mark.slow

RUN = [
    *("--image-size", "32", "--backbone", "test_resnet", "--batch-size", "8", "--evaluator", "knn"),
    *("--set", "evaluate.bootstrap=20", "--set", "evaluate.baseline=false"),
]
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate", "tempfile.mkstemp"}


class Faults:
    """Lets calls of the operating system fail below a folder, also for root; an audit hook cannot be removed."""

    def __init__(self) -> None:
        self.folder, self.error, self.spared, self.seen = "", 0, 0, 0
        sys.addaudithook(self._hook)

    def begin(self, folder: Path, error: int, spared: int = 0) -> None:
        """Let every change of a file in a folder fail, but for the first ones."""
        self.folder, self.error, self.spared, self.seen = str(folder), error, spared, 0

    def end(self) -> None:
        self.folder = ""

    def _hook(self, event: str, arguments: tuple) -> None:
        if not self.folder or not (event in CHANGES or (event == "open" and arguments[2] & WRITES)):
            return
        if isinstance(arguments[0], str | bytes | os.PathLike):
            path = os.path.abspath(os.fsdecode(arguments[0]))  # noqa: PTH100  # Path opens nothing, but is slow here
            if path == self.folder or path.startswith(f"{self.folder}{os.sep}"):
                self.seen += 1
                if self.seen > self.spared:
                    raise OSError(self.error, os.strerror(self.error), path)


FAULTS = Faults()


@pytest.fixture
def faults():
    yield FAULTS
    FAULTS.end()


def write_images(folder: Path, *, seed: int = 0) -> Path:
    rng = np.random.default_rng(seed)
    for n in range(40):
        (folder / "ab"[n % 2]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (24, 24, 3), dtype=np.uint8)).save(folder / "ab"[n % 2] / f"{n}.png")
    long_ago = time.time() - 1000
    for file in folder.rglob("*.png"):
        os.utime(file, (long_ago, long_ago))
    return folder


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with images, a cache and a configuration of its own."""
    write_images(tmp_path / "images")
    monkeypatch.setenv("MEDSSL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MEDSSL_CONFIG", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(*words: str, status: int | None = None) -> str:
    """Run a command, which must work or end in one sentence."""
    outcome = CliRunner().invoke(main, list(words))
    assert outcome.exception is None or isinstance(outcome.exception, SystemExit), repr(outcome.exception)
    assert outcome.exit_code in ((0, 1) if status is None else (status,)), outcome.output
    assert "Traceback" not in outcome.output
    return outcome.output


def run(method: str = "random", *words: str, output: str = "runs", status: int | None = None) -> str:
    epochs = () if method == "random" else ("--epochs", "2")
    return call(
        *("run", "--method", method, *epochs, "--dataset", "folder", "--data-dir", "images", *RUN),
        *("--output", output, *words),
        status=status,
    )


def evaluations(folder: Path) -> dict:
    (file,) = folder.glob("*/result.json")
    return json.loads(file.read_text())["evaluations"]


# ---------------------------------------------------------------------------------------------------- folders that lack


def test_no_home_directory_and_no_cache_is_said_with_the_variable(place, monkeypatch):
    for name in ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "MEDSSL_CACHE", "MEDSSL_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os.path, "expanduser", os.fspath)  # a user id without an entry
    said = run(status=1)
    assert "the user has no home directory" in said
    assert "MEDSSL_CACHE" in said
    monkeypatch.setenv("MEDSSL_CACHE", str(place / "cache"))
    assert "private names hold for this process only, because the user has no home directory" in run(status=0)
    assert not (place / "~").exists()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may take another user id")
def test_a_user_id_without_a_name_is_said_with_the_variable(place):
    environment = {key: value for key, value in os.environ.items() if key not in ("HOME", "MEDSSL_CACHE", "USER")}
    code = (
        "import os\nfrom medssl.data.store.store import default_cache\nfrom medssl.errors import DataError\n"
        "os.setuid(54321)\n"
        "try: default_cache()\nexcept DataError as error: print(error)\n"
    )
    said = subprocess.run(  # our own code
        [sys.executable, "-c", code], env=environment, cwd="/", capture_output=True, text=True, check=True
    )
    assert "the user has no home directory" in said.stdout


def test_no_temporary_folder_is_said_with_the_variable(place, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(tempfile, "tempdir", None)
        patch.setattr(tempfile, "_candidate_tempdir_list", lambda: [str(place / "missing")])
        said = run(status=1)
    assert "no folder for temporary files" in said
    assert "TMPDIR" in said
    run(status=0)


@pytest.mark.parametrize(
    ("folder", "words"),
    [("cache", ["cache", "MEDSSL_CACHE"]), ("runs", ["runs", "--output"]), ("config", ["private names hold"])],
)
@pytest.mark.parametrize("before", [False, True], ids=["missing", "there"])
def test_a_read_only_folder_is_said_with_what_to_do(place, faults, folder, words, before):
    if before:
        (place / folder).mkdir()
    faults.begin(place / folder, errno.EROFS)
    said = run()
    for word in words:
        assert word in said
    faults.end()
    run(status=0)


def test_a_finished_cache_that_is_read_only_is_enough(place, faults):
    run(status=0)
    faults.begin(place / "cache", errno.EROFS)
    run("random", output="others", status=0)
    said = run("random", "--verify", output="others", status=1)
    assert "--verify cannot be carried out" in said
    assert "MEDSSL_CACHE" in said


def test_a_read_only_data_folder_does_not_matter(place, faults):
    faults.begin(place / "images", errno.EROFS)
    run(status=0)


# ------------------------------------------------------------------------------------------------------------- no space


@pytest.mark.parametrize("spared", [0, 1, 2, 3, 5, 8, 12, 16, 20, 25, 30])
def test_no_space_at_any_moment_is_said_and_the_run_goes_on_from_there(place, faults, spared):
    run("dcl", output="straight", status=0)
    faults.begin(place / "runs", errno.ENOSPC, spared)
    said = run("dcl")
    faults.end()
    assert "No space left" in said or (place / "runs").exists()
    if faults.seen > spared:
        assert "pace" in said
    run("dcl", status=0)
    assert evaluations(place / "runs") == evaluations(place / "straight")
    assert not list((place / "runs").rglob(".*.tmp"))


@pytest.fixture
def small_disk(tmp_path):
    """A function that makes a disk of a size in kB; only root can."""
    disk = tmp_path / "disk"
    disk.mkdir()

    def resize(kilobytes: int) -> Path:
        again = "remount," if os.path.ismount(disk) else ""
        command = ["mount", "-t", "tmpfs", "-o", f"{again}size={kilobytes}k", "none", str(disk)]
        if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("no disk can be mounted here")
        return disk

    yield resize
    if os.path.ismount(disk):
        subprocess.run(["umount", "-l", str(disk)], check=False)


@pytest.mark.parametrize("kilobytes", [8, 40, 200, 600, 1200])
def test_a_full_disk_is_said_and_the_run_goes_on_when_there_is_space(place, small_disk, kilobytes):
    run("dcl", output="straight", status=0)
    output = small_disk(kilobytes)
    said = run("dcl", output=str(output))
    if not list(output.glob("*/report.html")):
        assert "no space left" in said.lower(), said
    small_disk(100_000)
    run("dcl", output=str(output), status=0)
    assert evaluations(output) == evaluations(place / "straight")


# ------------------------------------------------------------------------------------------- data that vanish or change


@pytest.mark.parametrize("moment", ["listing", "reading", "stored"])
def test_a_data_folder_that_vanishes_is_said_or_no_longer_needed(place, monkeypatch, moment):
    def vanish() -> None:
        if (place / "images").exists():
            (place / "images").rename(place / "gone")

    if moment == "listing":
        vanish()
    else:
        whole = building.decode_all if moment == "reading" else building.write_store_header

        def then(*arguments):
            monkeypatch.setattr(building, whole.__name__, whole)
            vanish()
            return whole(*arguments)

        monkeypatch.setattr(building, whole.__name__, then)
    said = run(status={"listing": 1, "reading": 1}.get(moment))
    if moment == "listing":
        assert "images" in said
        assert "--data-dir" in said
    else:
        assert "cannot be read" in said or "were changed while they were read" in said
    (place / "gone").rename(place / "images")
    run(status=0)


def test_files_that_change_while_they_are_read_are_said_and_no_mixture_is_kept(place, monkeypatch):
    decode_all = building.decode_all

    def meanwhile(*arguments):
        monkeypatch.setattr(building, "decode_all", decode_all)
        shutil.copy(place / "images/a/2.png", place / "images/a/0.png")
        return decode_all(*arguments)

    monkeypatch.setattr(building, "decode_all", meanwhile)
    said = run(status=1)
    assert "were changed while they were read" in said
    assert "Run the same command again" in said
    assert not list((place / "cache/stores").glob("*"))
    run(status=0)


def test_a_change_without_a_change_of_time_and_size_is_found_by_verify(place):
    file, other = place / "images/a/0.png", place / "images/a/2.png"
    size = max(file.stat().st_size, other.stat().st_size)
    content = other.read_bytes().ljust(size, b"\0")  # what follows the image is not read
    file.write_bytes(file.read_bytes().ljust(size, b"\0"))
    os.utime(file, (1e9, 1e9))
    run(status=0)
    file.write_bytes(content)
    os.utime(file, (1e9, 1e9))
    assert "Since then" not in run(status=0)  # taken for the same: reliability.md says so
    assert "Since then, files in" in run("random", "--verify", status=1)
    assert "Since then, files in" in run(status=1)  # the cache has the new checksum


def test_a_bit_that_flips_in_the_cache_is_found_by_verify_and_the_images_are_read_again(place):
    run(status=0)
    (pixels,) = place.glob("cache/stores/*/pixels")
    before, content = pixels.stat(), bytearray(pixels.read_bytes())
    content[1000] ^= 64
    pixels.write_bytes(content)
    os.utime(pixels, ns=(before.st_atime_ns, before.st_mtime_ns))
    run("random", "--verify", output="others", status=0)
    (again,) = place.glob("cache/stores/*/pixels")
    assert again.read_bytes()[1000] != content[1000]
    assert evaluations(place / "others") == evaluations(place / "runs")


# ------------------------------------------------------------------------------------------------------------ the clock


@pytest.mark.parametrize("years", [(-30, -1), (30, 1), (40, -40)], ids=["back", "forth", "both"])
def test_a_clock_that_jumps_changes_nothing(place, monkeypatch, years):
    run("dcl", output="straight", status=0)
    now, jumps = time.time, itertools.cycle(years)

    def jumping() -> float:
        return now() + 365.25 * 86400 * next(jumps)

    monkeypatch.setattr(time, "time", jumping)
    monkeypatch.setattr(time, "time_ns", lambda: int(jumping() * 1e9))
    run("dcl", status=0)
    call("report", "runs", "--output", "report", status=0)
    run("dcl", status=0)
    assert evaluations(place / "runs") == evaluations(place / "straight")


def test_a_clock_that_was_set_forward_does_not_remove_a_build_that_runs(place, monkeypatch):
    stores = place / "cache/stores"
    (stores / ".building-1").mkdir(parents=True)
    monkeypatch.setattr(building, "is_held", lambda _: True)
    monkeypatch.setattr(time, "time", lambda: 1e11)
    building.sweep(stores)
    assert (stores / ".building-1").exists()
    monkeypatch.setattr(building, "is_held", lambda _: False)
    building.sweep(stores)
    assert (stores / ".building-1").exists()  # it may not have its lease yet
    yesterday = (stores / ".building-1").stat().st_mtime - 2 * 86400
    os.utime(stores / ".building-1", (yesterday, yesterday))
    building.sweep(stores)
    assert not (stores / ".building-1").exists()
    assert not list(stores.iterdir())
