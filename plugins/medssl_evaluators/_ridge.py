"""Ridge regressions of a number on the same features, for many penalties at once.

n samples, F features, S strengths.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["fit_ridge"]


def fit_ridge(x: Tensor, y: Tensor, penalties: Tensor) -> tuple[Tensor, Tensor]:
    """Minimise ``|y - x w - b|^2 + penalty |w|^2`` for each penalty; the intercept is not penalised.

    It uses the eigenvectors of ``x x^T`` or ``x^T x``, the smaller of the two (Hastie, Tibshirani & Friedman, The
    Elements of Statistical Learning, 2nd edition, section 3.4.1), in float64. It equals ``sklearn.linear_model.Ridge``.

    Args:
        x: ``(n, F)``, columns of mean zero.
        y: ``(n,)``.
        penalties: ``(S,)``, positive.

    Returns:
        Weights ``(S, F)`` and the intercept, a scalar that all share; float32.
    """
    design, intercept = x.double(), y.double().mean()
    rest = y.double() - intercept
    penalty = penalties.double()[:, None]
    if len(design) < design.shape[1]:
        values, vectors = torch.linalg.eigh(design @ design.T)
        weight = (vectors.T @ rest / (values + penalty)) @ vectors.T @ design
    else:
        values, vectors = torch.linalg.eigh(design.T @ design)
        weight = (vectors.T @ (design.T @ rest) / (values + penalty)) @ vectors.T
    return weight.float(), intercept.float()
