"""t-SNE: a two-dimensional map of the test features, in which near points are similar.

Van der Maaten and Hinton, Visualizing Data using t-SNE, JMLR 9, 2008, with scikit-learn's ``TSNE``, as in figure 4 of
the ICIP 2023 study. Features are scaled to unit length, so that similarity is the cosine, and reduced to 50 principal
components. The map starts from the first two (Kobak & Linderman 2021, Nature Biotechnology 39: random starts lose the
global structure), with the learning rate of Belkina et al. 2019 (scikit-learn's ``auto``).

A map is only for visual inspection. Distances between far groups, their sizes and their gaps have little meaning, and a
map is not a score.

N test images.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from sklearn import manifold
from torch import Tensor

from medssl.contracts import TARGETS, Evaluator, Features, Observation, Observer, Positive
from medssl_evaluators._map import principal_axes

__all__ = ["TSNE"]

_COMPONENTS = 50  # as in the authors' implementations; 30 in section 4.2 of the paper
_START = 1e-4  # standard deviation of the starting positions (van der Maaten & Hinton 2008, section 3.4)


class TSNE(Evaluator):
    """Map of the test features by t-SNE, as ``tsne_xy`` (N, 2) in ``diagnostics.npz``."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            perplexity: Approximate number of neighbours of a point; at most a third of the other points.
        """

        perplexity: Positive = 30.0  # scikit-learn's default; 5 to 50 in section 3.2 of the paper

    targets: ClassVar[tuple[str, ...]] = tuple(TARGETS)
    label_free = True
    config: Config

    def fit(self, train: Features, val: Features) -> Observer:  # noqa: ARG002  (the map is of the test part alone)
        """Learn nothing."""
        return _Map(self.config.perplexity, self.seed)


class _Map(Observer):
    """Draws the map."""

    def __init__(self, perplexity: float, seed: int) -> None:
        self.perplexity = perplexity
        self.seed = seed

    def observe(self, x: Tensor) -> Observation:
        """Map features ``(N, F)`` to ``xy`` (N, 2) float32; with fewer than five points, the principal axes."""
        axes = principal_axes(x, _COMPONENTS)
        start = axes[:, :2]
        spread = start[:, 0].std()
        if len(x) < 5 or spread == 0:
            self.notes = ("There are too few test images, or all are equal: the map shows their principal components.",)
            return Observation(arrays={"xy": start})
        perplexity = min(self.perplexity, (len(x) - 1) / 3)
        tsne: Any = manifold.TSNE
        method = tsne(perplexity=perplexity, init=start / spread * _START, random_state=self.seed % 2**32)
        xy = np.asarray(method.fit_transform(axes), dtype=np.float32)
        return Observation(
            values={"perplexity": perplexity, "kl_divergence": float(method.kl_divergence_)}, arrays={"xy": xy}
        )
