"""The end of a task's log, for a message."""

from __future__ import annotations

from pathlib import Path

__all__ = ["last_lines"]

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
