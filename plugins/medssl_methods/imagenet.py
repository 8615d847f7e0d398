"""The encoder with timm's own weights, frozen: the baseline that pre-training on one's own images must beat.

Transfer from ImageNet costs nothing but a download, and on small medical sets it is hard to beat: the ICIP 2023 study's
table 3 has it ahead of its self-supervised encoders in six of twelve cells. The weights are those that timm names for
the backbone (``resnet50``: of the recipe A1; ``--backbone resnet50.tv_in1k``: torchvision's), or a file given with
``--init``. Where the backbone was trained on something else, they are of that; the result names them.

Nothing is trained. To go on from these weights with another method, give that method ``--init pretrained``.
"""

from __future__ import annotations

from typing import ClassVar

from medssl_methods._untrained import Untrained

__all__ = ["ImageNet"]


class ImageNet(Untrained):
    """Leaves the encoder at the weights that it starts from, which the recipes set to timm's own."""

    needs_weights: ClassVar[bool] = True
