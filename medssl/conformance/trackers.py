"""Checks of the contract of trackers, on invented runs in a temporary folder."""

from __future__ import annotations

import contextlib
import io
import math
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from medssl.conformance.running import Check, Subject, built, require
from medssl.contracts import FinishedRun, StartedRun, Tracker

__all__ = ["CHECKS"]

_SETTINGS: Mapping[str, str | int | float | bool | None] = {
    "method.plugin": "toy",
    "train.epochs": 2,
    "train.learning_rate": 0.06,
    "split.fold": None,
    "evaluate.baseline": True,
    "views.note": "größer als 64 px " * 60,
}
_EPOCH = {"loss": 1.5, "learning_rate": 0.06, "validation/votes": 0.7}
_RESULT = {"votes/accuracy": 0.75, "votes/accuracy/low": 0.7, "votes/accuracy/high": 0.8}


@contextlib.contextmanager
def _place() -> Iterator[Path]:
    """Yield a temporary folder, and take it for the current folder: some packages write there."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        yield Path(folder)


def _start(tracker: Tracker, place: Path, first_epoch: int = 0) -> None:
    run = StartedRun(name="toy-run", study="runs", settings=_SETTINGS, folder=place / "own", first_epoch=first_epoch)
    require(tracker.start(run) is None, "start() must return nothing")


def _finish(tracker: Tracker, place: Path, values: Mapping[str, float] = _RESULT) -> None:
    result, report = place / "result.json", place / "report.html"
    result.write_text("{}", encoding="utf-8")
    report.write_text("<p>", encoding="utf-8")
    tracker.finish(FinishedRun(values=values, files={"result": result, "report": report}))


def check_follows_a_run_and_prints_nothing(subject: Subject) -> None:
    """It hears of the start, of each epoch and of the end, and writes nothing to standard output."""
    tracker, said = built(subject), io.StringIO()
    with _place() as place, contextlib.redirect_stdout(said):
        _start(tracker, place)
        for number in range(2):
            tracker.epoch(number, _EPOCH)
        _finish(tracker, place)
    text = said.getvalue().strip()
    require(not text, f"it must print nothing, because standard output may be JSON, but printed '{text:.60}'")


def check_continues_a_stopped_run(subject: Subject) -> None:
    """After fail(), another object takes the run up again in the same folder."""
    with _place() as place, contextlib.redirect_stdout(io.StringIO()):
        stopped = built(subject)
        _start(stopped, place)
        stopped.epoch(0, _EPOCH)
        stopped.fail("stopped by the user")
        continued = built(subject)
        _start(continued, place, first_epoch=1)
        continued.epoch(1, _EPOCH)
        _finish(continued, place)


def check_takes_a_run_without_epochs_and_odd_numbers(subject: Subject) -> None:
    """A method that trains nothing has no epochs; a metric may be infinite or undefined."""
    with _place() as place, contextlib.redirect_stdout(io.StringIO()):
        tracker = built(subject)
        _start(tracker, place)
        _finish(tracker, place, {**_RESULT, "votes/nll": math.inf, "shape/alpha": math.nan})


CHECKS: tuple[Check, ...] = (
    check_follows_a_run_and_prints_nothing,
    check_continues_a_stopped_run,
    check_takes_a_run_without_epochs_and_odd_numbers,
)
