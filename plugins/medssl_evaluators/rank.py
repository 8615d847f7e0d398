"""How many dimensions the test features use: three answers to one question.

* ``effective_rank``: exp of the entropy of the normalised singular values, RankMe (Garrido et al. 2023, arXiv
  2210.02885, equations 1 and 2). Not centred, as there. Across pre-trainings of one method it goes with accuracy.
* ``dimensions_95``: principal components that hold 95 % of the variance.
* ``alpha``: exponent of the decay of the covariance's eigenvalues, fitted as a straight line through their logarithms
  (alpha-ReQ, Agrawal et al. 2022, arXiv 2202.05808). Near 1 is well; far above it, a few directions hold everything.

The first is at most the number of test images, the second one less: compare runs of one split only.

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

_NOTHING = 1e-12  # of the largest variance: float32 features resolve no less


def decay(variance: Tensor, first: int, last: int) -> float | None:
    """Fit ``variance_i ~ i ** -alpha`` by least squares of the logarithms; ``None`` with fewer than three to fit.

    Args:
        variance: Positive, descending.
        first: From which one, counted from 1.
        last: To which one.
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
            fit: First and last eigenvalue of the fit of ``alpha``, counted from the largest; as far as there are any.
        """

        fit: tuple[PositiveInt, PositiveInt] = (11, 500)  # Stringer et al. 2019 (Nature 571, 361), alpha-ReQ's source

    targets: ClassVar[tuple[str, ...]] = tuple(TARGETS)
    config: Config

    def fit(self, train: Features, val: Features) -> Observer:  # noqa: ARG002  (nothing is learned)
        """Learn nothing."""
        return _Spectrum(self.config)


class _Spectrum(Observer):
    """Looks at singular values and eigenvalues."""

    def __init__(self, config: Rank.Config) -> None:
        self.config = config

    def observe(self, x: Tensor) -> Observation:
        """Measure features ``(N, F)``; ``alpha`` is left out where there are too few samples to fit it."""
        x = x.detach().cpu().double()
        self.notes = _notes(*x.shape)
        variance = torch.linalg.svdvals(x - x.mean(dim=0)).square() / max(1, len(x) - 1)
        used = variance[variance > variance.max() * _NOTHING]  # none where all features are equal
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
    return (f"With {n} test images no rank of the {features} features can exceed {n}.",)
