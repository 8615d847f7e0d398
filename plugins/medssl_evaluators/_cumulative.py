"""Solves L2-regularised cumulative-link logistic regressions: the proportional-odds model of ordered classes.

``P(grade <= k) = sigmoid(threshold[k] - w x)``: one direction for all grades, and a threshold between each two
neighbours (McCullagh, Journal of the Royal Statistical Society B 42, 1980). The log-likelihood is concave (Pratt,
Journal of the American Statistical Association 76, 1981), so each penalty has one optimum. It is found by L-BFGS in
float64, on the principal axes of the features, each scaled by the bound of its curvature.

N samples, F features, R principal axes, K grades, S penalties.
"""

from __future__ import annotations

from typing import Any, ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medssl.contracts import Kept, Predictor, RestoreContext
from medssl_evaluators._keeping import affine

__all__ = ["CumulativeHead", "fit_cumulative"]

_STEPS = 500  # of L-BFGS; 20 to 100 are usual
_GRADIENT = 1e-7  # largest entry of the gradient of the mean loss at the optimum, in scaled coordinates


def fit_cumulative(
    x: Tensor, grade: Tensor, num_grades: int, penalties: Tensor, weights: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Minimise ``mean negative log-likelihood + penalty / 2 * |w|^2`` for each penalty; thresholds are not penalised.

    Args:
        x: ``(N, F)``, columns of mean zero (standardised features).
        grade: ``(N,)`` int64 in ``0 .. K - 1``, each grade present at least once.
        num_grades: K, at least two.
        penalties: ``(S,)``, positive.
        weights: ``(N,)`` weights of the samples; ``None``: all one.

    Returns:
        Weights ``(S, F)`` and thresholds ``(S, K - 1)``, ascending, float64.
    """
    x = x.double()
    share = x.new_ones(len(x)) if weights is None else weights.double()
    span = torch.linalg.qr(x.T).Q if len(x) < x.shape[1] else None  # (F, N): the weights have no part outside it
    z = x if span is None else x @ span
    variance, axes = torch.linalg.eigh(z.T @ z / len(z))
    axes = axes if span is None else span @ axes
    z = x @ axes
    below = torch.stack([share[grade <= k].sum() / share.sum() for k in range(num_grades - 1)])
    thresholds = below.logit()
    found, direction = [], z.new_zeros(z.shape[1])
    for penalty in penalties.double().tolist():
        scale = (variance.clamp_min(0) / 4 + penalty).sqrt()  # a logistic density is at most 1/4
        direction, thresholds = _solve(z / scale, grade, share, penalty / scale.square(), direction * scale, thresholds)
        direction = direction / scale
        found.append((axes @ direction, thresholds))
    return torch.stack([each for each, _ in found]), torch.stack([each for _, each in found])


def _solve(
    z: Tensor, grade: Tensor, share: Tensor, penalty: Tensor, direction: Tensor, thresholds: Tensor
) -> tuple[Tensor, Tensor]:
    """Solve one problem from a starting point; the thresholds are a first one and the logarithms of the gaps."""
    count = len(thresholds)
    free = torch.cat([direction, thresholds[:1], thresholds.diff().log()]).requires_grad_()
    optimizer = torch.optim.LBFGS(
        [free],
        max_iter=_STEPS,
        max_eval=2 * _STEPS,
        tolerance_grad=_GRADIENT,
        tolerance_change=1e-14,
        history_size=20,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Any:
        optimizer.zero_grad()
        w, cuts = free[:-count], _ascending(free[-count:])
        likelihood = (cumulative_log_proba(z @ w, cuts)[torch.arange(len(z)), grade] * share).mean()
        loss = 0.5 * (penalty * w.square()).sum() - likelihood
        loss.backward()
        return loss

    with torch.enable_grad():
        optimizer.step(closure)
    solved = free.detach()
    return solved[:-count], _ascending(solved[-count:])


def _ascending(values: Tensor) -> Tensor:
    """Return thresholds from a first one and the logarithms of the gaps."""
    return values[:1] + F.pad(values[1:].exp().cumsum(0), (1, 0))


def cumulative_log_proba(score: Tensor, thresholds: Tensor) -> Tensor:
    """Return log probabilities ``(N, K)`` for scores ``w x`` ``(N,)``.

    With ``a < b`` the distances to the thresholds below and above a grade, its probability is ``sigmoid(b) -
    sigmoid(a) = sigmoid(b) sigmoid(-a) (1 - exp(a - b))``; the product keeps small differences.
    """
    distance = thresholds - score[:, None]  # (N, K - 1)
    up, down = F.logsigmoid(distance), F.logsigmoid(-distance)
    gaps = torch.log(-torch.expm1(-thresholds.diff()))
    return F.pad(up, (0, 1)) + F.pad(down, (1, 0)) + F.pad(gaps, (1, 1))


class CumulativeHead(Predictor):
    """One solved regression: ``weight`` (F,) on standardised features, ``thresholds`` between the grades."""

    form: ClassVar[str] = "cumulative logistic regression"
    selected: dict[str, Any]

    def __init__(
        self, mean: Tensor, deviation: Tensor, weight: Tensor, thresholds: Tensor, present: Tensor, num_grades: int
    ) -> None:
        self.mean, self.deviation, self.weight, self.thresholds = mean, deviation, weight, thresholds
        self.present, self.num_grades = present, num_grades

    def predict(self, x: Tensor) -> Tensor:
        """Map features ``(N, F)`` to probabilities of the grades ``(N, K)``; zero for one without a training sample."""
        z = (x.to(self.mean) - self.mean) / self.deviation
        found = z.new_zeros(len(z), self.num_grades)
        found[:, self.present] = cumulative_log_proba(z @ self.weight, self.thresholds).exp()
        return found.to(x.device)

    def keep(self) -> Kept:
        """Return the weights, the thresholds and the standardisation."""
        names = ("mean", "deviation", "weight", "thresholds", "present")
        return Kept(
            tensors={name: getattr(self, name) for name in names},
            settings={"form": self.form, "num_grades": self.num_grades},
        )

    @classmethod
    def rebuild(cls, kept: Kept, context: RestoreContext) -> Self:  # noqa: ARG003  (the number of grades is kept)
        """Build the regression that :meth:`keep` described."""
        return cls(**kept.tensors, num_grades=int(kept.settings["num_grades"]))

    def module(self) -> nn.Module:
        """Return a linear layer to the cumulative logits, a sigmoid, and a linear layer that takes differences."""
        scaled = self.weight / self.deviation
        cuts = len(self.thresholds)
        logits = affine(-scaled.expand(cuts, -1), self.thresholds + scaled @ self.mean)
        differences = scaled.new_zeros(self.num_grades, cuts)
        bias = scaled.new_zeros(self.num_grades)
        for k, grade in enumerate(self.present.tolist()):
            differences[grade, k : k + 1] = 1
            differences[grade, max(k - 1, 0) : k] = -1
        bias[self.present[-1]] = 1
        return nn.Sequential(logits, nn.Sigmoid(), affine(differences, bias))
