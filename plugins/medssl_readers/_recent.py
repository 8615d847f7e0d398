"""Keeps what was decoded last, because the frames of one file are read one after the other."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

from numpy.typing import NDArray

__all__ = ["Recent"]


class Recent:
    """The arrays that were made last.

    Args:
        kept: How many.
    """

    def __init__(self, kept: int = 2) -> None:
        self._kept = kept
        self._arrays: OrderedDict[Hashable, NDArray[Any]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        """Return the array of a key; make it if it is not there. Other threads wait instead of making it again."""
        with self._lock:
            if key not in self._arrays:
                self._arrays[key] = make()
                while len(self._arrays) > self._kept:
                    self._arrays.popitem(last=False)
            self._arrays.move_to_end(key)
            return self._arrays[key]
