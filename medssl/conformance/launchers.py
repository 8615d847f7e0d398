"""Checks of the contract of launchers, on jobs of a few seconds in a temporary folder."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from medssl.conformance.running import Check, NotSeen, Subject, built, require
from medssl.contracts import Job, Launcher, TaskState
from medssl.contracts.crossing.values import type_problems
from medssl.errors import LaunchError

__all__ = ["CHECKS"]

_PATIENCE = 120.0  # seconds for tasks that take one; a busy cluster is not waited for
_WRITES = "import pathlib, sys; pathlib.Path(sys.argv[1]).write_text(pathlib.Path.cwd().name)"
_FAILS = "import sys; sys.exit('the disk is on fire')"
_SLEEPS = "import time; time.sleep(600)"


def _job(place: Path, *programs: Sequence[str]) -> Job:
    folder = place / "jobs" / "toy"
    folder.mkdir(parents=True)
    commands = [[sys.executable, "-c", *words] for words in programs]
    cells = [f"cell-{i}" for i in range(len(programs))]
    return Job(name="toy", study=place, folder=folder, cells=cells, commands=commands, directory=place, at_once=2)


def _submitted(launcher: Launcher, job: Job) -> str:
    try:
        handle = launcher.submit(job)
    except LaunchError as error:
        raise NotSeen(str(error)) from error
    problems = type_problems(handle, str, "a text")
    require(not problems, f"submit() must return a text: {'; '.join(problems)}")
    json.dumps(handle)
    return handle


def _states(launcher: Launcher, job: Job, handle: str) -> Sequence[TaskState]:
    found = launcher.states(job, handle)
    right = isinstance(found, Sequence) and all(isinstance(each, TaskState) for each in found)
    require(right and len(found) == len(job.commands), "states() must return one TaskState for each command")
    return found


def _at_the_end(subject: Subject, job: Job, handle: str) -> Sequence[TaskState]:
    """Ask another object each time, as other processes will."""
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        found = _states(built(subject), job, handle)
        if all(task.state in ("done", "failed") for task in found):
            return found
        time.sleep(0.2)
    raise NotSeen(f"the tasks had not ended after {_PATIENCE:.0f} s")


def check_starts_every_task_and_sees_its_end(subject: Subject) -> None:
    """Each command runs in its folder, and another object sees when it has ended."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder).resolve()
        wanted = [place / f"task {i}" for i in range(3)]
        job = _job(place, *([_WRITES, str(path)] for path in wanted))
        found = _at_the_end(subject, job, _submitted(built(subject), job))
        require([task.state for task in found] == ["done"] * 3, f"tasks that end well must be done, but are {found}")
        for path in wanted:
            require(path.exists() and path.read_text() == place.name, "a command must run in `job.directory`")


def check_tells_a_failed_task_and_its_last_words(subject: Subject) -> None:
    """A task that fails is failed, with the last lines of what it said."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder).resolve()
        job = _job(place, [_WRITES, str(place / "a")], [_FAILS])
        found = _at_the_end(subject, job, _submitted(built(subject), job))
        require([task.state for task in found] == ["done", "failed"], f"the second task failed, but states are {found}")
        require("on fire" in found[1].message, f"the message must have the last lines of the log: {found[1].message!r}")


def check_cancels_what_runs(subject: Subject) -> None:
    """After cancel() every task has ended; to cancel again does nothing."""
    with tempfile.TemporaryDirectory() as folder:
        job = _job(Path(folder).resolve(), [_SLEEPS], [_SLEEPS], [_SLEEPS])
        handle = _submitted(built(subject), job)
        for _ in range(2):
            require(built(subject).cancel(job, handle) is None, "cancel() must return nothing")
        found = _at_the_end(subject, job, handle)
        require({task.state for task in found} == {"failed"}, f"cancelled tasks are failed, but states are {found}")


CHECKS: tuple[Check, ...] = (
    check_starts_every_task_and_sees_its_end,
    check_tells_a_failed_task_and_its_last_words,
    check_cancels_what_runs,
)
