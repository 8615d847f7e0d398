"""Which epoch's encoder is kept: the last one's, or that of the best validation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

__all__ = ["BestEpoch"]


class BestEpoch:
    """Remembers the encoder of the epoch with the best validation score, the latest among equals.

    Args:
        encoder: The encoder in training.
    """

    def __init__(self, encoder: nn.Module) -> None:
        self._encoder = encoder
        self._score = float("-inf")
        self._weights: dict[str, Tensor] = {}

    def see(self, validation: Mapping[str, float]) -> None:
        """Look at an epoch's validation; without a score nothing is remembered."""
        if validation and (score := next(iter(validation.values()))) >= self._score:
            self._score = score
            self._weights = {name: value.detach().clone() for name, value in self._encoder.state_dict().items()}

    def restore(self) -> None:
        """Put the best epoch's weights into the encoder; without any validation it stays as it is."""
        if self._weights:
            self._encoder.load_state_dict(self._weights)

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs."""
        return {"score": self._score, "weights": self._weights}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what an interrupted run remembered."""
        self._score, self._weights = float(state["score"]), dict(state["weights"])
