"""Decodes DICOM frames in other processes, because most decoders hold Python's lock while they work.

Decoders of JPEG, JPEG 2000 and the like are called from Python under its lock, so threads decode one frame after the
other however many cores there are. A process takes about a second to start. So a process is only used when several
threads decode at once and this process has already spent some time on it. Each thread then has one, which ends by
itself when it has nothing to do.

The processes are not those of ``multiprocessing``: these would run the user's script again.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import subprocess  # nosec B404 # it starts only this Python
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from medssl.errors import DataError
from medssl_readers._dicom_pixels import decode
from medssl_readers._guard import damage_named
from medssl_readers._windows import Window

__all__ = ["Decoders"]

_WHAT = "a DICOM image"
_WORTH = 2.0  # seconds of decoding in this process, after which others are started
_IDLE = 20.0  # seconds without a frame, after which a process ends
_COMMAND = ("-P", "-m", "medssl_readers._processes")


class _EndedError(Exception):
    """A process ended before it answered."""


class Decoders:
    """Processes that decode frames for the threads of this process."""

    def __init__(self) -> None:
        self._free: list[_Process] = []
        self._owner = os.getpid()
        self._lock = threading.Lock()
        self._active = 0
        self._spent = 0.0
        atexit.register(self.end)

    def decode(self, path: Path, frame: int, window: Window | None) -> NDArray[Any]:
        """Decode one frame, see :func:`medssl_readers._dicom_pixels.decode`; the result does not depend on the place.

        Raises:
            DataError: The frame cannot be read.
        """
        with self._counted() as elsewhere:
            for new in (False, True) if elsewhere else ():  # a waiting process may have just ended
                try:
                    return self._ask(_Process() if new else self._taken(), path, frame, window)
                except _EndedError:
                    continue
                except OSError:  # no process can be started here
                    break
            else:
                if elsewhere:
                    raise DataError(
                        f"{path} cannot be read as {_WHAT}: the process that decoded it ended. The file is damaged, or "
                        "there is not enough memory."
                    )
            return _decode(path, frame, window)

    @contextlib.contextmanager
    def _counted(self) -> Iterator[bool]:
        """Count the threads that decode, and the seconds; yield whether another process is worth its start."""
        with self._lock:
            self._active += 1
            elsewhere = self._spent > _WORTH and (self._active > 1 or bool(self._free))
        start = time.thread_time()
        try:
            yield elsewhere
        finally:
            with self._lock:
                self._active -= 1
                self._spent += time.thread_time() - start

    def _taken(self) -> _Process:
        with self._lock:
            if self._owner != os.getpid():  # a fork: these processes belong to the parent
                self._free, self._owner = [], os.getpid()
            process = self._free.pop() if self._free else None
        return process or _Process()

    def _ask(self, process: _Process, path: Path, frame: int, window: Window | None) -> NDArray[Any]:
        try:
            pixels = process.decode(path, frame, window)
        except DataError:
            self._give_back(process)
            raise
        except BaseException:
            process.end()
            raise
        self._give_back(process)
        return pixels

    def _give_back(self, process: _Process) -> None:
        with self._lock:
            self._free.append(process)

    def end(self) -> None:
        """End the processes."""
        with self._lock:
            free, self._free = self._free, []
        for process in free:
            process.end()


class _Process:
    """One process; it reads requests from standard input until that is closed."""

    def __init__(self) -> None:
        places = os.pathsep.join(place for place in sys.path if place)
        self._process = subprocess.Popen(  # nosec B603 # no word of the command comes from outside
            [sys.executable, *_COMMAND],
            env={**os.environ, "PYTHONPATH": places, "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the process that asks
        )

    def decode(self, path: Path, frame: int, window: Window | None) -> NDArray[Any]:
        request, answers = self._process.stdin, self._process.stdout
        assert request is not None  # nosec B101 # for the type checker; Popen gives both
        assert answers is not None  # nosec B101
        try:
            request.write(_line(path=str(path), frame=frame, window=window and asdict(window)))
            request.flush()
            answer = answers.readline()
        except OSError as error:
            raise _EndedError from error
        if not answer.endswith(b"\n"):
            raise _EndedError
        found = json.loads(answer)
        if "error" in found:
            raise DataError(found["error"])
        pixels = np.empty(found["shape"], found["dtype"])
        if _fill(answers, pixels) < pixels.nbytes:
            raise _EndedError
        return pixels

    def end(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                pipe.close()  # type: ignore[union-attr]  # both exist
        self._process.kill()
        self._process.wait()


def _line(**values: Any) -> bytes:
    return json.dumps(values).encode() + b"\n"


def _fill(answers: IO[bytes], pixels: NDArray[Any]) -> int:
    """Read the bytes of an array; return how many there were."""
    into, done = pixels.reshape(-1).data.cast("B"), 0
    while done < len(into) and (more := answers.readinto(into[done:])):  # type: ignore[attr-defined]  # it is buffered
        done += more
    return done


def _decode(path: Path, frame: int, window: Window | None) -> NDArray[Any]:
    with damage_named(path, _WHAT):
        return decode(path, frame, window)


def _serve(requests: IO[bytes], answers: IO[bytes]) -> None:
    """Answer requests, one a line, until there are no more or none has come for a while."""
    while True:
        alarm = threading.Timer(_IDLE, os._exit, [0])
        alarm.daemon = True
        alarm.start()
        request = requests.readline()
        alarm.cancel()
        if not request:
            return
        asked = json.loads(request)
        try:
            pixels = _decode(Path(asked["path"]), asked["frame"], asked["window"] and Window(**asked["window"]))
        except DataError as error:
            answers.write(_line(error=str(error)))
        else:
            answers.write(_line(shape=pixels.shape, dtype=pixels.dtype.str))
            answers.write(np.ascontiguousarray(pixels).data)
        answers.flush()


if __name__ == "__main__":
    answers_to, sys.stdout = sys.stdout.buffer, sys.stderr  # what a decoder prints is no answer
    _serve(sys.stdin.buffer, answers_to)
