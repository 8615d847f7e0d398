"""Base class of the baselines that do not train the encoder."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from medssl.contracts import Batch, Encode, Method
from medssl.errors import TrainingError

__all__ = ["Untrained"]


class Untrained(Method):
    """Keeps the encoder at its initial weights."""

    trains: ClassVar[bool] = False

    def loss(self, batch: Batch, encode: Encode) -> Tensor:  # noqa: ARG002  (the contract's signature)
        """Raise an error, because there is nothing to train.

        Raises:
            TrainingError: Always.
        """
        name = type(self).__name__.lower()
        raise TrainingError(
            f"the method '{name}' trains nothing. It keeps the encoder unchanged. Choose another method."
        )
