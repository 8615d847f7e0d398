"""Passes the events of a run on to its trackers, each in a thread of its own.

A tracker can neither stop a run nor delay it: an error is reported once, and a finished run waits a limited time. Each
gets values of its own, so none changes what the others get.
"""

from __future__ import annotations

import contextlib
import copy
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from medssl.contracts import FinishedRun, StartedRun, Tracker
from medssl.contracts.crossing.values import type_problems
from medssl.contracts.kinds import TRACKER
from medssl.discovery.blame import file_of, named_plugin
from medssl.discovery.guarding import settings_kept
from medssl.io.plain_text import file_stem
from medssl.recipe import Choice, Recipe
from medssl.results.directory import RunDirectory, RunResult
from medssl.results.privacy import hidden_paths
from medssl.runs.listener import Listener
from medssl.train.loop.records import EpochRecord, StepRecord

__all__ = ["page_for_trackers", "tracking"]

_PATIENCE = 30.0  # seconds that an ending run waits for all of its trackers; our choice
_FOLDER = TRACKER.plural

#: Name and arguments of a function of a tracker.
_Call = tuple[str, tuple[Any, ...]]


@contextlib.contextmanager
def tracking(recipe: Recipe, directory: RunDirectory, listener: Listener) -> Iterator[Listener]:
    """Create the recipe's trackers, and yield a listener that passes every event on to them and to ``listener``.

    The trackers start at the first stage, so a finished run that is only read again reaches none of them.

    Raises:
        OptionError: A tracker needs a package that is not installed.
    """
    chosen = recipe.chosen(TRACKER)
    if not chosen:
        yield listener
        return
    lines = []
    for choice in chosen:
        with settings_kept(named_plugin(choice)):
            lines.append(_Line(choice, choice.plugin(choice.config)))
    tracked = _Tracked(recipe, directory, listener, lines)
    try:
        yield tracked
    except BaseException as error:
        tracked.failed(_cause(error))
        raise
    finally:
        tracked.close()


class _Line:
    """The connection to one tracker: a queue of calls, and the thread that makes them."""

    def __init__(self, choice: Choice, tracker: Tracker) -> None:
        self.name = choice.name
        self.problem = ""
        self._choice = choice
        self._tracker = tracker
        self._calls: SimpleQueue[_Call | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name=f"tracker {choice.name}", daemon=True)
        self._thread.start()

    def send(self, function: str, *arguments: Any) -> None:
        self._calls.put((function, copy.deepcopy(arguments)))

    def end(self) -> None:
        self._calls.put(None)

    def wait(self, seconds: float) -> None:
        """Wait until everything is sent."""
        self._thread.join(max(0.0, seconds))
        if self._thread.is_alive():
            self.problem = f"it has not answered for {_PATIENCE:.0f} s"

    def _serve(self) -> None:
        while (call := self._calls.get()) is not None:
            if self.problem:
                continue
            function, arguments = call
            try:
                with settings_kept(named_plugin(self._choice)):
                    returned = getattr(self._tracker, function)(*arguments)
            except BaseException as error:
                self.problem = f"it failed in {function}() ({self._place}): {_words(error)}"
                continue
            if problems := type_problems(returned, None, "None"):
                self.problem = f"it breaks its contract in {function}() ({self._place}): {'; '.join(problems)}"
                getattr(returned, "close", int)()  # a coroutine that is never awaited would warn

    @property
    def _place(self) -> str:
        return f"{self._choice.distribution} {self._choice.version}, {file_of(self._choice.plugin)}"


class _Tracked(Listener):
    """Passes events on to a listener and to trackers."""

    def __init__(self, recipe: Recipe, directory: RunDirectory, listener: Listener, lines: Sequence[_Line]) -> None:
        self._recipe, self._directory, self._listener, self._lines = recipe, directory, listener, lines
        self._started = False
        self._reported: set[str] = set()

    def stage(self, title: str) -> None:
        if not self._started:
            self._started = True
            self._start()
        self._listener.stage(title)

    def note(self, text: str) -> None:
        self._listener.note(text)

    def progress(self, done: int, total: int) -> None:
        self._listener.progress(done, total)

    def step(self, record: StepRecord) -> None:
        self._listener.step(record)

    def epoch(self, record: EpochRecord) -> None:
        values = _epoch_values(record)
        self._send("epoch", record.epoch, values)
        self._listener.epoch(record)
        self._report()

    def finished(self, result: RunResult) -> None:
        page = page_for_trackers(self._directory)
        files = {"result": self._directory.result, "report": page, "encoder": self._directory.encoder}
        found = FinishedRun(values=_result_values(result), files={k: p for k, p in files.items() if p.is_file()})
        self._send("finish", found)
        self._listener.finished(result)

    def failed(self, message: str) -> None:
        """Say that the run has stopped before its end."""
        if self._started:
            self._send("fail", message)

    def close(self) -> None:
        """Wait until everything is sent, and report the trackers that could not."""
        end = time.monotonic() + _PATIENCE
        for line in self._lines:
            line.end()
        for line in self._lines:
            line.wait(end - time.monotonic())
        self._report()

    def _start(self) -> None:
        first = len(self._directory.history.read_bytes().splitlines()) if self._directory.history.is_file() else 0
        for line in self._lines:
            run = StartedRun(
                name=self._directory.path.name,
                study=self._directory.path.resolve().parent.name,
                settings=dict(_flat(hidden_paths(self._recipe.identity, self._recipe.paths, {}))),
                folder=self._directory.path / _FOLDER / file_stem(line.name.replace(":", "_")),
                first_epoch=first,
            )
            line.send("start", run)

    def _send(self, function: str, *arguments: Any) -> None:
        for line in self._lines:
            line.send(function, *arguments)

    def _report(self) -> None:
        for line in self._lines:
            if line.problem and line.name not in self._reported:
                self._reported.add(line.name)
                self._listener.note(
                    f"the tracker '{line.name}' is left out from now on: {line.problem.rstrip('.')}. "
                    "The run is not affected."
                )


def page_for_trackers(directory: RunDirectory) -> Path:
    """Return where the page without images is, which trackers may pass on."""
    return directory.path / _FOLDER / "report.html"


def _cause(error: BaseException) -> str:
    """Say why a run has stopped; the message itself may name files, and a tracker may send it anywhere."""
    if isinstance(error, KeyboardInterrupt):
        return "stopped by the user"
    return f"stopped by {type(error).__name__}; the message is on the computer of the run"


def _words(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _flat(values: Any, prefix: str = "") -> Iterator[tuple[str, str | int | float | bool | None]]:
    """Yield every setting with a dotted key."""
    items: Any = values.items() if isinstance(values, Mapping) else enumerate(values)
    for key, value in items:
        if isinstance(value, Mapping | list | tuple):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _epoch_values(record: EpochRecord) -> dict[str, float]:
    values = asdict(record)
    validation = {f"validation/{name}": value for name, value in record.validation.items()}
    kept = ("loss", "learning_rate", "images_per_second", "feature_std", "effective_rank")
    return {**{key: values[key] for key in kept if values[key] is not None}, **validation}


def _result_values(result: RunResult) -> dict[str, float]:
    return {
        f"{name}/{metric}{end}": value
        for name, scores in result.scores.items()
        for metric, score in scores.items()
        for end, value in (("", score.value), ("/low", score.low), ("/high", score.high))
        if value is not None
    }
