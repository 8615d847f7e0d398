"""An encoder as it is given, frozen: ``--init FILE``, or what ``medssl evaluate FILE`` names.

For an encoder that was trained elsewhere: on other images, by another program, in an earlier run. Nothing is trained,
so the result tells of the encoder alone. The images that it was trained on are not known here: where images of the
test part were among them, the result is too good.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from medssl.contracts import Batch, Encode, Method
from medssl.errors import TrainingError

__all__ = ["Frozen"]


class Frozen(Method):
    """Leaves the encoder at the weights that it starts from."""

    trains: ClassVar[bool] = False
    needs_weights: ClassVar[bool] = True

    def loss(self, batch: Batch, encode: Encode) -> Tensor:  # noqa: ARG002  (the contract's signature)
        """Refuse: there is nothing to train.

        Raises:
            TrainingError: Always.
        """
        raise TrainingError("the method 'frozen' trains nothing. It stands for an encoder as given. Choose another.")
