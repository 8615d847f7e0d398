"""``python -m fuzzing.kills``: kill commands at random moments and carry on; everything must be as without a kill.

Each command runs in a process forked from this one, which has imported the libraries, so that a kill falls into its
work and not into imports. The next call must end with status 0 and leave the same files, and no process may be left.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import http.server
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

_PHANTOM = ("--dataset", "phantom", "--set", "dataset.patients_per_class=5", "--set", "dataset.size=32")
_PHANTOM = (*_PHANTOM, "--set", "dataset.images_per_patient=3")
_SMALL = (*_PHANTOM, "--image-size", "32", "--backbone", "test_resnet", "--device", "cpu", "--batch-size", "8")
_SMALL = (*_SMALL, "--evaluator", "knn", "--evaluator", "linear", "--set", "evaluate.bootstrap=20")
_SMALL = (*_SMALL, "--set", "evaluate.baseline=false")
_NOT_MADE = "a straight call fails"

#: By kind, the command, and its share of the kills.
COMMANDS: dict[str, tuple[tuple[str, ...], int]] = {
    "run": (("run", "--method", "dcl", "--epochs", "2", *_SMALL, "--output", "runs"), 6),
    "study": (("bench", "--method", "random", "--method", "dcl", "--epochs", "1", *_SMALL, "--output", "study"), 1),
    "audit": (("audit", *_PHANTOM, "--groups", "groups.csv"), 5),
    "fetch": (("fetch", "medmnist", "--catalog", "../catalogue.yaml", "--data-dir", "data"), 5),
    "export": (("export", "../made", "hub", "--evaluator", "linear", "--output", "hub"), 4),
    "prediction": (("predict", "../made", *_PHANTOM, "--device", "cpu", "--output", "new.csv"), 4),
}
#: Files that hold times of day or seconds. All others must be equal to the bit.
TIMED = re.compile(r".*\.jsonl?|report\.html|runs\.csv|rows\.csv|state\.pt")
_SECONDS = re.compile(rb'"[a-z_]*(second|time)[a-z_]*": *[0-9.e+-]+|"stamp": \[[^\]]*|"sha256": "[0-9a-f]*"')
_BYTES = 400_000  # of the file that is fetched


class KillError(Exception):
    """A killed command did not end as one that was left alone."""


class House:
    """A folder in which every command runs, with the answers of calls that were left alone."""

    def __init__(self, root: Path) -> None:
        self.root, self.straight, self.seconds = root, {}, {}  # type: ignore[var-annotated]
        self._key = os.urandom(32)

    def learn(self, kind: str) -> None:
        """Run a command twice without a kill: what differs between the two calls is not compared.

        Raises:
            KillError: It fails, or leaves different files.
        """
        found = []
        for _ in range(2):
            self._clear(kind)
            start = time.monotonic()
            status = self._wait(self._start(kind))
            if status:
                raise KillError(f"{_NOT_MADE}: {self._said(kind)}")
            self.seconds[kind] = time.monotonic() - start
            found.append(self.files(kind))
        if difference := _difference(*found):
            raise KillError(f"two straight calls differ: {difference}")
        self.straight[kind] = found[1]

    def try_kills(self, kind: str, rng: random.Random, most: int) -> int:
        """Kill a command up to three times in a row, and let the next call end; return the number of kills.

        Raises:
            KillError: The last call fails or leaves other files.
        """
        self._clear(kind)
        kills = 0
        for _ in range(min(most, rng.choice((1, 2, 3)))):
            pid = self._start(kind)
            time.sleep(rng.uniform(0, self.seconds[kind]))
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            kills += os.WIFSIGNALED(os.waitpid(pid, 0)[1])
        if status := self._wait(self._start(kind)):
            raise KillError(f"the next call ends with status {status}: {self._said(kind)}")
        if difference := _difference(self.straight[kind], self.files(kind)):
            raise KillError(difference)
        if left := _processes_in(self.root / kind):
            raise KillError(f"processes are left: {left}")
        return kills

    def files(self, kind: str) -> dict[str, bytes]:
        """Return the files below a folder by name, without times."""
        folder, found = self.root / kind, {}
        for path in sorted(folder.rglob("*")):
            name = str(path.relative_to(folder))
            if path.is_file() and not path.is_symlink() and path.name != "said.txt":
                content = path.read_bytes()
                found[name] = _without_times(path, content) if TIMED.fullmatch(path.name) else content
            else:
                found[name] = b"" if path.name != "said.txt" else b"said"
        return found

    def _clear(self, kind: str) -> None:
        folder = self.root / kind
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "configuration").mkdir(parents=True)
        (folder / "configuration" / "identities.key").write_bytes(self._key)

    def _start(self, kind: str) -> int:
        pid = os.fork()
        if not pid:
            _be(kind, self.root / kind)
        return pid

    @staticmethod
    def _wait(pid: int) -> int:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def _said(self, kind: str) -> str:
        return (self.root / kind / "said.txt").read_text(errors="replace")[-2000:]


def _be(kind: str, folder: Path) -> None:
    """Run a command in this forked process, and end it."""
    status = 1
    try:
        os.setsid()
        os.chdir(folder)
        os.environ |= {"MEDSSL_CACHE": "cache", "MEDSSL_CONFIG": "configuration"}
        said = os.open("said.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(said, 1)
        os.dup2(said, 2)
        from medssl.cli import main

        main.main([*COMMANDS[kind][0]], prog_name="medssl")
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        from medssl.io.identities import remember_ids

        remember_ids()  # as at the end of a process; other exit functions are those of the process above
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _without_times(path: Path, content: bytes) -> bytes:
    if path.suffix in (".html", ".csv", ".pt"):
        return b""  # their numbers are those of the results and the encoder, with the times of the runs
    return _SECONDS.sub(b"", content)


def _difference(first: dict[str, bytes], second: dict[str, bytes]) -> str:
    """Say how two folders differ; empty if they do not."""
    missing, more = sorted(first.keys() - second.keys()), sorted(second.keys() - first.keys())
    other = [name for name in first if name in second and first[name] != second[name]]
    said = {"missing": missing, "left behind": more, "different": other}
    return "; ".join(f"{what}: {', '.join(names)}" for what, names in said.items() if names)


def _processes_in(folder: Path, patience: float = 10) -> list[str]:
    """Return the processes that still run in a folder after some seconds."""
    end = time.monotonic() + patience
    while True:
        found = []
        for place in Path("/proc").glob("[0-9]*/cwd"):
            with contextlib.suppress(OSError):
                if place.readlink() == folder:
                    found.append((place.parent / "cmdline").read_bytes().replace(b"\0", b" ").decode()[:100])
        if not found or time.monotonic() > end:
            return found
        time.sleep(0.2)


# ---------------------------------------------------------------------------------------------------------- the server


class _Slow(http.server.BaseHTTPRequestHandler):
    """Sends one file in pieces, from any byte on."""

    def do_GET(self) -> None:
        content = _content()
        start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").rstrip("-"))
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        with contextlib.suppress(OSError):
            for at in range(start, len(content), 8192):
                self.wfile.write(content[at : min(at + 8192, len(content))])
                time.sleep(0.01)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@functools.cache
def _content() -> bytes:
    return random.Random(0).randbytes(_BYTES)


def _serve() -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Slow) as server:
        sys.stdout.write(f"{server.server_port}\n")
        sys.stdout.flush()
        server.serve_forever()


@contextlib.contextmanager
def _server(root: Path) -> Iterator[None]:
    """Start the server in a process of its own, and write a catalogue that names it."""
    import hashlib

    process = subprocess.Popen([sys.executable, "-m", "fuzzing.kills", "--serve"], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        address = f"http://127.0.0.1:{process.stdout.readline().strip()}/a.npz"
        entry = {"url": address, "md5": hashlib.md5(_content()).hexdigest()}
        values = {"datasets": {"medmnist": {"sets": {"pneumoniamnist": {"files": {"28": entry}}}}}}
        (root / "catalogue.yaml").write_text(json.dumps(values))
        yield
    finally:
        process.kill()
        process.wait()


# --------------------------------------------------------------------------------------------------------- the command


def kill_commands(count: int, seed: int, chosen: Sequence[str]) -> tuple[Counter[str], list[str]]:
    """Carry out kills; return their numbers by kind, and the faults."""
    for module in ("medssl.runs.pipeline", "medssl.export.model", "medssl.report.page", "medssl.cli.run", "timm"):
        __import__(module)  # before the first fork
    rng, kills, faults = random.Random(f"kills {seed}"), Counter[str](), []
    with tempfile.TemporaryDirectory(prefix="kills-") as place, _server(Path(place)):
        house = House(Path(place).resolve())
        house.learn("run")
        [made] = (house.root / "run" / "runs").iterdir()
        shutil.copytree(made, house.root / "made")
        for kind in chosen:
            if kind != "run":
                house.learn(kind)
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # it says how far it came
        first = [*chosen]  # every kind at least once
        while kills.total() < count:
            kind = first.pop() if first else rng.choices(chosen, [COMMANDS[kind][1] for kind in chosen])[0]
            try:
                kills[kind] += house.try_kills(kind, rng, count - kills.total())
            except KillError as error:
                kills[kind] += 1
                faults.append(f"{kind}, after {kills.total()} kills: {error}")
                sys.stderr.write(f"FAULT {faults[-1]}\n")
            except KeyboardInterrupt:
                break
            sys.stderr.write(f"{dict(kills)}, {len(faults)} faults\n")
    return kills, faults


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m fuzzing.kills", description=__doc__)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="+", choices=[*COMMANDS], default=[*COMMANDS])
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        _serve()
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"  # a fork of a process with threads may hang
    kills, faults = kill_commands(given.count, given.seed, given.kinds)
    for fault in faults:
        sys.stdout.write(f"FAULT {fault}\n")
    by_kind = ", ".join(f"{number} {kind}" for kind, number in sorted(kills.items()))
    sys.stdout.write(f"seed {given.seed}: {kills.total()} kills ({by_kind}); faults: {len(faults)}\n")
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
