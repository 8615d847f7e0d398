"""What a worker reports of its cells, and when it is not given another one. The cells are stand-ins."""

import io
import json
import logging
import os
import queue
import random
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from medssl.errors import DataError
from medssl.io.locks import BusyError
from medssl.study.launch import worker


@pytest.fixture
def events(monkeypatch, tmp_path):
    """Run the main loop over stand-ins of cells, and return the events."""

    def run(*cells):
        todo, stream = list(cells), io.StringIO()
        monkeypatch.setattr(worker, "_events", lambda: stream)
        monkeypatch.setattr(worker, "_write_to", lambda file: None)
        monkeypatch.setattr(worker, "_carry_out", lambda job, reporter: todo.pop(0)())
        monkeypatch.setattr("sys.stdin", io.StringIO(f"{json.dumps({'log': str(tmp_path / 'log')})}\n" * len(cells)))
        monkeypatch.setattr(worker, "_receive", receive)
        worker.main()
        assert not todo
        return [json.loads(line) for line in stream.getvalue().splitlines()]

    return run


def receive(jobs):
    """Without the end of the process when standard input ends."""
    for line in sys.stdin:
        jobs.put(line)
    jobs.put(None)
    threading.Event().wait()  # as while the parent lives


def test_warnings_go_with_the_error_because_no_result_lists_them(events):
    def fail():
        for _ in range(2):
            logging.getLogger("medssl").warning("up holds one class folder")
        raise DataError("all images are of one class.")

    (event,) = events(fail)
    assert event["event"] == "failed"
    assert event["message"] == "all images are of one class. Warning: up holds one class folder"
    assert not event["again"]


def test_an_unexpected_error_and_a_cell_in_use_are_told(events, capsys):
    def busy():
        raise BusyError("x")

    found = events(lambda: 1 / 0, busy, lambda: None)
    assert [(event["event"], event["again"]) for event in found] == [("failed", False), ("busy", True), ("done", True)]
    assert found[0]["message"].startswith("ZeroDivisionError: division by zero. Its traceback is in worker.log")
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_a_cell_begins_as_in_a_new_process(events, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    seen = []

    def spoil():
        seen.append((dict(os.environ), Path.cwd(), list(sys.path), torch.rand(3).tolist()))
        seen[-1] += (random.random(), np.random.rand())  # noqa: NPY002
        os.environ["NEW"] = "1"
        os.environ.pop("HOME", None)
        sys.path.append("/none")
        os.chdir("/")
        torch.manual_seed(1)
        random.seed(1)
        np.random.seed(1)  # noqa: NPY002

    with torch.random.fork_rng([]):
        assert all(event["again"] for event in events(spoil, spoil, spoil))
    first, second, third = seen
    assert first[:4] == second[:4] == third[:4]
    assert second[4:] != third[4:]  # these have no fixed seed


@pytest.mark.parametrize(
    ("change", "back"),
    [
        (lambda: torch.set_default_dtype(torch.float64), lambda: torch.set_default_dtype(torch.float32)),
        (lambda: torch.use_deterministic_algorithms(True), lambda: torch.use_deterministic_algorithms(False)),
        (
            lambda: torch.set_float32_matmul_precision("medium"),
            lambda: torch.set_float32_matmul_precision("highest"),
        ),
    ],
)
def test_a_process_with_other_settings_gets_no_further_cell(events, change, back):
    try:
        assert [event["again"] for event in events(lambda: None, change)] == [True, False]
    finally:
        back()


def test_a_process_with_a_thread_left_gets_no_further_cell(events):
    end = threading.Event()
    thread = threading.Thread(target=end.wait)
    assert [event["again"] for event in events(lambda: None, thread.start)] == [True, False]
    end.set()
    thread.join()


def test_a_process_that_grows_gets_no_further_cell(events, monkeypatch):
    sizes = iter([10, 10, 15, 40])
    monkeypatch.setattr(worker, "_GROWTH", 20)
    monkeypatch.setattr(worker, "_memory", lambda: next(sizes))
    assert [event["again"] for event in events(*[lambda: None] * 3)] == [True, True, False]


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="no /proc")
def test_its_memory_is_known():
    assert 2**24 < worker._memory() < 2**40


@pytest.mark.parametrize(("works", "expected"), [(True, [1]), (False, [])])
def test_a_worker_ends_with_its_parent(monkeypatch, works, expected):
    ended, jobs = [], queue.Queue()
    monkeypatch.setattr(os, "_exit", ended.append)
    monkeypatch.setattr("sys.stdin", io.StringIO("{}\n" if works else ""))
    worker._receive(jobs)
    assert ended == expected
    assert [jobs.get_nowait() for _ in range(jobs.qsize())][-1] is None
