"""Compare one training in K processes with one process of K threads, at the same global batch.

    python -m benchmarks.devices                  # 2 processes of 1 thread, against 1 process of 2 threads
    python -m benchmarks.devices --device cuda --processes 4

SimCLR with ResNet-18 at 64 px, views included. The variants run in turn, each in processes of its own, and a ratio is
computed within a round. The seconds begin after the first step, so starting is not counted. On GPUs one process uses
one GPU, so the target there is K.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from benchmarks.measuring import Line, print_table, ratio_line, take_turns
from benchmarks.pretraining import TILES, Rig, step_times, store_of, write_tiles
from medssl.train.machine.memory import kept_memory
from medssl.world.world import World, joined

SIDE, MARK = 64, 0.85


def work(world: World, batch: int, steps: int, folder: Path, device: str) -> dict[str, float]:
    """Train on one rank; return the seconds per step, and the peak memory of this process in MB."""
    rig = Rig("resnet18", SIDE, batch, torch.device(world.device or device))
    store = store_of(folder / "tiles", SIDE, folder / "cache")
    with tempfile.TemporaryDirectory() as scratch, kept_memory():
        seen = step_times(rig.trainer(store, Path(scratch), world=world, epochs=1000), steps)
    (began, first), (ended, last) = seen[0], seen[-1]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": (ended - began) / (last - first), "peak_mb": round(peak)}


def launch(processes: int, threads: int, words: list[str], peaks: list[float]) -> float:
    """Start the processes; return the seconds per step of rank 0, and note its peak memory."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = []
    for rank in range(processes):
        place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes, "MASTER_PORT": port}
        names = {name: str(value) for name, value in place.items()} | {"MASTER_ADDR": "127.0.0.1"}
        environment = {**os.environ, **names, "OMP_NUM_THREADS": str(threads)}
        command = [sys.executable, "-m", "benchmarks.devices", "--worker", *words]
        started.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True))
    said = [process.communicate()[0] for process in started]
    if any(process.returncode for process in started):
        raise SystemExit("a process has failed; its messages are above")
    found = json.loads(said[0].splitlines()[-1])
    peaks.append(found["peak_mb"])
    return float(found["seconds"])


def measure(rounds: int, processes: int, batch: int, steps: int, device: str) -> Line:
    """Measure the throughput of K processes over that of one."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_tiles(folder / "tiles", TILES)
        store_of(folder / "tiles", SIDE, folder / "cache")
        words = ["--batch", str(batch), "--steps", str(steps), "--device", device, "--folder", scratch]
        peaks: dict[str, list[float]] = {"one": [], "several": []}
        threads = processes if device == "cpu" else len(os.sched_getaffinity(0))
        each = max(1, threads // processes)
        seconds = take_turns(
            {
                "one": lambda: launch(1, threads, words, peaks["one"]),
                "several": lambda: launch(processes, each, words, peaks["several"]),
            },
            rounds,
        )
    return ratio_line(
        f"{processes} processes / 1 process, ResNet-18 at {SIDE} px, global batch {batch}, throughput",
        seconds["one"],
        seconds["several"],
        mark=MARK * (1 if device == "cpu" else processes),
        images_per_second_of_one=[round(2 * batch / value, 1) for value in seconds["one"]],
        images_per_second_of_several=[round(2 * batch / value, 1) for value in seconds["several"]],
        peak_mb_of_one=max(peaks["one"]),
        peak_mb_of_rank_0=max(peaks["several"]),
        load_at_end=round(os.getloadavg()[0], 2),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--batch", type=int, default=64, help="samples of a step, over all processes")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        with joined(given.device) as world:
            found = work(world, given.batch, given.steps, given.folder, given.device)
        print(json.dumps(found))
        return
    print(f"load average at the start: {os.getloadavg()[0]:.2f}")
    line = measure(given.rounds, given.processes, given.batch, given.steps, given.device)
    print_table([line])
    print(json.dumps(line.detail))


if __name__ == "__main__":
    main()
