"""What a worker reports of a cell that failed."""

import io
import json
import logging

from medssl.errors import DataError
from medssl.study.launch import worker


def test_warnings_go_with_the_error_because_no_result_lists_them(monkeypatch):
    def fail(*_):
        for _ in range(2):
            logging.getLogger("medssl").warning("up holds one class folder")
        raise DataError("all images are of one class.")

    stream = io.StringIO()
    monkeypatch.setattr(worker, "_events", lambda: stream)
    monkeypatch.setattr(worker, "_end_with_parent", lambda: None)
    monkeypatch.setattr(worker, "_carry_out", fail)
    monkeypatch.setattr("sys.stdin", io.StringIO("{}\n"))
    worker.main()
    (event,) = map(json.loads, stream.getvalue().splitlines())
    assert event["event"] == "failed"
    assert event["message"] == "all images are of one class. Warning: up holds one class folder"
