"""Choosing one of several settings on the validation part, and the predictor for a training part of one class.

Settings are ranked by balanced accuracy, the mean recall over the classes. Plain accuracy rewards leaning towards the
frequent class of an imbalanced validation part, and medical parts seldom share one prior: three in four of the
pneumonia set's official training images are positive, five in eight of its test images.

A small validation part ranks many settings alike, so each evaluator also says what it prefers among equals.

S settings, n validation samples, K classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from medssl.contracts import Features, Images, Predictor
from medssl.errors import DataError

__all__ = ["ConstantPredictor", "Scores", "best", "only_class", "score"]


@dataclass(frozen=True)
class Scores:
    """How each of S settings does on the validation part; float64, NaN when that part is empty.

    Attributes:
        accuracy: ``(S,)``.
        balanced_accuracy: ``(S,)``, mean recall over the classes present.
        log_loss: ``(S,)``, in nats per sample; a probability of zero counts as 1e-6.
    """

    accuracy: Tensor
    balanced_accuracy: Tensor
    log_loss: Tensor

    def selected(self, index: int) -> dict[str, float]:
        """Return what came of setting ``index``, for ``Predictor.selected``; nothing without a validation part."""
        if self.accuracy.isnan().any():
            return {}
        accuracy, balanced = self.accuracy[index].item(), self.balanced_accuracy[index].item()
        return {"val_accuracy": accuracy, "val_balanced_accuracy": balanced}


def score(proba: Tensor, label: Tensor) -> Scores:
    """Score S settings.

    Args:
        proba: ``(S, n, K)`` float32.
        label: ``(n,)`` int64.
    """
    right = (proba.argmax(dim=2) == label).double()  # (S, n)
    member = F.one_hot(label, proba.shape[2]).double()
    member = member[:, member.any(dim=0)]  # (n, classes present)
    recall = right @ member / member.sum(dim=0)
    true = proba.gather(2, label.expand(len(proba), -1)[..., None])[..., 0].double()  # (S, n)
    return Scores(right.mean(dim=1), recall.mean(dim=1), -true.clamp_min(1e-6).log().mean(dim=1))


def best(scores: Sequence[float] | Tensor, prefer: Sequence[float] | Tensor, what: str) -> int:
    """Return the setting of the highest score; among equals the most preferred, among those the first.

    Args:
        scores: S balanced accuracies.
        prefer: S numbers, the higher the better.
        what: The option that holds the settings, for the message.

    Raises:
        DataError: There are several settings and no validation part to choose on.
    """
    ranked = list(zip(torch.as_tensor(scores).tolist(), torch.as_tensor(prefer).tolist(), strict=True))
    if len(ranked) > 1 and any(math.isnan(value) for value, _ in ranked):
        raise DataError(
            f"the validation part is empty, so none of the {len(ranked)} {what} can be chosen. "
            f"Settings are never chosen on the test part. Give the validation part images, or name one value in {what}."
        )
    return max(range(len(ranked)), key=ranked.__getitem__)


def only_class(train: Features | Images) -> int | None:
    """Return the class of a training part that has one only."""
    first = int(train.label[0])
    return first if bool((train.label == first).all()) else None


class ConstantPredictor(Predictor):
    """Predicts the one class that there is in training, whatever the features."""

    def __init__(self, label: int, num_classes: int) -> None:
        self.label = label
        self.num_classes = num_classes
        self.notes = (one_class_note(label),)

    def predict_proba(self, x: Tensor) -> Tensor:
        """Map ``(N, F)`` to ``(N, K)``."""
        return F.one_hot(torch.full((len(x),), self.label, device=x.device), self.num_classes).float()


def one_class_note(label: int) -> str:
    """Return the sentence that goes with a training part of one class."""
    return f"The training part holds one class only (number {label}); every prediction is that class."
