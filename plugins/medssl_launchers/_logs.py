"""What the files of a task tell."""

from __future__ import annotations

from pathlib import Path

from medssl.contracts import TaskState

__all__ = ["last_lines", "state_of"]

_BYTES, _LINES = 4000, 5


def last_lines(log: Path) -> str:
    """Return the last lines of a log that are not empty; empty if there is none."""
    try:
        with log.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - _BYTES))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    return "\n".join([line.rstrip() for line in text.splitlines() if line.strip()][-_LINES:])


def state_of(folder: Path, number: int, *, alive: bool) -> TaskState:
    """Return the state of a task.

    Args:
        folder: Where the logs and exit statuses are.
        number: Number of the task.
        alive: Whether its lane ran a moment before: a lane may write a status and end in between.
    """
    log, status = folder / f"task-{number}.log", folder / f"task-{number}.status"
    if status.exists():
        how = status.read_text(encoding="ascii")
        if how == "0":
            return TaskState(state="done")
        return TaskState(state="failed", message=f"exit status {how}\n{last_lines(log)}")
    if alive:
        return TaskState(state="running" if log.exists() else "waiting")
    return TaskState(state="failed", message=f"it was ended\n{last_lines(log)}")
