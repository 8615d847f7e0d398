"""Chooses the epoch whose encoder is kept: the last epoch, or the one with the best validation score."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

__all__ = ["BRIER", "BestEpoch"]

BRIER = "_brier"  # the end of the name of a Brier score among the scores of a validation


class BestEpoch:
    """Stores the encoder of the epoch with the best validation score; of equal scores, the latest.

    The score is the Brier score if the validation has one, because it judges the probabilities and not only the most
    likely class (a proper score: Gneiting & Raftery 2007, J. Am. Stat. Assoc. 102, 359-378), and is finite for
    probabilities of 0. Otherwise it is the first score, of which higher values are better.

    Args:
        encoder: The encoder in training.
    """

    def __init__(self, encoder: nn.Module) -> None:
        self._encoder = encoder
        self._score = float("-inf")
        self._weights: dict[str, Tensor] = {}

    def see(self, validation: Mapping[str, float]) -> None:
        """Compare an epoch's validation score with the best; without a score nothing is stored."""
        brier = next((value for name, value in validation.items() if name.endswith(BRIER)), None)
        score = -brier if brier is not None else next(iter(validation.values()), None)
        if score is not None and score >= self._score:
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
