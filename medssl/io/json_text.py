"""JSON that is indented for readers, with lists of numbers on one line."""

from __future__ import annotations

import json
import re
from typing import Any

__all__ = ["json_text"]

_NUMBER = r"(?:-?[\d.]+(?:e[-+]?\d+)?|null)"
_NUMBERS = re.compile(rf"\[\n\s+({_NUMBER}(?:,\n\s+{_NUMBER})*)\n\s+\]")
_BREAK = re.compile(r",\s+")


def json_text(values: Any) -> str:
    """Return values as JSON with a final newline.

    A list of numbers has one line. Texts are unchanged, because JSON writes their line breaks as escapes.

    Args:
        values: Plain values; NaN and infinity are refused with a ``ValueError``.
    """
    text = json.dumps(values, indent=2, allow_nan=False)
    return _NUMBERS.sub(lambda found: f"[{_BREAK.sub(', ', found[1])}]", text) + "\n"
