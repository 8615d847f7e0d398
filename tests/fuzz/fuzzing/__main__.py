"""``python -m fuzzing KIND``: run cases, print the counts, and end with status 1 if there were faults."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator

from fuzzing.running import KINDS, Outcomes, run_cases, warm
from fuzzing.watching import SECONDS, bare_environment, cap_memory

_START = 300  # seconds until the first case: libraries are imported, and a run is made
_SILENCE = 12 * SECONDS  # without a word of a process: it hangs in compiled code


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m fuzzing", description=__doc__)
    parser.add_argument("kind", choices=[*KINDS, "all"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--start", type=int, default=0, help="number of the first case")
    parser.add_argument("--count", type=int, help="number of cases; default: those of a full run")
    parser.add_argument("--number", type=int, help="run this case alone, in this process")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.number is not None:
        return _report(given.kind, given.seed, run_cases(given.kind, given.seed, [given.number]))
    if given.inside:
        warm(given.kind)
        cap_memory()
        run_cases(given.kind, given.seed, range(given.start, given.start + given.count), aloud=True)
        sys.stdout.write("end\n")
        return 0
    kinds = KINDS if given.kind == "all" else {given.kind: KINDS[given.kind]}
    bad = 0
    with tempfile.TemporaryDirectory(prefix="fuzz-run-") as run:
        os.environ.setdefault("MEDSSL_FUZZ_RUN", run)  # made by the first process that needs it
        for kind, full in kinds.items():
            bad |= _report(kind, given.seed, _guarded(kind, given.seed, given.start, given.count or full))
    return bad


def _report(kind: str, seed: int, found: Outcomes) -> int:
    for line in found.faults:
        sys.stdout.write(f"FAULT {line}\n")
    sys.stdout.write(f"{kind}, seed {seed}: {found}\n")
    sys.stdout.flush()
    return int(bool(found.faults))


def _guarded(kind: str, seed: int, start: int, count: int) -> Outcomes:
    """Run cases in processes that may crash or hang; the next process starts behind the case that did."""
    total, at, end = Outcomes(), start, start + count
    while at < end:
        command = [sys.executable, "-m", "fuzzing", kind, "--seed", str(seed), "--start", str(at), "--inside"]
        step = min(500, end - at)
        reached = _one_process([*command, "--count", str(step)], kind, total)
        at = at + step if reached is None else reached + 1
    return total


def _one_process(command: list[str], kind: str, total: Outcomes) -> int | None:
    """Run one process; return the number of the case in which it ended too early."""
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=bare_environment()
    )
    case, counts = -1, Outcomes().to_dict()
    for line in _lines(process):
        word, _, rest = line.strip().partition(" ")
        if word == "case":
            case = int(rest)
        elif word == "done":
            counts = json.loads(rest)
        elif word == "end":
            total.add(counts)
            process.wait()
            return None
    total.add(counts)
    status = process.poll()
    process.kill()
    end = "it hangs" if status is None else f"the process ended with status {status}"
    if case < 0:
        raise SystemExit(f"{' '.join(command)} does not begin: {end}")
    total.faults.append(f"{kind} {case}: {end}")
    return case


def _lines(process: subprocess.Popen[str]) -> Iterator[str]:
    """Yield what a process writes, until it ends or says nothing for too long."""
    lines: queue.Queue[str] = queue.Queue()

    def read() -> None:
        for line in process.stdout or ():
            lines.put(line)
        process.wait()
        lines.put("")

    threading.Thread(target=read, daemon=True).start()
    patience = _START
    while True:
        try:
            line = lines.get(timeout=patience)
        except queue.Empty:
            return
        if not line:
            return
        yield line
        patience = _SILENCE


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        sys.exit(main())
