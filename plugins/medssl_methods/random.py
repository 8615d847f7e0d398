"""The untrained encoder: the baseline that every trained one must beat.

A randomly initialised convolutional network is already a usable feature extractor; a table of self-supervised results
without it cannot say what the pre-training was worth.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from medssl.contracts import Batch, Encode, Method
from medssl.errors import TrainingError

__all__ = ["Random"]


class Random(Method):
    """Leaves the encoder at its random initial weights."""

    trains: ClassVar[bool] = False

    def loss(self, batch: Batch, encode: Encode) -> Tensor:  # noqa: ARG002  (the contract's signature)
        """Refuse: there is nothing to train.

        Raises:
            TrainingError: Always.
        """
        raise TrainingError("the method 'random' trains nothing. It stands for the untrained encoder. Choose another.")
