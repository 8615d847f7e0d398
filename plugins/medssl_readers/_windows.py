"""Windows of grey levels, and 16-bit levels for values that have none.

A window has a centre and a width in the units of the file, which are Hounsfield units (HU) for CT.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medssl.errors import PluginError

__all__ = ["NAMED", "OFFSET", "Table", "Window", "every_value", "optional", "parse_window", "show", "to_levels"]

#: Centre and width in HU, as usual in radiology: Murphy et al., "Windowing (CT)", Radiopaedia.org, rID-52108.
NAMED: Mapping[str, tuple[float, float]] = {
    "abdomen": (50, 400),
    "bone": (400, 1800),
    "brain": (40, 80),
    "liver": (30, 150),
    "lung": (-600, 1500),
    "mediastinum": (50, 350),
    "soft": (40, 400),
    "stroke": (40, 40),
    "subdural": (75, 215),
    "temporal": (600, 2800),
}
OFFSET = 32768  # added to values that may be negative: zero, which is water in HU, becomes 32768
_MOST = 65535


@dataclass(frozen=True)
class Window:
    """A window.

    Attributes:
        centre: In the units of the file.
        width: Likewise.
        name: Its name, if it is one of :data:`NAMED`.
        number: Which window of the file, from 1; 0: the window is given by centre and width.
    """

    centre: float = 0.0
    width: float = 1.0
    name: str = ""
    number: int = 0


def parse_window(text: str | tuple[float, float] | None, *, of_file: bool) -> Window | None:
    """Read the option of a window.

    Args:
        text: A name; centre and width, as numbers or as ``-600,1500``; ``file`` or ``file:2``; ``None``.
        of_file: Whether files of the format have windows of their own.

    Raises:
        ValueError: It has another form.
    """
    if text is None:
        return None
    if isinstance(text, str):
        if text in NAMED:
            return Window(*NAMED[text], name=text)
        word, _, number = text.partition(":")
        if of_file and word == "file" and (number or "1").isdecimal() and number != "0":
            return Window(number=int(number or 1))
    try:
        parts = text.strip("[]() ").split(",") if isinstance(text, str) else text
        centre, width = (float(part) for part in parts)
        if not (np.isfinite(centre) and 0 < width < np.inf):
            raise ValueError
    except ValueError as error:
        own = "file, file:2 for the second window of the file, " if of_file else ""
        raise ValueError(
            f"window '{text}' is not a window. Write {own}one of {', '.join(NAMED)}, or centre and width, for instance "
            "-600,1500"
        ) from error
    return Window(centre, width)


def show(values: NDArray[Any], centre: float, width: float, function: str = "LINEAR") -> NDArray[np.uint8]:
    """Apply a window: black is 0, white is 255, rounded.

    Args:
        values: Of any shape, in the units of the window.
        centre: Of the window.
        width: Of the window.
        function: ``LINEAR``, ``LINEAR_EXACT`` or ``SIGMOID``, see DICOM PS3.3, C.11.2.1.2 and C.11.2.1.3.
    """
    x = values.astype(np.float64)
    if function == "SIGMOID":
        return _bytes(1 / (1 + np.exp(np.clip(-4 * (x - centre) / width, -700, 700))))
    if function == "LINEAR_EXACT":
        return _bytes((x - centre) / width + 0.5)
    if width <= 1:  # a threshold, equation C.11-2a
        return _bytes((x > centre - 0.5).astype(np.float64))
    return _bytes((x - (centre - 0.5)) / (width - 1) + 0.5)


def _bytes(shares: NDArray[np.float64]) -> NDArray[np.uint8]:
    return np.asarray(np.rint(np.clip(shares, 0, 1) * 255), np.uint8)


def to_levels(values: NDArray[Any], *, signed: bool) -> NDArray[np.uint16]:
    """Round values to 16-bit grey levels; values beyond them are cut off.

    Args:
        values: In the units of the file.
        signed: Whether values of this kind may be negative. Then 32768 is added.
    """
    return np.asarray(np.clip(np.rint(values) + (OFFSET if signed else 0), 0, _MOST), np.uint16)


@lru_cache(maxsize=4)
def every_value(kind: str) -> NDArray[Any]:
    """Return all values of a type of at most 16 bits, in the order of their bits without a sign."""
    unsigned = np.arange(1 << (8 * np.dtype(kind).itemsize), dtype=f"u{np.dtype(kind).itemsize}")
    return unsigned.view(kind)


@dataclass(frozen=True)
class Table:
    """The grey level of each stored value.

    Attributes:
        levels: In the order of :func:`every_value`.
        shift: What is added to a stored value, modulo 65536, from ``low`` to ``high``; this is faster than the table.
        low: Smallest stored value of this range.
        high: Largest one; less than ``low`` if the levels are no shift.
    """

    levels: NDArray[Any]
    shift: int
    low: int
    high: int

    @classmethod
    def of(cls, levels: NDArray[Any], kind: np.dtype[Any]) -> Table:
        """Return the table of the levels of all values of a type."""
        if levels.dtype != np.uint16 or kind.itemsize != 2:
            return cls(levels, 0, 0, -1)
        values = every_value(kind.str).astype(np.int64)
        shift = int(levels[0])  # the first value is 0 in every type
        others = values[((values + shift) & _MOST) != levels]
        high = int(others[others > 0].min(initial=int(values.max()) + 1)) - 1
        low = int(others[others < 0].max(initial=int(values.min()) - 1)) + 1
        return cls(levels, shift, low, high)

    def look_up(self, stored: NDArray[Any]) -> NDArray[Any]:
        """Return the level of each value."""
        if self.high > self.low and stored.min() >= self.low and stored.max() <= self.high:
            return stored.view(np.uint16) + np.uint16(self.shift)
        return self.levels.take(stored.view(f"u{stored.dtype.itemsize}"))


def optional(module: str, extra: str, formats: str) -> Any:
    """Import a package that is not installed with medssl.

    Raises:
        PluginError: It is not installed; the message names the extra.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise PluginError(
            f"reading {formats} needs the package {module.partition('.')[0]}, which is not installed. Run: "
            f'pip install "medssl[{extra}]"'
        ) from error
