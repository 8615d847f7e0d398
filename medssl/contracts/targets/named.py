"""The base of targets with one output for each of several names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medssl.contracts.targets.target import Array, Target
from medssl.errors import shorten

__all__ = ["SUM", "NamedOutputs", "probability_error", "require_names"]

SUM = 1e-3  # tolerance for the sum of the probabilities in a row: float32 with some hundred classes


@dataclass(frozen=True)
class NamedOutputs(Target):
    """A target with one output for each of K names."""

    names: tuple[str, ...]

    def __post_init__(self) -> None:
        require_names(self.names, self.kind)
        object.__setattr__(self, "names", tuple(self.names))

    @property
    def outputs(self) -> int:
        """K."""
        return len(self.names)

    @property
    def output_names(self) -> tuple[str, ...]:
        """The names."""
        return self.names


def require_names(names: Sequence[str], kind: str) -> None:
    """Raise an error unless these are names, each once.

    Raises:
        ValueError: They are not.
    """
    if isinstance(names, str) or not names or not all(isinstance(name, str) and name for name in names):
        raise ValueError(f"{kind} must be a list of names, not {names!r}")
    twice = sorted({name for name in names if list(names).count(name) > 1})
    if twice:
        raise ValueError(f"{kind} name '{twice[0]}' twice: {shorten(names, 20)}")


def probability_error(prediction: Array) -> str | None:
    """Describe what is wrong with probabilities, if anything is."""
    if not np.isfinite(prediction).all():
        return "probabilities must be finite, but some are not"
    low, high = (float(prediction.min()), float(prediction.max())) if prediction.size else (0.0, 0.0)
    if low < 0 or high > 1 + SUM:
        return f"probabilities must be between 0 and 1, but they go from {low:.4g} to {high:.4g}"
    return None
