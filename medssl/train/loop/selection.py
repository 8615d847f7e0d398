"""Chooses the epoch whose encoder is kept: the last epoch, or the one with the best validation score."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

__all__ = ["BestEpoch"]


class BestEpoch:
    """Stores the encoder of the epoch with the best validation score; of equal scores, the latest.

    Args:
        encoder: The encoder in training.
    """

    def __init__(self, encoder: nn.Module) -> None:
        self._encoder = encoder
        self._score = float("-inf")
        self._weights: dict[str, Tensor] = {}

    def see(self, validation: Mapping[str, float]) -> None:
        """Compare an epoch's validation score with the best; without a score nothing is stored."""
        if validation and (score := next(iter(validation.values()))) >= self._score:
            self._score = score
            self._weights = {name: value.detach().clone() for name, value in self._encoder.state_dict().items()}

    def restore(self) -> None:
        """Load the best epoch's weights into the encoder; without any validation score it stays unchanged."""
        if self._weights:
            self._encoder.load_state_dict(self._weights)

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs."""
        return {"score": self._score, "weights": self._weights}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the values that an interrupted run stored."""
        self._score, self._weights = float(state["score"]), dict(state["weights"])
