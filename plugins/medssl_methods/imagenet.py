"""The encoder with timm's own weights, frozen: the baseline that pre-training on one's own images must beat.

Transfer from ImageNet costs nothing but a download, and on small medical sets it is hard to beat: the ICIP 2023 study's
table 3 has it ahead of its self-supervised encoders in six of twelve cells. The weights are those that timm names for
the backbone (``resnet50``: of the recipe A1; ``--backbone resnet50.tv_in1k``: torchvision's), or a file given with
``--init``. Where the backbone was trained on something else, they are of that; the result names them.

Nothing is trained. To go on from these weights with another method, give that method ``--init pretrained``.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from medssl.contracts import Batch, Encode, Method
from medssl.errors import TrainingError

__all__ = ["ImageNet"]


class ImageNet(Method):
    """Leaves the encoder at the weights that it starts from, which the recipes set to timm's own."""

    trains: ClassVar[bool] = False
    needs_weights: ClassVar[bool] = True

    def loss(self, batch: Batch, encode: Encode) -> Tensor:  # noqa: ARG002  (the contract's signature)
        """Refuse: there is nothing to train.

        Raises:
            TrainingError: Always.
        """
        raise TrainingError(
            "the method 'imagenet' trains nothing. It stands for the encoder trained on ImageNet. Choose another."
        )
