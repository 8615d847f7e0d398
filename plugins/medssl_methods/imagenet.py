"""The encoder with the weights that timm provides, frozen: a baseline that your own pre-training must beat.

Transfer from ImageNet costs only a download, and is hard to beat on small medical sets: in table 3 of the ICIP 2023
study it is better than the study's self-supervised encoders in six of twelve cells. The weights are timm's default for
the backbone (``resnet50``: of the recipe A1; ``--backbone resnet50.tv_in1k``: torchvision's), or a file given with
``--init``. Some backbones were trained on other data than ImageNet; the result names the weights.

Nothing is trained. To continue from these weights with another method, give that method ``--init pretrained``.
"""

from __future__ import annotations

from typing import ClassVar

from medssl_methods._untrained import Untrained

__all__ = ["ImageNet"]


class ImageNet(Untrained):
    """Keeps the encoder at its initial weights, which the recipes set to those that timm provides."""

    needs_weights: ClassVar[bool] = True
