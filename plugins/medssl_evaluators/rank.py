"""Number of dimensions that the test features use, with three measures.

* ``effective_rank``: exp of the entropy of the normalised singular values, RankMe (Garrido et al. 2023, arXiv
  2210.02885, equations 1 and 2). Not centred, as in the paper. Across pre-trainings of one method, it is correlated
  with accuracy.
* ``dimensions_95``: principal components that hold 95 % of the variance.
* ``alpha``: exponent of the decay of the covariance's eigenvalues, fitted as a straight line through their logarithms
  (alpha-ReQ, Agrawal et al. 2022, arXiv 2202.05808). A value near 1 is good; if it is much larger, a few directions
  have nearly all the variance.

The first measure is at most the number of test images, and the second at most one less: only compare runs with the same
split.

N samples, F features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from medssl.contracts import TARGETS, Evaluator, Features, Observation, Observer, PositiveInt
from medssl.tools import effective_rank

__all__ = ["Rank", "decay"]

_NOTHING = 1e-12  # share of the largest variance; float32 features cannot resolve less


def decay(variance: Tensor, first: int, last: int) -> float | None:
    """Fit ``variance_i ~ i ** -alpha`` by least squares of the logarithms; ``None`` with fewer than three to fit.

    Args:
        variance: Positive, descending.
        first: First value of the fit, counted from 1.
        last: Last value of the fit.
    """
    index = torch.arange(1, len(variance) + 1, dtype=variance.dtype)[first - 1 : last]
    if len(index) < 3:
        return None
    i, v = index.log(), variance[first - 1 : last].log()
    slope = ((i - i.mean()) * (v - v.mean())).sum() / (i - i.mean()).square().sum()
    return -float(slope)


class Rank(Evaluator):
    """Effective rank, principal components and spectral decay of the test features."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            fit: First and last eigenvalue of the fit of ``alpha``, counted from the largest; the range is cut at the
                number of eigenvalues.
        """

        fit: tuple[PositiveInt, PositiveInt] = (11, 500)  # Stringer et al. 2019 (Nature 571, 361), alpha-ReQ's source

    targets: ClassVar[tuple[str, ...]] = tuple(TARGETS)
    label_free = True
    config: Config

    def fit(self, train: Features, val: Features) -> Observer:  # noqa: ARG002  (nothing is learned)
        """Learn nothing."""
        return _Spectrum(self.config)


class _Spectrum(Observer):
    """Measures singular values and eigenvalues."""

    def __init__(self, config: Rank.Config) -> None:
        self.config = config

    def observe(self, x: Tensor) -> Observation:
        """Measure features ``(N, F)``; ``alpha`` is left out if there are too few samples for the fit."""
        x = x.detach().cpu().double()
        self.notes = _notes(*x.shape)
        variance = torch.linalg.svdvals(x - x.mean(dim=0)).square() / max(1, len(x) - 1)
        used = variance[variance > variance.max() * _NOTHING]  # empty if all features are equal
        share = used.cumsum(dim=0) / used.sum()
        values = {
            "effective_rank": effective_rank(x),
            "dimensions_95": float((share < 0.95).sum() + 1) if len(used) else 0.0,
        }
        if (alpha := decay(used, *self.config.fit)) is not None:
            values["alpha"] = alpha
        return Observation(values=values)


def _notes(n: int, features: int) -> tuple[str, ...]:
    if n > features:
        return ()
    return (f"With {n} test images, the rank of the {features} features cannot exceed {n}.",)
