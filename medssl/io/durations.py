"""Times as words."""

from __future__ import annotations

__all__ = ["duration"]


def duration(seconds: float) -> str:
    """Write a time as ``45 s``, ``1 min 05 s``, ``12 min`` or ``3 h 20 min``; seconds only below ten minutes."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 10:
        return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
