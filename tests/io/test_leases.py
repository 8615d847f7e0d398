"""One process at a time in a folder, on whatever machine it runs: what kills, stops and clocks must not change."""

import contextlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from medssl.errors import CheckpointError
from medssl.io import leases
from medssl.io.files import write_atomic
from medssl.io.leases import LeaseLostError, LeaseWatch, holding, is_held, is_locked
from medssl.io.locks import BusyError

BEAT, DEAD = 0.05, 0.8  # seconds, in the place of 5 and 60

# Holds the folder, adds a line to `work` every 20 ms, and says how it ends.
HOLD = f"""
import sys, time
from pathlib import Path
from medssl.io import leases, machines
leases._BEAT, leases._DEAD, leases._LOOK = {BEAT}, {DEAD}, 0.02
folder, elsewhere, shift = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
if elsewhere:
    leases.machine = lambda: elsewhere
now = time.time
time.time = lambda: now() + shift
from medssl.io.files import write_atomic
try:
    with leases.holding(folder):
        print("held", flush=True)
        for i in range(10**9):
            write_atomic(folder / "work", f"{{sys.argv[2]}} {{i}}".encode())
            time.sleep(0.02)
except leases.LeaseLostError as error:
    print("lost", error, flush=True)
except leases.BusyError as error:
    print("busy", error, flush=True)
"""


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(leases, "_BEAT", BEAT)
    monkeypatch.setattr(leases, "_DEAD", DEAD)
    monkeypatch.setattr(leases, "_LOOK", 0.02)


@pytest.fixture(autouse=True)
def _interruptible():
    """A shell ignores Ctrl-C for what it starts in the background, and these tests may be started so."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_a_process_that_ignores_interruptions_is_refused_when_it_writes(tmp_path):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with holding(tmp_path) as lease:
        (tmp_path / "lock").write_bytes(b"another's")
        while not lease.lost:
            time.sleep(BEAT)
        with pytest.raises(LeaseLostError):
            write_atomic(tmp_path / "c", b"")


@pytest.fixture
def start(tmp_path):
    """Start a process that holds the folder, as one of another machine if that has a name, with a clock apart."""
    started = []

    def make(machine="", shift=0.0):
        command = [sys.executable, "-c", HOLD, str(tmp_path), machine, str(shift)]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield make
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_folder_in_use_is_refused_with_who_is_there(tmp_path, start):
    holder = start()
    assert holder.stdout.readline() == "held\n"
    assert is_held(tmp_path)
    began = time.monotonic()
    with pytest.raises(BusyError, match=f"Process {holder.pid} on "), holding(tmp_path):
        pass
    assert time.monotonic() - began < DEAD / 2  # it runs on this machine, so nothing has to be waited for


@pytest.mark.parametrize("shift", [-3600.0, 3600.0])
def test_a_holder_on_another_machine_is_known_by_its_signs_whatever_its_clock_says(tmp_path, start, shift):
    holder = start("elsewhere", shift)
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(BusyError, match=f"Process {holder.pid} on "), holding(tmp_path):
        pass
    seen, end = LeaseWatch(), time.monotonic() + 2 * DEAD
    while time.monotonic() < end:
        assert seen.is_held(tmp_path)
        seen.clear(tmp_path)
        time.sleep(0.02)
    assert holder.poll() is None


def test_a_clock_that_jumps_here_changes_nothing(tmp_path, start, monkeypatch):
    assert start("elsewhere").stdout.readline() == "held\n"
    jumping = iter(range(0, 10**9, 10**6))
    monkeypatch.setattr(time, "time", lambda: float(next(jumping)))
    with pytest.raises(BusyError), holding(tmp_path):
        pass


def test_a_holder_of_this_machine_that_was_killed_keeps_no_other_out(tmp_path, start):
    holder = start()
    assert holder.stdout.readline() == "held\n"
    holder.kill()  # it is not waited for: a process that its parent has not heard of has ended too
    end = time.monotonic() + 5
    while is_held(tmp_path):
        assert time.monotonic() < end
        time.sleep(0.01)
    assert is_locked(tmp_path)
    began = time.monotonic()
    with holding(tmp_path):
        assert is_held(tmp_path)
    assert time.monotonic() - began < DEAD / 2


def test_a_holder_of_another_machine_that_was_killed_is_followed_after_a_minute_without_a_sign(tmp_path, start):
    holder = start("elsewhere", 1e6)
    assert holder.stdout.readline() == "held\n"
    holder.kill()
    holder.wait()
    assert is_held(tmp_path)  # one look cannot tell
    began = time.monotonic()
    with holding(tmp_path):
        assert DEAD <= time.monotonic() - began < 4 * DEAD
    assert not is_locked(tmp_path)


def test_only_one_of_several_follows_a_dead_holder(tmp_path, start):
    first = start("elsewhere")
    assert first.stdout.readline() == "held\n"
    first.kill()
    first.wait()
    others = [start(f"machine {i}", 100.0 * i) for i in range(3)]
    said = [process.stdout.readline() for process in others]
    assert sorted(line.split()[0] for line in said) == ["busy", "busy", "held"]


def test_a_stopped_holder_that_was_followed_ends_when_it_goes_on_and_writes_nothing(tmp_path, start):
    first = start("one")
    assert first.stdout.readline() == "held\n"
    first.send_signal(signal.SIGSTOP)
    second = start("two")
    assert second.stdout.readline() == "held\n"
    first.send_signal(signal.SIGCONT)
    said = first.stdout.readline()
    assert said.startswith("lost another process has taken over ")
    assert "Run the same command again" in said
    assert first.wait() == 0
    for _ in range(20):
        assert (tmp_path / "work").read_text().startswith("two ")
        time.sleep(0.02)
    assert second.poll() is None


def test_a_stopped_holder_that_no_other_followed_goes_on(tmp_path, start):
    holder = start("one")
    assert holder.stdout.readline() == "held\n"
    time.sleep(4 * BEAT)
    holder.send_signal(signal.SIGSTOP)
    time.sleep(1.5 * DEAD)
    before = (tmp_path / "work").read_text()
    holder.send_signal(signal.SIGCONT)
    end = time.monotonic() + 60
    while (tmp_path / "work").read_text() == before:
        assert time.monotonic() < end
        time.sleep(0.02)
    with pytest.raises(BusyError), holding(tmp_path):
        pass


def test_a_lost_lease_interrupts_the_main_thread(tmp_path):
    def work():
        (tmp_path / "lock").write_bytes(b"another's")
        time.sleep(20)

    began = time.monotonic()
    with pytest.raises(LeaseLostError, match="writes nothing more"), holding(tmp_path):
        work()
    assert time.monotonic() - began < 5
    assert (tmp_path / "lock").read_bytes() == b"another's"  # it is not removed


def test_a_lost_lease_refuses_what_is_written_into_its_folder_and_nothing_else(tmp_path):
    with hold_in_a_thread(tmp_path / "b"):
        (tmp_path / "b" / "lock").unlink()
        time.sleep(4 * BEAT)
        write_atomic(tmp_path / "c", b"")
        with pytest.raises(LeaseLostError):
            write_atomic(tmp_path / "b" / "c", b"")
    assert not list((tmp_path / "b").iterdir())


@contextlib.contextmanager
def hold_in_a_thread(folder):
    """Hold a folder in another thread, whose loss does not interrupt this one."""
    folder.mkdir()
    held, done = threading.Event(), threading.Event()

    def work():
        with holding(folder):
            held.set()
            done.wait()

    thread = threading.Thread(target=work)
    thread.start()
    held.wait()
    try:
        yield
    finally:
        done.set()
        thread.join()


def test_a_lease_that_this_process_could_not_remove_does_not_stop_it(tmp_path, monkeypatch):
    def refused(*_, **_unused):
        raise OSError(30, "Read-only file system")

    with monkeypatch.context() as patch, holding(tmp_path):
        patch.setattr(Path, "unlink", refused)
    assert is_locked(tmp_path)
    assert not is_held(tmp_path)
    with holding(tmp_path), pytest.raises(BusyError), holding(tmp_path):
        pass
    assert not is_locked(tmp_path)


def test_an_interruption_by_the_user_stays_one(tmp_path):
    with pytest.raises(KeyboardInterrupt), holding(tmp_path):
        raise KeyboardInterrupt
    assert not is_locked(tmp_path)


def test_a_lease_that_cannot_be_renewed_is_lost_before_others_may_take_it(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    def work():
        monkeypatch.setattr(leases, "_replace", full)
        time.sleep(20)

    began = time.monotonic()
    with pytest.raises(LeaseLostError, match=r"lock could not be written: No space left on device"), holding(tmp_path):
        work()
    assert time.monotonic() - began < 2 * DEAD


def test_a_process_killed_while_it_removed_a_dead_lease_stops_no_other_for_long(tmp_path):
    (tmp_path / "lock").write_bytes(json.dumps({"pid": 1, "machine": "elsewhere", "count": 7}).encode())
    (tmp_path / "lock.break").write_bytes(b"{}")
    began = time.monotonic()
    with holding(tmp_path):
        assert time.monotonic() - began < 4 * DEAD
        assert [path.name for path in tmp_path.iterdir()] == ["lock"]


def test_a_process_killed_after_it_removed_a_dead_lease_leaves_nothing(tmp_path):
    gone = {"pid": 999_999_999, "machine": leases.machine(), "mark": "1"}
    (tmp_path / "lock.break").write_bytes(json.dumps(gone).encode())
    (tmp_path / "kept").touch()
    with holding(tmp_path):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


@pytest.mark.parametrize("content", [b"", b"\xff", b"[]", b'{"pid": "x"}', b'{"pid": 99999999999999999999}'])
def test_a_damaged_lease_is_waited_for_and_then_followed(tmp_path, content):
    (tmp_path / "lock").write_bytes(content)
    assert is_held(tmp_path)
    with holding(tmp_path):
        pass
    assert not is_locked(tmp_path)


def test_a_number_that_another_process_has_now_is_not_taken_for_the_holder(tmp_path):
    (tmp_path / "kept").touch()
    with holding(tmp_path):
        said = json.loads((tmp_path / "lock").read_bytes())
    sleeper = subprocess.Popen(["sleep", "30"])
    try:
        (tmp_path / "lock").write_bytes(json.dumps({**said, "pid": sleeper.pid}).encode())
        assert not is_held(tmp_path)
    finally:
        sleeper.kill()
        sleeper.wait()


def test_the_same_number_on_another_machine_says_nothing(tmp_path):
    (tmp_path / "kept").touch()
    with holding(tmp_path):
        said = json.loads((tmp_path / "lock").read_bytes())
    assert said["machine"]
    for machine in ("elsewhere", ""):
        (tmp_path / "lock").write_bytes(json.dumps({**said, "pid": 2**22 - 1, "machine": machine}).encode())
        assert is_held(tmp_path)


def test_a_lease_leaves_nothing_behind(tmp_path):
    (tmp_path / "result").touch()
    with holding(tmp_path):
        time.sleep(3 * BEAT)
    assert [path.name for path in tmp_path.iterdir()] == ["result"]
    assert not is_held(tmp_path)
    folder = tmp_path / "run"
    folder.mkdir()
    with holding(folder):
        pass
    assert not folder.exists()


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path):
    for folder in (tmp_path / "none", Path("/proc/self/none")):
        with pytest.raises(CheckpointError, match=r"cannot be written.*--output"), holding(folder):
            pass


def test_a_file_is_no_folder_in_use(tmp_path):
    (tmp_path / "study.json").touch()
    assert not is_held(tmp_path / "study.json")


def _write(folder):
    write_atomic(folder / "child", b"")


def test_a_forked_process_may_write(tmp_path):
    with holding(tmp_path):
        child = multiprocessing.get_context("fork").Process(target=_write, args=(tmp_path,))
        child.start()
        child.join()
    assert child.exitcode == 0
    assert (tmp_path / "child").exists()
    assert os.getpid() != child.pid
