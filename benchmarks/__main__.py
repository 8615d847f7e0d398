"""Measure every figure of ``docs/performance.md``: ``python -m benchmarks``.

This takes an hour on two cores. ``--part`` measures only one part, ``--rounds`` changes the number of repeats. Nothing
else should run at the same time. The load average at the start is written to the file.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks import evaluation, memory, pretraining, starting, views
from benchmarks.measuring import Line, print_table, write_json

PARTS: dict[str, Callable[[int], list[Line]]] = {
    "pretraining": pretraining.measure,
    "views": views.lines,
    "evaluation": evaluation.lines,
    "starting": starting.measure,
    "memory": memory.measure,
}
RESULTS = Path(__file__).parent / "results"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", action="append", choices=PARTS, help="may be repeated; default: all parts")
    parser.add_argument("--rounds", type=int, default=5, help="number of repeats of each comparison")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--output", type=Path, default=RESULTS / "cpu.json")
    arguments = parser.parse_args()
    load = os.getloadavg()
    torch.set_num_threads(arguments.threads)
    lines: list[Line] = []
    for name in arguments.part or PARTS:
        found = PARTS[name](arguments.rounds)
        print_table(found)
        lines += found
        write_json(arguments.output, lines, load)
    print(arguments.output)


if __name__ == "__main__":
    main()
