"""Supervised training on the labels of the training part: a reference for self-supervised methods.

A linear layer on the encoder's features is trained with the cross-entropy, on one view of each image. For findings it
is the mean binary cross-entropy of those that are known, and for a quantity the squared error of the standardised
number. The layer is dropped afterwards, and the frozen encoder is evaluated like any other. To evaluate the predictions
of the whole network, use the evaluator ``finetune``. Batches contain labelled images only, so a step with few labels is
as good as one with many; the number of steps does not depend on the share of labels.

The view has the crops and flips of the recipe's augmentation, but none of its colour operations: the strong ones that
contrastive methods need reduce the accuracy of a supervised network (SimCLR, Chen et al. 2020, arXiv 2002.05709, table
1).

To start from ImageNet weights instead of random ones, give ``--init pretrained``.

N samples, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medssl.contracts import TARGETS, Batch, Encode, Fraction, Method, Task, ViewGroup, ViewSpec
from medssl.tools import balanced_weights, number_scale, target_loss

__all__ = ["Supervised"]

_PLAIN_COLOURS = {"jitter": 0.0, "greyscale": 0.0, "blur": 0.0, "solarise": 0.0}


class Supervised(Method):
    """Cross-entropy on the training labels."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            label_smoothing: Fraction of the target that is distributed over all classes (or both values of a finding).
            class_weight: ``balanced``: each class, or both values of a finding, has the same weight in the loss, as in
                scikit-learn. A quantity has no classes and ignores it.
        """

        LATER: ClassVar[frozenset[str]] = frozenset({"class_weight"})

        label_smoothing: Fraction = (
            0.0  # smoothing makes frozen features transfer worse: Kornblith et al. 2019, sec. 4.2
        )
        class_weight: Literal["none", "balanced"] = "none"  # the classes as they are

    uses_labels: ClassVar[bool] = True
    labelled_share: ClassVar[float] = 1.0
    targets: ClassVar[tuple[str, ...]] = tuple(TARGETS)
    weights: Tensor | None
    scale: Tensor | None
    views: ViewSpec = ViewSpec((ViewGroup(count=1, augment=_PLAIN_COLOURS),))

    def __init__(self, config: Config, encoder: nn.Module, task: Task) -> None:
        super().__init__(config, encoder, task)
        self.smoothing = config.label_smoothing
        self.findings = task.target.kind == "findings"
        self.head = nn.Linear(task.feature_dim, task.target.outputs)
        self.target = task.target
        number = task.target.kind == "quantity"
        scale = (
            None if not number else torch.tensor([0.0, 1.0]) if task.y is None else torch.stack(number_scale(task.y))
        )
        self.register_buffer("scale", scale, persistent=False)
        y = task.y if config.class_weight == "balanced" and not number else None
        self.register_buffer("weights", None if y is None else balanced_weights(y), persistent=False)

    def loss(self, batch: Batch, encode: Encode) -> Tensor:
        """Return the mean loss of all known labels of the batch; zero if there are none."""
        (features,) = encode(batch.views)
        y = batch.y
        assert y is not None  # nosec B101 # for the type checker (Method.uses_labels)
        logits = self.head(features)
        if self.scale is not None:
            return target_loss(self.target, logits, (y - self.scale[0]) / self.scale[1])
        weights = None if self.weights is None else self.weights[batch.index]
        if self.findings:
            known = ~y.isnan()
            smooth = y.nan_to_num() * (1 - self.smoothing) + self.smoothing / 2
            each = F.binary_cross_entropy_with_logits(logits, smooth, reduction="none")
            each = each if weights is None else each * weights
            return each.where(known, 0.0).sum() / known.sum().clamp_min(1)
        if weights is None:
            total = F.cross_entropy(logits, y, ignore_index=-1, reduction="sum", label_smoothing=self.smoothing)
        else:
            each = F.cross_entropy(logits, y, ignore_index=-1, reduction="none", label_smoothing=self.smoothing)
            total = (each * weights).sum()
        return total / (y >= 0).sum().clamp_min(1)
