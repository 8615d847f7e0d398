"""Ordinal probe: one cumulative-link logistic regression on frozen, standardised features, for grades.

``P(grade <= k) = sigmoid(threshold[k] - w x)``, the proportional-odds model (McCullagh, Regression models for ordinal
data, Journal of the Royal Statistical Society B 42, 1980). It asks whether one direction of the features orders the
grades, where the nominal probe ``linear`` asks whether a direction for each grade separates them. With K grades it has
F + K - 1 numbers to fit in the place of K (F + 1), so it needs fewer images. Where the grades do not lie along one
direction, ``linear`` is better: run both.

Standardisation, grid of strengths and choice by the log loss of the validation part are those of ``linear``. With two
grades both are the same regression. The optimum is unique: no learning rate, no epochs, no seed (``_cumulative.py``).

N samples, F features, S strengths, K grades, P of them in the training part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from medssl.contracts import Features, Kept, Predictor, RestoreContext
from medssl.tools import balanced_weights
from medssl_evaluators._choice import ConstantPredictor
from medssl_evaluators._cumulative import CumulativeHead, fit_cumulative
from medssl_evaluators._keeping import restore_form
from medssl_evaluators.linear import Linear, standardisation

__all__ = ["Ordinal"]


class Ordinal(Linear):
    """L2-regularised proportional-odds regression; its strength is chosen on the validation part."""

    @dataclass(frozen=True, kw_only=True)
    class Config(Linear.Config):
        """Options, as those of ``linear``.

        Attributes:
            c_values: Grid of ``C``: the weight of the summed negative log-likelihood against half the squared weights.
            choose_by: Score on the validation part that chooses C.
            class_weight: ``balanced``: each grade has the same weight in training.
        """

    targets: ClassVar[tuple[str, ...]] = ("grades",)

    def fit(self, train: Features, val: Features) -> Predictor:
        """Solve for every strength on ``train``; choose one on ``val``, the smaller C in a tie.

        Raises:
            DataError: There are several strengths and the validation part is empty.
        """
        present, grade = torch.unique(train.y, return_inverse=True)  # (P,), (N,)
        if len(present) == 1:
            return ConstantPredictor(int(present), train.target.outputs)
        weights = balanced_weights(train.y) if self.config.class_weight == "balanced" else None
        return self.choose(_Cumulative(train, present, grade, weights), val)

    @classmethod
    def restore(cls, kept: Kept, context: RestoreContext) -> Predictor:
        """Build the probe again."""
        return restore_form(kept, context, CumulativeHead, ConstantPredictor)


class _Cumulative:
    """The training part, standardised: the regression of any strength.

    Args:
        train: Features ``(N, F)``.
        present: ``(P,)`` the grades in it.
        grade: ``(N,)`` positions in ``present``.
        weights: ``(N,)`` weights of the samples; ``None``: all one.
    """

    def __init__(self, train: Features, present: Tensor, grade: Tensor, weights: Tensor | None) -> None:
        self.mean, self.deviation, self.x = standardisation(train.x)
        self.present, self.grade, self.weights, self.num_grades = present, grade, weights, train.target.outputs

    def solve(self, strengths: Sequence[float]) -> list[CumulativeHead]:
        """Return the probe of each strength."""
        penalty = 1 / (torch.tensor(strengths, dtype=torch.float64, device=self.x.device) * len(self.x))
        solved = fit_cumulative(self.x, self.grade, len(self.present), penalty, self.weights)
        known = self.mean, self.deviation
        return [
            CumulativeHead(*known, weight.float(), thresholds.float(), self.present, self.num_grades)
            for weight, thresholds in zip(*solved, strict=True)
        ]
