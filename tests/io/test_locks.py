"""One process at a time in a folder of one machine."""

import subprocess
import sys

import pytest

from medssl.errors import CheckpointError
from medssl.io.locks import BusyError, hold

HOLD = """
import sys, time
from pathlib import Path
from medssl.io.locks import hold
with hold(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """A process of its own that holds the directory."""
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_directory_in_use_is_refused_with_who_is_there(tmp_path, holder):
    with pytest.raises(BusyError, match=f"Process {holder.pid} on "), hold(tmp_path):
        pass


def test_the_lock_of_a_killed_process_keeps_no_other_out(tmp_path, holder):
    holder.kill()
    holder.wait()
    assert (tmp_path / "lock").exists()
    with hold(tmp_path), pytest.raises(BusyError), hold(tmp_path):
        pass


def test_a_lock_leaves_nothing_behind(tmp_path):
    (tmp_path / "result").touch()
    with hold(tmp_path):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["result"]


def test_an_empty_directory_goes_with_its_lock(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    with hold(folder):
        pass
    assert not folder.exists()


def test_a_lock_that_was_removed_meanwhile_is_not_taken_for_held(tmp_path):
    """Another file may stand under the name by the time an opened one is locked."""
    with hold(tmp_path):
        (tmp_path / "lock").unlink()
        with hold(tmp_path), pytest.raises(BusyError), hold(tmp_path):
            pass


def test_a_directory_that_cannot_be_written_to_is_named(tmp_path):
    with pytest.raises(CheckpointError, match="cannot be written"), hold(tmp_path / "none"):
        pass
