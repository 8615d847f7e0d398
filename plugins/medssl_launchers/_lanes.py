"""A lane: it runs the commands of tasks one after the other, and leaves a log and an exit status of each in files.

It imports little, because a lane lives as long as its tasks.
"""

from __future__ import annotations

import json
import subprocess  # nosec B404 # it starts the commands of the job
import sys
from collections.abc import Sequence
from pathlib import Path

__all__ = ["lanes_of", "run_lane"]


def lanes_of(commands: Sequence[Sequence[str]], count: int) -> list[list[tuple[int, list[str]]]]:
    """Deal out the commands with their numbers to a number of lanes."""
    numbered = [(number, list(words)) for number, words in enumerate(commands)]
    return [numbered[lane::count] for lane in range(min(count, len(numbered)))]


def run_lane(folder: Path, directory: Path, numbered: Sequence[tuple[int, Sequence[str]]]) -> None:
    """Run the commands that have no exit status yet.

    Args:
        folder: Where the logs and exit statuses go.
        directory: The current folder of the commands.
        numbered: The commands with the numbers of their tasks.
    """
    for number, command in numbered:
        file = folder / f"task-{number}.status"
        if not file.exists():
            with (folder / f"task-{number}.log").open("ab") as log:
                status = subprocess.run(  # nosec B603 # the words are those of the job
                    command, cwd=directory, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False
                ).returncode
            unfinished = file.with_suffix(".new")
            unfinished.write_text(str(status), encoding="ascii")
            unfinished.replace(file)


if __name__ == "__main__":
    run_lane(Path(sys.argv[1]), Path.cwd(), json.loads(sys.argv[2]))
