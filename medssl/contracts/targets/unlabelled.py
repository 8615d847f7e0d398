"""No target: no image has a label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from medssl.contracts.targets.target import Array, Target, Value

__all__ = ["Unlabelled"]


@dataclass(frozen=True)
class Unlabelled(Target):
    """No target: no image has a label. A run pre-trains an encoder, measures its features, and scores nothing."""

    kind: ClassVar[str] = "none"
    stratum: ClassVar[str] = "image"
    every_stratum: ClassVar[bool] = False

    @property
    def outputs(self) -> int:
        """0."""
        return 0

    @property
    def output_names(self) -> tuple[str, ...]:
        """No names."""
        return ()

    @property
    def strata_names(self) -> tuple[str, ...]:
        """One stratum for all images."""
        return ("no label",)

    def parse(self, cell: str) -> None:
        """Every text is unknown."""
        return

    def text(self, value: Value) -> str:
        """Return the same words for every image."""
        return "no label"

    def violation(self, value: object) -> str | None:
        """No value is valid, because every sample is unknown."""
        return "unknown, because the dataset has no labels"

    def encode(self, values: Sequence[Value | None]) -> Array:
        """Return ``(N,)`` int64 of -1."""
        return np.full(len(values), -1, dtype=np.int64)

    def known(self, y: Array) -> NDArray[np.bool_]:
        """Return ``(N,)`` of false."""
        return np.zeros(len(y), dtype=bool)

    def strata(self, values: Sequence[Value]) -> NDArray[np.int64]:
        """Return ``(N, 1)`` of 1."""
        return np.ones((len(values), 1), dtype=np.int64)

    def prediction_error(self, prediction: Array) -> str | None:
        """Nothing can be predicted."""
        return "nothing can be predicted without labels"
