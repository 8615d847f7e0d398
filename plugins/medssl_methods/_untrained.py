"""What the baselines share that train nothing: the encoder stays as it starts."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from medssl.contracts import Batch, Encode, Method
from medssl.errors import TrainingError

__all__ = ["Untrained"]


class Untrained(Method):
    """Leaves the encoder at the weights that it starts from."""

    trains: ClassVar[bool] = False

    def loss(self, batch: Batch, encode: Encode) -> Tensor:  # noqa: ARG002  (the contract's signature)
        """Refuse: there is nothing to train.

        Raises:
            TrainingError: Always.
        """
        name = type(self).__name__.lower()
        raise TrainingError(f"the method '{name}' trains nothing. It stands for an encoder as it is. Choose another.")
