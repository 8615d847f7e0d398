"""A worker process: reads cells from standard input, runs one after another, writes one line of JSON per event.

The events go to standard output, and all other output to the log of the cell. The parent process keeps standard input
open as long as it lives. When the parent ends for any reason, the worker ends too, and the files that the run has
written are complete.

After a cell, environment variables, the folder, the path of modules and the random generators are as they were before.
The process gets no further cell if the cell failed, if threads or settings of torch are left that were not there
before, or if it needs a gigabyte more than after its first cell.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import queue
import random
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import torch

from medssl.catalog import load_catalog
from medssl.errors import MedsslError
from medssl.io.locks import BusyError
from medssl.recipe import resolve
from medssl.runs.listener import Listener
from medssl.runs.pipeline import Place, collect_warnings, execute
from medssl.study.schedule.state import LOG
from medssl.train.loop.records import EpochRecord

__all__ = ["main"]

_GROWTH = 2**30  # bytes


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
    """Run the cells that standard input names, until it is closed."""
    reporter = _Reporter(_events())
    jobs: queue.Queue[str | None] = queue.Queue()
    threading.Thread(target=_receive, args=(jobs,), daemon=True).start()
    first, seed, settings, threads = 0, torch.initial_seed(), _settings(), {*threading.enumerate()}
    while (line := jobs.get()) is not None:
        job = json.loads(line)
        _write_to(job["log"])
        with _given_back(seed):
            said = _run(job, reporter)
        first = first or _memory()
        as_before = _settings() == settings and {*threading.enumerate()} <= threads
        again = as_before and "message" not in said and _memory() < first + _GROWTH
        _write_to(os.devnull)
        jobs.task_done()  # before the parent may close standard input
        reporter.send(**said, again=again)


def _events() -> TextIO:
    """Reserve standard output for the events."""
    stream = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return stream


def _write_to(file: str) -> None:
    """Send all further output to a file."""
    sys.stdout.flush()
    sys.stderr.flush()
    with Path(file).open("ab") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)


def _receive(jobs: queue.Queue[str | None]) -> None:
    """Hand on the lines of standard input; when the parent has closed it, end at once if a cell runs."""
    for line in sys.stdin:
        jobs.put(line)
    if jobs.unfinished_tasks:
        os._exit(1)
    jobs.put(None)


def _run(job: Mapping[str, Any], reporter: _Reporter) -> dict[str, str]:
    """Run a cell and return its last event."""
    with collect_warnings() as warnings:
        try:
            _carry_out(job, reporter)
        except BusyError:
            return {"event": "busy"}
        except MedsslError as error:
            hints = "".join(f" Warning: {text}" for text in dict.fromkeys(warnings))  # no result will list them
            return {"event": "failed", "message": f"{error}{hints}"}
        except Exception as error:
            text = " ".join(str(error).split())
            traceback.print_exc()
            message = f"{type(error).__name__}: {text}. Its traceback is in {LOG} in the folder of the run."
            return {"event": "failed", "message": message}
    return {"event": "done"}


def _carry_out(job: Mapping[str, Any], reporter: _Reporter) -> None:
    catalog = load_catalog(job["catalog_file"] and Path(job["catalog_file"]))
    recipe = resolve(catalog, job["layers"])
    execute(recipe, catalog=catalog, place=Place(**job["place"]), listener=reporter)


# ----------------------------------------------------------------------------------------- what a cell may leave behind


@contextlib.contextmanager
def _given_back(seed: int) -> Iterator[None]:
    """Start as in a new process, and give back what a plugin or a library changes in the process."""
    variables, folder, path = dict(os.environ), Path.cwd(), list(sys.path)
    torch.manual_seed(seed)
    random.seed()
    np.random.seed()  # noqa: NPY002 # the global generator, which a plugin may have set
    yield
    for name in os.environ.keys() - variables.keys():
        del os.environ[name]
    os.environ.update(variables)
    os.chdir(folder)
    sys.path[:] = path
    gc.collect()
    if not gc.get_freeze_count():
        gc.freeze()  # what the first cell imported is not searched again: a quarter of a second for each cell
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def _settings() -> tuple[Any, ...]:
    """Return the settings of torch that would change the next cell."""
    kinds = torch.get_default_dtype(), torch.get_float32_matmul_precision(), torch.get_num_threads()
    cudnn = torch.backends.cudnn
    return (*kinds, torch.are_deterministic_algorithms_enabled(), cudnn.benchmark, cudnn.deterministic)


def _memory() -> int:
    """Return the bytes that this process needs; 0 where the system does not say."""
    with contextlib.suppress(OSError):
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGESIZE")
    return 0


if __name__ == "__main__":
    main()
