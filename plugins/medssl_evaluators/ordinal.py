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

from dataclasses import dataclass
from typing import ClassVar

from medssl.contracts import Kept, Predictor, RestoreContext
from medssl_evaluators._choice import ConstantPredictor
from medssl_evaluators._cumulative import CumulativeHead
from medssl_evaluators._keeping import restore_form
from medssl_evaluators._regressions import Cumulative, Logistic
from medssl_evaluators.linear import Linear

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
    regression: ClassVar[type[Logistic]] = Cumulative

    @classmethod
    def restore(cls, kept: Kept, context: RestoreContext) -> Predictor:
        """Build the probe again."""
        return restore_form(kept, context, CumulativeHead, ConstantPredictor)
