"""Standardised training parts whose regressions are solved for any strength: for ``linear`` and ``ordinal``.

N samples, F features, S strengths, K classes or grades, P of them in the training part.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from medssl.contracts import Features, Predictor
from medssl_evaluators._cumulative import CumulativeHead, fit_cumulative
from medssl_evaluators._linear_heads import LinearHead, RidgeHead
from medssl_evaluators._logistic import fit_logistic
from medssl_evaluators._ridge import fit_ridge

__all__ = ["Cumulative", "Logistic", "Ridge"]


def _standardisation(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return mean and deviation ``(F,)`` of features ``(N, F)``, and the standardised features."""
    x = x.float()
    mean, deviation = x.mean(dim=0), x.std(dim=0, correction=0)
    deviation[deviation == 0] = 1  # a constant feature stays zero
    return mean, deviation, (x - mean) / deviation


class Logistic:
    """The training part, standardised: its logistic regression of any strength.

    Args:
        train: Features ``(N, F)``.
        present: ``(P,)`` the classes or grades in it.
        label: ``(N,)`` positions in ``present``.
        weights: ``(N,)`` weights of the samples; ``None``: all one.
    """

    def __init__(self, train: Features, present: Tensor, label: Tensor, weights: Tensor | None) -> None:
        self.weights = weights
        self.mean, self.deviation, self.x = _standardisation(train.x)
        self.present, self.label, self.num_classes = present, label, train.target.outputs

    def solve(self, strengths: Sequence[float]) -> Sequence[Predictor]:
        """Return the probe of each strength."""
        penalty = 1 / (torch.tensor(strengths, dtype=self.x.dtype, device=self.x.device) * len(self.x))
        if len(self.present) == 2:
            penalty = 2 * penalty  # for two classes scikit-learn has one weight vector, the difference of our two
        solved = fit_logistic(self.x, self.label, len(self.present), penalty, self.weights)  # (S, P, F), (S, P)
        return [
            LinearHead(self.mean, self.deviation, weight, intercept, self.present, self.num_classes)
            for weight, intercept in zip(*solved, strict=True)
        ]


class Cumulative(Logistic):
    """The training part, standardised: its proportional-odds regression of any strength."""

    def solve(self, strengths: Sequence[float]) -> Sequence[Predictor]:
        """Return the probe of each strength."""
        penalty = 1 / (torch.tensor(strengths, dtype=torch.float64, device=self.x.device) * len(self.x))
        solved = fit_cumulative(self.x, self.label, len(self.present), penalty, self.weights)
        known = self.mean, self.deviation
        return [
            CumulativeHead(*known, weight.float(), thresholds.float(), self.present, self.num_classes)
            for weight, thresholds in zip(*solved, strict=True)
        ]


class Ridge:
    """The training part, features and number standardised: the ridge regression of any strength.

    C is the weight of the summed squared error against the squared weights.
    """

    def __init__(self, train: Features) -> None:
        self.mean, self.deviation, self.x = _standardisation(train.x)
        self.middle, spread = train.y.mean(), train.y.std(correction=0)
        self.spread = spread if spread > 0 else torch.ones_like(spread)
        self.y = (train.y - self.middle) / self.spread

    def solve(self, strengths: Sequence[float]) -> Sequence[Predictor]:
        """Return the regression of each strength."""
        weights, intercept = fit_ridge(self.x, self.y, 1 / torch.tensor(strengths, dtype=torch.float64))
        known = self.mean, self.deviation, self.middle, self.spread
        return [RidgeHead(*known, weight, intercept) for weight in weights]
