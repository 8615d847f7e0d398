"""Solved linear and ridge regressions: what the evaluator ``linear`` returns.

N samples, F features, K classes, P of them in the training part.
"""

from __future__ import annotations

from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from medssl.contracts import Kept, Predictor, RestoreContext
from medssl_evaluators._keeping import affine

__all__ = ["LinearHead", "RidgeHead"]


class LinearHead(Predictor):
    """One solved regression: ``weight`` (P, F) and ``intercept`` (P,) on standardised features."""

    form: ClassVar[str] = "logistic regression"
    selected: dict[str, Any]

    def __init__(
        self, mean: Tensor, deviation: Tensor, weight: Tensor, intercept: Tensor, present: Tensor, num_classes: int
    ) -> None:
        self.mean, self.deviation, self.weight, self.intercept = mean, deviation, weight, intercept
        self.present = present
        self.num_classes = num_classes

    def predict(self, x: Tensor) -> Tensor:
        """Map features ``(N, F)`` to class probabilities ``(N, K)``; zero for a class without a training sample."""
        return self.log_proba(x).exp()

    def log_proba(self, x: Tensor) -> Tensor:
        """Return log probabilities, which can represent very small probabilities; minus infinity for zero."""
        z = (x.to(self.mean) - self.mean) / self.deviation
        found = z.new_full((len(z), self.num_classes), -torch.inf)
        found[:, self.present] = (z @ self.weight.T + self.intercept).log_softmax(dim=1)
        return found.to(x.device)

    def keep(self) -> Kept:
        """Return the weights and the standardisation."""
        names = ("mean", "deviation", "weight", "intercept", "present")
        return Kept(
            tensors={name: getattr(self, name) for name in names},
            settings={"form": self.form, "num_classes": self.num_classes},
        )

    @classmethod
    def rebuild(cls, kept: Kept, context: RestoreContext) -> Self:  # noqa: ARG003  (findings have two classes)
        """Build the regression that :meth:`keep` described."""
        return cls(**kept.tensors, num_classes=int(kept.settings["num_classes"]))

    def module(self) -> nn.Module:
        """Return a linear layer that includes the standardisation, and a softmax."""
        return nn.Sequential(self.logits(), nn.Softmax(dim=1))

    def logits(self, divisor: float = 1.0) -> nn.Linear:
        """Return features to logits ``(N, K)``, divided by a number; minus infinity for a class without a sample."""
        scaled = self.weight / self.deviation
        weight = scaled.new_zeros(self.num_classes, scaled.shape[1])
        bias = scaled.new_full((self.num_classes,), -torch.inf)
        weight[self.present], bias[self.present] = scaled, self.intercept - scaled @ self.mean
        return affine(weight / divisor, bias / divisor)


class RidgeHead(Predictor):
    """One solved regression: ``weight`` (F,) on standardised features, for a number with ``middle`` and ``spread``."""

    form: ClassVar[str] = "ridge regression"
    selected: dict[str, Any]

    def __init__(
        self, mean: Tensor, deviation: Tensor, middle: Tensor, spread: Tensor, weight: Tensor, intercept: Tensor
    ) -> None:
        self.mean, self.deviation, self.middle, self.spread = mean, deviation, middle, spread
        self.weight, self.intercept = weight, intercept

    def predict(self, x: Tensor) -> Tensor:
        """Map features ``(N, F)`` to numbers ``(N, 1)``."""
        z = (x.to(self.mean) - self.mean) / self.deviation
        return ((z @ self.weight + self.intercept) * self.spread + self.middle)[:, None].to(x.device)

    def keep(self) -> Kept:
        """Return the weights and both standardisations."""
        names = ("mean", "deviation", "middle", "spread", "weight", "intercept")
        return Kept(tensors={name: getattr(self, name) for name in names}, settings={"form": self.form})

    @classmethod
    def rebuild(cls, kept: Kept, context: RestoreContext) -> Self:  # noqa: ARG003  (one output)
        """Build the regression that :meth:`keep` described."""
        return cls(**kept.tensors)

    def module(self) -> nn.Module:
        """Return a linear layer that includes both standardisations."""
        scaled = self.weight / self.deviation
        bias = (self.intercept - scaled @ self.mean) * self.spread + self.middle
        return nn.Sequential(affine((scaled * self.spread)[None], bias[None]))
