"""Scores of one setting on the validation part.

Log loss, the mean negative log probability of the true class, is a strictly proper score: in expectation only the true
class probabilities minimise it (Gneiting & Raftery, Journal of the American Statistical Association 102, 2007, sections
2 and 4.1). AUROC measures the order of the images, not the probabilities. Accuracy and balanced accuracy measure the
predicted class of a decision rule. :func:`decide` is this rule; the choice by log loss or AUROC does not use it.

For findings, every score is the mean over the findings that are known for some validation image; each uses the images
for which it is known. For a quantity, only the squared error exists, which is also a proper score.

S settings, n validation samples, K classes or findings.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["Score", "decide", "has_auroc", "score", "smooth"]

_SMALLEST = torch.finfo(torch.float32).eps  # scikit-learn's log_loss clips float32 probabilities at the same value


@dataclass(frozen=True)
class Score:
    """Scores of one setting on the validation part; NaN if that part is empty or the score is not defined.

    Attributes:
        accuracy: Fraction of samples whose predicted class is right.
        balanced_accuracy: Mean recall over the classes among the labels.
        log_loss: In nats per sample; a probability below 1.2e-7 counts as 1.2e-7.
        auroc: For two classes that of class 1, otherwise the mean over the labels' classes of one class against all
            others; NaN if the labels have a single class.
        squared_error: For a quantity: the mean, in the square of its unit.
    """

    accuracy: float = math.nan
    balanced_accuracy: float = math.nan
    log_loss: float = math.nan
    auroc: float = math.nan
    squared_error: float = math.nan

    def selected(self) -> dict[str, float]:
        """Return the values that exist, for ``Predictor.selected``; empty without a validation part."""
        values = {f"val_{field.name}": getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if not math.isnan(value)}

    @staticmethod
    def mean(scores: Sequence[Score]) -> Score:
        """Average several scores value by value, over those that exist."""
        return Score(*(_mean([getattr(score, field.name) for score in scores]) for field in fields(Score)))


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan


def decide(proba: Tensor) -> Tensor:
    """Return the predicted class: the first of the largest probabilities ``(..., K)``, as the core and scikit-learn do.

    A threshold, prior or cost would be a second, separate choice; the choice of settings does not need it.
    """
    return proba.argmax(dim=-1)


def score(prediction: Tensor, y: Tensor, smoothed: Tensor | None = None) -> list[Score]:
    """Score S settings.

    Args:
        prediction: ``(S, n, O)`` float32: probabilities of classes or findings, or a number.
        y: ``(n,)`` int64 of classes, ``(n, K)`` float32 of findings, NaN where unknown, or ``(n,)`` float32.
        smoothed: ``(S, n, K)``, input of the log loss; ``prediction`` by default. See :func:`smooth`.
    """
    if y.ndim == 2:
        return _score_findings(prediction, y, prediction if smoothed is None else smoothed)
    if y.is_floating_point():
        error = (prediction[..., 0].double() - y.double()).square().mean(dim=1)
        return [Score(squared_error=value) for value in error.tolist()]
    return _score_classes(prediction, y, smoothed)


def has_auroc(y: Tensor) -> bool:
    """Return whether there are two classes ``(n,)``, or a finding ``(n, K)`` with both outcomes."""
    columns = y.T if y.ndim == 2 else y[None]
    return any(len(column[~column.isnan()].unique()) > 1 for column in columns)


def _score_findings(proba: Tensor, y: Tensor, smoothed: Tensor) -> list[Score]:
    """Average the scores of two classes, absent and present, over the findings; see :func:`score`."""
    found: list[list[Score]] = [[] for _ in proba]
    for k in range(y.shape[1]):
        known = ~y[:, k].isnan()
        if bool(known.any()):
            both = [torch.stack([1 - p, p], dim=2) for p in (proba[:, known, k], smoothed[:, known, k])]
            for of_setting, each in zip(found, _score_classes(both[0], y[known, k].long(), both[1]), strict=True):
                of_setting.append(each)
    return [Score.mean(scores) if scores else Score() for scores in found]


def _score_classes(proba: Tensor, label: Tensor, smoothed: Tensor | None) -> list[Score]:
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
    """Return ``(S,)`` float64: the share of pairs in which a positive is above a negative; ties count half.

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


def smooth(proba: Tensor, frequency: Tensor, count: Tensor | int) -> Tensor:
    """Mix votes of neighbours with the class frequencies in training, so that no training class has probability zero.

    With few neighbours a class often has no vote. A probability of zero makes the log loss infinite, and then the
    choice depends on an arbitrary small bound. This is the m-estimate (Cestnik, Estimating probabilities: a crucial
    task in machine learning, ECAI 1990) with m = 1: the vote counts as ``count`` samples, and one additional sample has
    the class frequencies. A class without a vote gets ``frequency / (count + 1)``: a training part of this size cannot
    show that a class is rarer.

    The vote has the weight of the training part, and not of its k neighbours as in Laplace's rule, because the result
    uses the plain vote. More smoothing at small k would score a different predictor than the reported one, and would
    not penalise the overconfidence of k = 1. On fundus photographs, Laplace's rule chose k = 1 in two of six splits.

    Args:
        proba: ``(..., K)`` shares of the vote.
        frequency: ``(K,)`` frequencies of the classes or findings in training.
        count: Number of training samples; for findings ``(K,)``, the number for which each is known.
    """
    return (count * proba + frequency) / (count + 1)
