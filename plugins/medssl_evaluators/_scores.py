"""How well one setting does on the validation part.

Log loss, the mean negative log probability of the true class, is a strictly proper score: in expectation only the true
class probabilities minimise it (Gneiting & Raftery, Journal of the American Statistical Association 102, 2007, sections
2 and 4.1). AUROC measures the order of the images and no probability. Accuracy and balanced accuracy measure the class
that a decision rule takes; :func:`decide` is that rule, and the choice by log loss or AUROC does not use it.

S settings, n validation samples, K classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["Score", "decide", "score", "smooth"]

_SMALLEST = torch.finfo(torch.float32).eps  # scikit-learn's log_loss clips float32 probabilities at the same value


@dataclass(frozen=True)
class Score:
    """How one setting does on the validation part; every value is NaN when that part is empty.

    Attributes:
        accuracy: Fraction of samples whose predicted class is right.
        balanced_accuracy: Mean recall over the classes among the labels.
        log_loss: In nats per sample; a probability below 1.2e-7 counts as 1.2e-7.
        auroc: Of class 1 where there are two classes, otherwise the mean over the labels' classes of one class against
            all others; NaN with a single class among the labels.
    """

    accuracy: float
    balanced_accuracy: float
    log_loss: float
    auroc: float

    def selected(self) -> dict[str, float]:
        """Return the values that exist, for ``Predictor.selected``; nothing without a validation part."""
        values = {f"val_{field.name}": getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if not math.isnan(value)}

    @staticmethod
    def mean(scores: Sequence[Score]) -> Score:
        """Average several scores value by value."""
        return Score(*(sum(getattr(s, field.name) for s in scores) / len(scores) for field in fields(Score)))


def decide(proba: Tensor) -> Tensor:
    """Return the predicted class: the first of the largest probabilities ``(..., K)``, as the core and scikit-learn do.

    A threshold, prior or cost would be a second choice of its own; the choice of settings does not need one.
    """
    return proba.argmax(dim=-1)


def score(proba: Tensor, label: Tensor, smoothed: Tensor | None = None) -> list[Score]:
    """Score S settings.

    Args:
        proba: ``(S, n, K)`` float32.
        label: ``(n,)`` int64.
        smoothed: ``(S, n, K)``, what the log loss is taken of; ``proba`` by default. See :func:`smooth`.
    """
    right = (decide(proba) == label).double()  # (S, n)
    member = F.one_hot(label, proba.shape[2]).double()
    member = member[:, member.any(dim=0)]  # (n, classes present)
    recall = right @ member / member.sum(dim=0)
    judged = proba if smoothed is None else smoothed
    true = judged.gather(2, label.expand(len(judged), -1)[..., None])[..., 0].double()  # (S, n)
    log_loss = -true.clamp(_SMALLEST, 1).log().mean(dim=1)
    columns = (right.mean(dim=1), recall.mean(dim=1), log_loss, _auroc(proba, label))
    return [Score(*values) for values in zip(*(column.tolist() for column in columns), strict=True)]


def _auroc(proba: Tensor, label: Tensor) -> Tensor:
    """Return ``(S,)`` float64: how often a positive stands above a negative, ties counting half.

    Source: Hanley & McNeil, Radiology 143, 1982.
    """
    classes = proba.shape[2]
    present = label.unique().tolist()
    if len(present) < 2:
        return torch.full((len(proba),), torch.nan, dtype=torch.float64)
    areas = []
    for c in present if classes > 2 else [1]:
        positive = proba[:, label == c, c].contiguous()  # (S, P)
        negative = proba[:, label != c, c].sort(dim=1).values.contiguous()  # (S, N)
        below = torch.searchsorted(negative, positive, right=False) + torch.searchsorted(negative, positive, right=True)
        areas.append(below.double().mean(dim=1) / (2 * negative.shape[1]))
    return torch.stack(areas).mean(dim=0)


def smooth(proba: Tensor, frequency: Tensor, count: int) -> Tensor:
    """Mix votes of neighbours with the classes' frequencies in training, so that no class in training has a zero.

    With few neighbours a class often has no vote. A probability of zero makes the log loss infinite, and a clamp at
    some tiny number then decides the choice. This is the m-estimate (Cestnik, Estimating probabilities: a crucial task
    in machine learning, ECAI 1990) with m = 1: the vote stands for ``count`` samples, and one further sample has the
    classes' frequencies. A class without a vote gets ``frequency / (count + 1)``: a training part of this size cannot
    show that something is rarer.

    The vote is given the weight of the training part and not of its k neighbours, as Laplace's rule would have it,
    because the result keeps the plain vote: more smoothing at small k would judge another predictor than the one
    delivered, and forgive k = 1 its certainty. On fundus photographs it then chose k = 1 in two of six splits.

    Args:
        proba: ``(..., K)`` shares of the vote.
        frequency: ``(K,)`` of the classes in training; they sum to one.
        count: Training samples.
    """
    return (count * proba + frequency) / (count + 1)
