"""``python -m fuzzing.kills``: kill commands and carry on; everything must be as without a kill.

Each command runs in a process forked from this one, which has imported the libraries, so that a kill falls into its
work and not into imports. The next call must end with status 0 and leave the same files, and no process may be left.

Commands are killed at random moments, or with ``--writes`` before each of their changes of a file or folder: most of
these moments last some microseconds, so that random ones seldom fall into them.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import http.server
import itertools
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
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
_CHANGES = {f"os.{name}" for name in ("chmod", "link", "mkdir", "remove", "rename", "rmdir", "symlink", "truncate")}
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_NUMBERS = re.compile(r"\.\d+-[0-9a-f]+\.tmp|[0-9a-f]{8,}|\d+")  # in the names of files


class KillError(Exception):
    """A killed command did not end as one that was left alone."""


class House:
    """A folder in which every command runs, with the answers of calls that were left alone."""

    def __init__(self, root: Path) -> None:
        self.root, self.straight, self.seconds = root, {}, {}  # type: ignore[var-annotated]
        self._key = os.urandom(32)
        self._moments: list[str] = []  # of the last kills

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
            pid, seconds = self._start(kind), rng.uniform(0, self.seconds[kind])
            time.sleep(seconds)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            killed = os.WIFSIGNALED(os.waitpid(pid, 0)[1])
            words = "killed" if killed else "it had ended"
            self._moments.append(f"{words} after {seconds:.3f} s of {self.seconds[kind]:.3f} s")
            kills += killed
        self._go_on(kind)
        return kills

    def writes(self, kind: str) -> dict[int, str]:
        """Return the numbers of the changes of files that a call makes, one of each kind, with what they change."""
        self._clear(kind)
        if status := self._wait(self._start(kind, log=self.root / "writes")):
            raise KillError(f"{_NOT_MADE} with status {status}: {self._said(kind)}")
        found: dict[str, tuple[int, str]] = {}
        for number, line in enumerate((self.root / "writes").read_text().splitlines()):
            found.setdefault(_NUMBERS.sub("#", line), (number, line))
        return dict(found.values())

    def kill_before(self, kind: str, number: int, what: str) -> None:
        """Kill a command before it makes a change, and let the next call end.

        Raises:
            KillError: The last call fails or leaves other files.
        """
        self._clear(kind)
        killed = os.WIFSIGNALED(os.waitpid(self._start(kind, number=number), 0)[1])
        self._moments.append(f"{'killed' if killed else 'it ended'} before change {number}, {what}")
        self._go_on(kind)

    def _go_on(self, kind: str) -> None:
        status = self._wait(self._start(kind))
        found = self.files(kind)
        faults = [
            status and f"the next call ends with status {status}",
            _difference(self.straight[kind], found),
            (left := _processes_in(self.root / kind)) and f"processes are left: {left}",
        ]
        if any(faults):
            raise KillError("; ".join(filter(None, faults)) + self._evidence(kind, found))

    def _evidence(self, kind: str, found: dict[str, bytes]) -> str:
        """Return what one needs to see to understand a fault, as indented lines."""
        folder, straight = self.root / kind, self.straight[kind]
        lines = [f"command: medssl {' '.join(COMMANDS[kind][0])}", *self._moments, "it said:", self._said(kind)]
        for name in sorted(straight.keys() & found.keys()):
            if straight[name] != found[name]:
                lines += [f"{name} at the first difference:", *_apart(straight[name], found[name])]
        lines.append(f"now {time.time():.3f}; files with their sizes and times:")
        for path in sorted(folder.rglob("*")):
            with contextlib.suppress(OSError):
                seen = path.lstat()
                lines.append(f"{seen.st_size:9} {seen.st_mtime:.3f} {path.relative_to(folder)}")
        return "\n" + textwrap.indent("\n".join(lines), "    ")

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
        self._moments.clear()
        (folder / "configuration" / "identities.key").write_bytes(self._key)

    def _start(self, kind: str, *, number: int | None = None, log: Path | None = None) -> int:
        """Start a command; it kills itself before the change of this number, or logs its changes."""
        pid = os.fork()
        if not pid:
            if number is not None or log is not None:
                sys.addaudithook(_watch(self.root / kind, number, log))
            _be(kind, self.root / kind)
        return pid

    @staticmethod
    def _wait(pid: int) -> int:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def _said(self, kind: str) -> str:
        file = self.root / kind / "said.txt"
        return file.read_text(errors="replace")[-2000:].strip() if file.exists() else ""


def _watch(folder: Path, number: int | None, log: Path | None) -> Callable[[str, tuple[Any, ...]], None]:
    """Return an audit hook that counts the changes of files in a folder."""
    file = None if log is None else os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    count = itertools.count()

    def hook(event: str, given: tuple[Any, ...]) -> None:
        writes = event in _CHANGES or (event == "open" and isinstance(given[2], int) and given[2] & _WRITING)
        if not writes or isinstance(given[0], int):
            return
        name = os.path.relpath(os.fsdecode(given[0]), folder)
        if name.startswith("..") or name == "said.txt":
            return
        if file is not None:
            os.write(file, f"{event} {name}\n".encode())
        if next(count) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    return hook


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


def _apart(first: bytes, second: bytes) -> list[str]:
    """Return where two contents differ first, with what is around."""
    same = next((at for at, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), len(first))
    return [
        f"  {name}: {len(c)} bytes, ...{c[max(0, same - 100) : same + 100]!r}"
        for name, c in (("straight", first), ("now", second))
    ]


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


@contextlib.contextmanager
def _house(chosen: Sequence[str]) -> Iterator[House]:
    """Make the folder, and learn what the commands leave when they are left alone."""
    for module in ("medssl.runs.pipeline", "medssl.export.model", "medssl.report.page", "medssl.cli.run", "timm"):
        __import__(module)  # before the first fork
    with tempfile.TemporaryDirectory(prefix="kills-") as place, _server(Path(place)):
        house = House(Path(place).resolve())
        house.learn("run")
        [made] = (house.root / "run" / "runs").iterdir()
        shutil.copytree(made, house.root / "made")
        for kind in chosen:
            if kind != "run":
                house.learn(kind)
        yield house


def kill_commands(count: int, seed: int, chosen: Sequence[str]) -> tuple[Counter[str], list[str]]:
    """Carry out kills at random moments; return their numbers by kind, and the faults."""
    rng, kills, faults = random.Random(f"kills {seed}"), Counter[str](), []
    with _house(chosen) as house:
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


def kill_before_writes(most: int, seed: int, chosen: Sequence[str]) -> tuple[Counter[str], list[str]]:
    """Kill each command before each kind of change, at most so many; return the numbers by command, and the faults."""
    rng, kills, faults = random.Random(f"writes {seed}"), Counter[str](), []
    with _house(chosen) as house:
        for kind in chosen:
            writes = house.writes(kind)
            for number in sorted(rng.sample([*writes], min(most, len(writes)))):
                kills[kind] += 1
                try:
                    house.kill_before(kind, number, writes[number])
                except KillError as error:
                    faults.append(f"{kind}: {error}")
                    sys.stderr.write(f"FAULT {faults[-1]}\n")
            sys.stderr.write(f"{dict(kills)} of {len(writes)}, {len(faults)} faults\n")
    return kills, faults


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m fuzzing.kills", description=__doc__)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="+", choices=[*COMMANDS], default=[*COMMANDS])
    parser.add_argument("--writes", action="store_true", help="kill before changes of files, COUNT of each command")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        _serve()
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"  # a fork of a process with threads may hang
    kills, faults = (kill_before_writes if given.writes else kill_commands)(given.count, given.seed, given.kinds)
    for fault in faults:
        sys.stdout.write(f"FAULT {fault}\n")
    by_kind = ", ".join(f"{number} {kind}" for kind, number in sorted(kills.items()))
    sys.stdout.write(f"seed {given.seed}: {kills.total()} kills ({by_kind}); faults: {len(faults)}\n")
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
