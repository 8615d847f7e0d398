"""Processes of this machine are told from those of others, and from earlier ones of the same number."""

import os
import signal
import subprocess
import time

from medssl.io.machines import is_stopped, machine, process_mark, runs


def test_processes_of_one_machine_agree_on_its_name():
    assert len(machine()) == 12
    assert int(machine(), 16) >= 0


def test_a_process_runs_until_it_has_ended_also_before_its_parent_hears_of_it():
    process = subprocess.Popen(["sleep", "30"])
    mark = process_mark(process.pid)
    assert runs(process.pid)
    assert runs(process.pid, mark)
    assert not runs(process.pid, mark + "0")
    process.kill()
    end = time.monotonic() + 5
    while runs(process.pid):
        assert time.monotonic() < end
        time.sleep(0.01)
    process.wait()
    assert not runs(process.pid)
    assert process_mark(process.pid) == ""


def test_a_stopped_process_is_seen():
    process = subprocess.Popen(["sleep", "30"])
    assert not is_stopped(process.pid)
    process.send_signal(signal.SIGSTOP)
    end = time.monotonic() + 5
    while not is_stopped(process.pid):
        assert time.monotonic() < end
        time.sleep(0.01)
    assert runs(process.pid)
    process.kill()
    process.wait()


def test_numbers_that_no_process_can_have_run_nothing():
    assert not runs(2**70)
    assert runs(os.getpid(), "whatever")
    assert process_mark(2**70) == ""
