"""Runs one cell in a separate process: reads a job from standard input, writes one line of JSON per event.

The events go to standard output. The parent process keeps standard input open as long as it lives. When the parent ends
for any reason, the worker ends too, and the files that the run has written are complete.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import traceback
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from medssl.catalog import load_catalog
from medssl.errors import MedsslError
from medssl.io.locks import BusyError
from medssl.recipe import resolve
from medssl.runs.listener import Listener
from medssl.runs.pipeline import Place, collect_warnings, execute
from medssl.study.schedule.state import LOG
from medssl.train.loop.records import EpochRecord

__all__ = ["main"]


class _Reporter(Listener):
    """Turns the progress of a run into events."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def send(self, event: str, **values: Any) -> None:
        """Write one event."""
        self._stream.write(json.dumps({"event": event, **values}) + "\n")
        self._stream.flush()

    def stage(self, title: str) -> None:
        """A stage begins."""
        self.send("stage", title=title)

    def epoch(self, record: EpochRecord) -> None:
        """An epoch is done."""
        self.send("epoch", **{k: v for k, v in asdict(record).items() if k in ("epoch", "loss", "seconds")})


def main() -> None:
    """Run one job and exit; the status is 0 if the outcome was reported."""
    reporter = _Reporter(_events())
    job = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with collect_warnings() as warnings:
        try:
            _carry_out(job, reporter)
        except BusyError:
            reporter.send("busy")
        except MedsslError as error:
            hints = "".join(f" Warning: {text}" for text in dict.fromkeys(warnings))  # no result will list them
            reporter.send("failed", message=f"{error}{hints}")
        except Exception as error:
            text = " ".join(str(error).split())
            traceback.print_exc()
            reporter.send(
                "failed", message=f"{type(error).__name__}: {text}. Its traceback is in {LOG} in the folder of the run."
            )


def _events() -> TextIO:
    """Reserve standard output for the events; all other output goes to standard error."""
    stream = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return stream


def _end_with_parent() -> None:
    while os.read(sys.stdin.fileno(), 1024):  # not sys.stdin.read: its lock would block a normal exit
        pass
    os._exit(1)


def _carry_out(job: Mapping[str, Any], reporter: _Reporter) -> None:
    catalog = load_catalog(Path(job["catalog_file"]) if job["catalog_file"] else None)
    recipe = resolve(catalog, job["layers"])
    place = Place(
        data_dir=Path(job["data_dir"]) if job["data_dir"] else None,
        output=Path(job["output"]),
        device=job["device"],
        force=job["force"],
        on_bad_image=job["on_bad_image"],
        patient=False,
    )
    execute(recipe, catalog=catalog, place=place, listener=reporter)
    reporter.send("done")


if __name__ == "__main__":
    main()
