"""Measure what a study takes beyond the computing of its cells: ``python -m benchmarks.study``.

The same tiny cells run in three ways: one after the other in this process, which has imported everything (the cells'
own computing), by the workers of a study, and by a new worker for each cell. The ways take turns, and a difference is
computed within a round. On a busy machine processor time says more than seconds, so both are measured.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.measuring import Line, print_table
from medssl.catalog import load_catalog
from medssl.runs.listener import Listener
from medssl.runs.pipeline import Place, execute
from medssl.study.grid import expand
from medssl.study.launch import crew
from medssl.study.plan import plan_of
from medssl.study.schedule.running import carry_out

CELLS, MARK = 12, 1.0
SETTINGS = {
    "evaluators": ["knn"],
    "dataset": {"images_per_patient": 3},
    "train": {"epochs": 1, "batch_size": 16, "validate_every": 0},
    "views": {"image_size": 24},
    "encoder": {"backbone": "resnet10t", "stem": "standard"},
    "evaluate": {"bootstrap": 100},
}


def processor_seconds() -> float:
    """Return the processor time of this process and of those that it has waited for."""
    found = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in found)


def seconds_of(function: Callable[[], object]) -> tuple[float, float]:
    """Return the seconds and the processor seconds of a call."""
    before, start = processor_seconds(), time.perf_counter()
    function()
    return time.perf_counter() - start, processor_seconds() - before


def measure(rounds: int) -> list[Line]:
    """Return the overhead per cell of both kinds of workers, in seconds and in processor seconds."""
    catalog = load_catalog()
    plan = plan_of(methods=("random",), datasets=("phantom",), seeds=CELLS, settings=SETTINGS)
    cells = expand(plan, [], catalog, None)
    kept = crew._CELLS

    def alone(place: Place) -> None:
        for cell in cells:
            execute(cell.recipe, catalog=catalog, place=place, listener=Listener())

    def study(count: int) -> Callable[[Place], None]:
        def run(place: Place) -> None:
            crew._CELLS = count
            study = carry_out(plan, cells, catalog, place=place)
            assert len(study.results) == CELLS

        return run

    ways = {"alone": alone, "kept": study(kept), "new": study(1)}
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    with tempfile.TemporaryDirectory() as scratch:
        execute(cells[0].recipe, catalog=catalog, place=Place(output=Path(scratch, "warm")), listener=Listener())
        for number in range(rounds):
            for name, run in ways.items():
                place = Place(output=Path(scratch, f"{name}{number}"))
                found[name].append(seconds_of(lambda run=run, place=place: run(place)))  # type: ignore[misc]
    crew._CELLS = kept
    lines = []
    for column, unit in enumerate(("seconds", "processor seconds")):
        for name, what in (("kept", "workers that stay"), ("new", "a new worker for each cell")):
            over = [(a[column] - b[column]) / CELLS for a, b in zip(found[name], found["alone"], strict=True)]
            lines.append(
                Line(
                    what=f"overhead a cell, {what}, {unit}",
                    value=round(statistics.median(over), 2),
                    low=round(min(over), 2),
                    high=round(max(over), 2),
                    mark=MARK if name == "kept" else None,
                    at_least=False,
                    detail={name: [each[column] for each in found[name]], "alone": found["alone"]},
                )
            )
    return lines


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    print(f"load average at the start: {os.getloadavg()[0]:.1f}")
    lines = measure(arguments.rounds)
    print_table(lines)
    for line in lines:
        print(line.what, line.detail)


if __name__ == "__main__":
    main()
