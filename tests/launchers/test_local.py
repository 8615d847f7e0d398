"""Processes of this machine that outlive the command; the checks of the contract run in tests/test_first_party.py."""

import json
import os
import signal
import sys

import pytest

from medssl.contracts import Job
from medssl.errors import LaunchError
from medssl_launchers.local import Local


def job_of(folder, *programs, at_once=None):
    commands = [[sys.executable, "-c", program] for program in programs]
    cells = [f"cell-{i}" for i in range(len(programs))]
    return Job(name="x", study=folder, folder=folder, cells=cells, commands=commands, directory=folder, at_once=at_once)


def states(job, handle):
    return [task.state for task in Local(Local.Config()).states(job, handle)]


@pytest.mark.parametrize(("lanes", "at_once", "expected"), [(1, None, 1), (2, None, 2), (1, 3, 3), (9, None, 3)])
def test_tasks_run_in_lanes(tmp_path, lanes, at_once, expected, wait_for):
    program = "import os, pathlib; pathlib.Path(f'lane-{os.getppid()}').touch()"
    job = job_of(tmp_path, *[program] * 3, at_once=at_once)
    handle = Local(Local.Config(lanes=lanes)).submit(job)
    wait_for(lambda: states(job, handle) == ["done"] * 3)
    assert len(list(tmp_path.glob("lane-*"))) == expected


def test_a_lane_that_was_killed_leaves_failed_tasks(tmp_path, wait_for):
    job = job_of(tmp_path, "import time; time.sleep(60)", "pass")
    handle = Local(Local.Config()).submit(job)
    wait_for(lambda: states(job, handle) == ["running", "waiting"])
    (pid,) = json.loads(handle)["pids"]
    os.killpg(pid, signal.SIGKILL)
    wait_for(lambda: states(job, handle) == ["failed", "failed"])


def test_a_number_that_another_process_has_now_is_not_ended(tmp_path, wait_for):
    job = job_of(tmp_path, "pass")
    handle = json.dumps({**json.loads(Local(Local.Config()).submit(job)), "pids": [os.getpid()]})
    wait_for(lambda: states(job, handle) == ["done"])
    Local(Local.Config()).cancel(job, handle)


def test_processes_of_another_machine_are_not_asked_for(tmp_path):
    handle = json.dumps({"host": "elsewhere", "pids": [1]})
    for function in ("states", "cancel"):
        with pytest.raises(LaunchError, match="are on elsewhere, and this is another machine"):
            getattr(Local(Local.Config()), function)(job_of(tmp_path, "pass"), handle)


def test_a_command_that_does_not_exist_is_failed(tmp_path, wait_for):
    job = Job(name="x", study=tmp_path, folder=tmp_path, cells=["a"], commands=[["/none"]], directory=tmp_path)
    handle = Local(Local.Config()).submit(job)
    wait_for(lambda: states(job, handle) == ["failed"])
