"""The checks of launchers find what a study would stumble over."""

import subprocess

import pytest

from medssl.conformance import launchers, run_checks
from medssl.contracts import Launcher, TaskState
from medssl.errors import LaunchError, OptionError


class Sound(Launcher):
    """Runs every task at once, while it is asked to start it."""

    def submit(self, job):
        for number, command in enumerate(job.commands):
            if "600" in command[-1]:
                continue  # it will be cancelled
            done = subprocess.run(command, check=False, cwd=job.directory, stderr=subprocess.PIPE, text=True)
            (job.folder / f"{number}.txt").write_text(f"{done.returncode}\n{done.stderr}")
        return "here"

    def states(self, job, handle):
        return [self.state(job.folder / f"{number}.txt") for number in range(len(job.commands))]

    def state(self, file):
        status, _, words = file.read_text().partition("\n") if file.exists() else ("1", "", "it was ended")
        return TaskState(state="done") if status == "0" else TaskState(state="failed", message=words)

    def cancel(self, job, handle):
        pass


class Hopeful(Sound):
    def state(self, file):
        return TaskState(state="done")


class Silent(Sound):
    def state(self, file):
        return TaskState(state=super().state(file).state)


class Forgets(Sound):
    def states(self, job, handle):
        return super().states(job, handle)[:1]


class Answers(Sound):
    def cancel(self, job, handle):
        return True


class Numbers(Sound):
    def submit(self, job):
        super().submit(job)
        return 7


class Refuses(Sound):
    def submit(self, job):
        raise LaunchError("the queue is closed.")


class Uninstalled(Sound):
    def __init__(self, config):
        raise OptionError("it needs the package none.")


class Endless(Sound):
    def states(self, job, handle):
        return [TaskState(state="waiting") for _ in job.commands]


def results(plugin):
    return {result.name: result for result in run_checks("launcher", plugin)}


def found(plugin):
    return {name: result.problem for name, result in results(plugin).items() if result.problem}


def test_a_sound_launcher_passes():
    assert found(Sound) == {}


@pytest.mark.parametrize(
    ("plugin", "check", "words"),
    [
        (Hopeful, "tells a failed task and its last words", "the second task failed"),
        (Hopeful, "cancels what runs", "cancelled tasks are failed"),
        (Silent, "tells a failed task and its last words", "last lines of the log"),
        (Forgets, "starts every task and sees its end", "one TaskState for each command"),
        (Answers, "cancels what runs", "cancel() must return nothing"),
        (Numbers, "starts every task and sees its end", "submit() must return a text"),
    ],
)
def test_a_launcher_that_would_fail_is_found(plugin, check, words):
    assert words in found(plugin)[check]


@pytest.mark.parametrize("plugin", [Refuses, Uninstalled, Endless])
def test_what_cannot_be_tried_here_is_not_called_wrong(plugin, monkeypatch):
    monkeypatch.setattr(launchers, "_PATIENCE", 0.3)
    assert found(plugin) == {}
