"""FixMatch: training on labels, and on the network's own confident predictions for images without a label.

Sohn et al., FixMatch: Simplifying Semi-Supervised Learning with Consistency and Confidence, NeurIPS 2020, arXiv
2001.07685, equations 3 and 4. Each image has a weak and a strong view. The loss is the sum of

- the cross-entropy of the weak view with the label, over the images that have one (equation 3);
- the cross-entropy of the strong view with the class that the network predicts from the weak one, where this prediction
  is confident; the mean is over all images, confident or not (equation 4). No gradient flows through the prediction.

As in the paper, each batch has B images with a label and 7 B drawn from all images, and images with a label are also
among those of the second part. Two things differ from the paper:

- Its strong views use RandAugment or CTAugment, made for photographs, and Cutout. Here they have the recipe's
  augmentation, which suits the images.
- It evaluates a moving average of the weights. Here the encoder of the last epoch is evaluated, as for other methods.

The layer of the classes is dropped afterwards, and the frozen encoder is evaluated like any other.

N samples, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medssl.contracts import Batch, Encode, Fraction, Method, NonNegative, Task, ViewGroup, ViewSpec

__all__ = ["FixMatch", "fixmatch_losses"]

# flips, and shifts by up to 12.5 % of the side (sec. 2.3): the smallest crop has 0.875 squared of the area
_WEAK = {"crop_scale": (0.766, 1.0), "jitter": 0.0, "greyscale": 0.0, "blur": 0.0, "solarise": 0.0}


class FixMatch(Method):
    """FixMatch: labels, and pseudo-labels from a weak view for a strong one."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            threshold: Probability from which on a prediction for a weak view is a pseudo-label.
            unlabelled_weight: Weight of the loss on pseudo-labels.
        """

        threshold: Fraction = 0.95  # sec. 4: tau
        unlabelled_weight: NonNegative = 1.0  # sec. 4: lambda_u

    uses_labels: ClassVar[bool] = True
    labelled_share: ClassVar[float] = 1 / 8  # sec. 4: mu is 7
    targets: ClassVar[tuple[str, ...]] = ("classes", "grades")
    views: ViewSpec = ViewSpec((ViewGroup(count=1, augment=_WEAK), ViewGroup(count=1)))

    def __init__(self, config: Config, encoder: nn.Module, task: Task) -> None:
        super().__init__(config, encoder, task)
        self.head = nn.Linear(task.feature_dim, task.target.outputs)

    def loss(self, batch: Batch, encode: Encode) -> Tensor:
        """Return the loss on labels plus the weighted loss on pseudo-labels."""
        weak, strong = (self.head(features) for features in encode(batch.views))
        y = batch.y
        assert y is not None  # nosec B101 # for the type checker (Method.uses_labels)
        labelled, unlabelled = fixmatch_losses(weak, strong, y, self.config.threshold)
        total: Tensor = labelled + self.config.unlabelled_weight * unlabelled
        return total


def fixmatch_losses(weak: Tensor, strong: Tensor, y: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    """Return the losses on labels and on pseudo-labels.

    Args:
        weak: Logits ``(N, K)`` of the weak views.
        strong: Logits ``(N, K)`` of the strong views.
        y: Classes ``(N,)``; -1 for an image without a label.
        threshold: See :class:`FixMatch.Config`.
    """
    labelled = F.cross_entropy(weak, y, ignore_index=-1, reduction="sum") / (y >= 0).sum().clamp_min(1)
    with torch.no_grad():
        confidence, guessed = weak.softmax(dim=1).max(dim=1)
    each = F.cross_entropy(strong, guessed, reduction="none")
    return labelled, (each * (confidence >= threshold)).mean()
