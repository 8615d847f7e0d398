"""The checks of trackers find what a run would stumble over."""

import sys

import pytest

from medssl.conformance import run_checks
from medssl.contracts import Tracker


class Sound(Tracker):
    def start(self, run):
        run.folder.mkdir(parents=True, exist_ok=True)
        self.file = run.folder / "heard.txt"

    def epoch(self, number, values):
        with self.file.open("a") as file:
            file.write(f"{number} {dict(values)}\n")

    def finish(self, run):
        for file in run.files.values():
            file.read_bytes()


class Prints(Sound):
    def finish(self, run):
        sys.stdout.write("done")


class Answers(Sound):
    def start(self, run):
        super().start(run)
        return self


class BeginsTwice(Sound):
    def start(self, run):
        run.folder.mkdir(parents=True)
        self.file = run.folder / "heard.txt"


class NeedsEpochs(Sound):
    def finish(self, run):
        self.file.read_text()


class RoundsAll(Sound):
    def finish(self, run):
        [round(value) for value in run.values.values()]


def found(plugin):
    return {result.name: result.problem for result in run_checks("tracker", plugin) if result.problem}


def test_a_sound_tracker_passes():
    assert found(Sound) == {}


@pytest.mark.parametrize(
    ("plugin", "check", "words"),
    [
        (Prints, "follows a run and prints nothing", "printed 'done'"),
        (Answers, "follows a run and prints nothing", "start() must return nothing"),
        (BeginsTwice, "continues a stopped run", "FileExistsError"),
        (NeedsEpochs, "takes a run without epochs and odd numbers", "FileNotFoundError"),
        (RoundsAll, "takes a run without epochs and odd numbers", "cannot convert float"),
    ],
)
def test_a_tracker_that_would_fail_is_found(plugin, check, words):
    assert words in found(plugin)[check]
