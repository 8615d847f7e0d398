"""Solves many L2-regularised multinomial logistic regressions on the same features together.

It uses Newton's method and solves the linear systems by preconditioned conjugate gradients (truncated Newton: Nocedal &
Wright 2006, ch. 7). It is fast for a whole grid of penalties because:

* every product with the features is one matrix product for all heads together;
* the features are rotated once to their principal axes, where Böhning's bound on the Hessian, half the covariance
  (Ann. Inst. Stat. Math. 44, 1992), is diagonal: one preconditioner serves every penalty. On the features of an
  untrained ResNet, whose variances span six orders of magnitude, it saves three in four products;
* a head that has converged leaves the batch.

With many classes, Böhning's bound is far too large: half the covariance for each class, where the mean of p (1 - p) is
about 1 / K. The preconditioner of each class then has this mean instead of the half. The heads are solved one after
another, from the largest penalty on, and each starts at the solution before: a batch of them would take gigabytes, and
the matrix product of one head already fills a processor.

Legend: n samples, F features, R principal axes plus one column for the intercept, K classes, S heads (penalties).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["fit_logistic"]

_NEWTON_STEPS = 50  # ten are usual; the bound is only reached if float32 cannot resolve the problem
_CG_STEPS = 100
_MANY = 20  # classes; with more, heads are solved one after another
_TOLERANCE = 1e-3  # a head has converged if a full Newton step changes each training probability by at most this


def fit_logistic(
    x: Tensor, label: Tensor, num_classes: int, penalties: Tensor, weights: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Minimise ``mean cross-entropy + penalty / 2 * |weights|^2`` for each penalty; the intercept is not penalised.

    The optimum does not depend on a starting point or a learning rate: so there are no settings to tune and no seed.

    Args:
        x: ``(n, F)`` float32, columns of mean zero (standardised features).
        label: ``(n,)`` int64 in ``0 .. num_classes - 1``, each class present at least once.
        num_classes: K, at least two.
        penalties: ``(S,)`` float32, positive.
        weights: ``(n,)`` float32, weights of the samples in the mean cross-entropy; ``None``: all one.

    Returns:
        Weights ``(S, K, F)`` and intercepts ``(S, K)``, float32.
    """
    root = None if weights is None else weights.sqrt()[:, None]
    axes, variance = _principal_axes(x if root is None else x * root)  # (F, R - 1), (R - 1,)
    design = torch.cat([x @ axes, x.new_ones(len(x), 1)], dim=1)  # (n, R)
    curvature = torch.cat([variance, variance.new_ones(1)])  # (R,)
    target = F.one_hot(label, num_classes).to(x.dtype).T.contiguous()  # (K, n)

    data = _Data(design, target, weights)
    penalties = penalties.to(x.dtype)
    solution = design.new_zeros(len(penalties), num_classes, design.shape[1])
    if num_classes <= _MANY:
        _minimise(data, curvature, _start(penalties, num_classes, design), solution)
    else:
        heads = _start(penalties[:1], num_classes, design)
        for at in penalties.argsort(descending=True).tolist():
            penalty = penalties[at] * (heads.penalty != 0)
            heads = _minimise(data, curvature, heads._replace(which=heads.which * 0 + at, penalty=penalty), solution)
    return solution[..., :-1] @ axes.T, solution[..., -1]


def _minimise(data: _Data, curvature: Tensor, heads: _Heads, solution: Tensor) -> _Heads:
    """Write the optimum of each head to its place in the solution ``(S, K, R)``; return the heads that were last."""
    for _ in range(_NEWTON_STEPS):
        heads, done = _newton_step(data, curvature, heads)
        solution[heads.which] = heads.weight
        if bool(done.all()):
            break
        if bool(done.any()):
            heads = _Heads(*(tensor[~done] for tensor in heads))
    return heads


def _principal_axes(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return an orthonormal basis of the features' span, and the mean square along each axis."""
    n, features = x.shape
    span = torch.linalg.qr(x.T).Q if n < features else None  # (F, n): the weights have no part outside it
    z = x if span is None else x @ span
    variance, vectors = torch.linalg.eigh(z.T @ z / n)
    return (vectors if span is None else span @ vectors), variance.clamp_min(0)


class _Data(NamedTuple):
    """The training part."""

    design: Tensor  # (n, R)
    target: Tensor  # (K, n)
    weights: Tensor | None  # (n,)

    def mean_product(self, slopes: Tensor) -> Tensor:
        """Multiply slopes ``(S, K, n)``, which are overwritten, with the design, and average over samples."""
        slopes.div_(len(self.design))
        return (slopes if self.weights is None else slopes.mul_(self.weights)) @ self.design


class _Heads(NamedTuple):
    """The heads that have not converged."""

    which: Tensor  # (S,) position in the caller's order
    penalty: Tensor  # (S, 1, R), zero for the intercept
    weight: Tensor  # (S, K, R)
    logits: Tensor  # (S, K, n)


def _start(penalties: Tensor, num_classes: int, design: Tensor) -> _Heads:
    (n, columns), s = design.shape, len(penalties)
    penalty = penalties[:, None, None].repeat(1, 1, columns)
    penalty[..., -1] = 0
    which = torch.arange(s, device=design.device)
    return _Heads(which, penalty, design.new_zeros(s, num_classes, columns), design.new_zeros(s, num_classes, n))


def _newton_step(data: _Data, curvature: Tensor, heads: _Heads) -> tuple[_Heads, Tensor]:
    """Take one step; also return which heads have converged, ``(S,)`` bool."""
    proba = heads.logits.softmax(dim=1)
    gradient = data.mean_product(proba - data.target) + heads.penalty * heads.weight
    inverse = 1 / (_share(data, proba) * curvature + heads.penalty)
    step, logits_step = _solve(data, proba, gradient, heads.penalty, inverse)
    length = _step_length(data, heads, step, logits_step, slope=_dot(gradient, step))
    heads = heads._replace(weight=heads.weight + length * step, logits=heads.logits + length * logits_step)
    moved = (heads.logits.softmax(dim=1) - proba).abs().amax(dim=(1, 2))
    return heads, moved <= _TOLERANCE * length.flatten()


def _share(data: _Data, proba: Tensor) -> float | Tensor:
    """Return the curvature's share of the covariance: Böhning's bound, or ``(S, K, 1)`` of each class."""
    if proba.shape[1] <= _MANY:
        return 0.5
    spread = proba - proba.square()
    spread = spread if data.weights is None else spread.mul_(data.weights)
    return spread.mean(dim=2, keepdim=True).clamp_min(1e-8)


class _Systems(NamedTuple):
    """The unfinished linear systems, one per head: ``Hessian @ step = -gradient``."""

    which: Tensor  # (S,)
    proba: Tensor  # (S, K, n)
    penalty: Tensor  # (S, 1, R)
    inverse: Tensor  # (S, 1, R) or (S, K, R), the preconditioner
    goal: Tensor  # (S, 1, 1), the energy to come down to
    energy: Tensor  # (S, 1, 1), the residual's squared length in the preconditioner's metric
    residual: Tensor  # (S, K, R)
    direction: Tensor  # (S, K, R)
    step: Tensor  # (S, K, R), the solution so far
    logits_step: Tensor  # (S, K, n), its effect on the logits


def _solve(data: _Data, proba: Tensor, gradient: Tensor, penalty: Tensor, inverse: Tensor) -> tuple[Tensor, Tensor]:
    """Solve for each head's Newton step by conjugate gradients; also return the step's effect on the logits."""
    step, logits_step = torch.zeros_like(gradient), torch.zeros_like(proba)
    direction = -inverse * gradient
    energy = -_dot(gradient, direction)
    # a rough direction is enough far from the solution; near it, precision helps (Nocedal & Wright, eq. 7.3)
    goal = energy * energy.sqrt().clamp(0.003, 0.25)
    which = torch.arange(len(proba), device=proba.device)
    work = _Systems(
        which, proba, penalty, inverse, goal, energy, -gradient, direction, step.clone(), logits_step.clone()
    )
    for _ in range(_CG_STEPS):
        work = _cg_step(data, work)
        live = (work.energy > work.goal).flatten()
        if 2 * int(live.sum()) <= len(live):
            step[work.which], logits_step[work.which] = work.step, work.logits_step
            work = _Systems(*(tensor[live] for tensor in work))
        if not len(work.which):
            break
    step[work.which], logits_step[work.which] = work.step, work.logits_step
    return step, logits_step


def _cg_step(data: _Data, work: _Systems) -> _Systems:
    """One step of preconditioned conjugate gradients; a system that has reached its goal does not change."""
    live = work.energy > work.goal
    effect = work.direction @ data.design.T  # (S, K, n)
    weighted = work.proba * effect
    weighted.sub_(work.proba * weighted.sum(dim=1, keepdim=True))
    curved = data.mean_product(weighted) + work.penalty * work.direction  # the Hessian times the direction
    rate = torch.where(live, work.energy / _dot(work.direction, curved), 0.0)
    work.step.add_(rate * work.direction)
    work.logits_step.add_(effect.mul_(rate))
    residual = work.residual - rate * curved
    scaled = work.inverse * residual
    energy = _dot(residual, scaled)
    direction = scaled + torch.where(live, energy / work.energy, 0.0) * work.direction
    return work._replace(energy=energy, residual=residual, direction=direction)


def _step_length(data: _Data, heads: _Heads, step: Tensor, logits_step: Tensor, slope: Tensor) -> Tensor:
    """Halve each head's step until its objective falls enough (Armijo); ``(S, 1, 1)``.

    The logits are linear in the weights, so a trial costs no product with the features.
    """
    length = torch.ones_like(slope)
    start = _objective(data, heads.penalty, heads.weight, heads.logits)
    slack = 1e-6 * start.abs()  # differences that float32 cannot resolve
    for _ in range(20):
        reached = _objective(data, heads.penalty, heads.weight + length * step, heads.logits + length * logits_step)
        short = reached > start + 1e-4 * length * slope + slack
        if not bool(short.any()):
            break
        length = torch.where(short, length / 2, length)
    return length


def _objective(data: _Data, penalty: Tensor, weight: Tensor, logits: Tensor) -> Tensor:
    losses = logits.log_softmax(dim=1) * data.target
    losses = losses if data.weights is None else losses * data.weights
    mean = -losses.sum(dim=(1, 2), keepdim=True) / data.target.shape[1]
    return mean + 0.5 * (penalty * weight.square()).sum(dim=(1, 2), keepdim=True)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Inner product of each head: ``(S, K, R)`` twice to ``(S, 1, 1)``."""
    return (a * b).sum(dim=(1, 2), keepdim=True)
