"""UMAP: a two-dimensional map of the test features; faster than t-SNE on many images, with better large distances.

McInnes, Healy and Melville, UMAP: Uniform Manifold Approximation and Projection, 2018, arXiv 1802.03426, through the
package ``umap-learn``, which is not installed with medssl: ``pip install medssl[umap]``. Features are scaled to unit
length and reduced to 50 principal components, as for ``tsne``.

A map is only for visual inspection. Distances between far groups, their sizes and their gaps have little meaning, and a
map is not a score.

N test images.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Annotated, Any, ClassVar

import numpy as np
from annotated_types import Ge
from torch import Tensor

from medssl.contracts import TARGETS, Evaluator, Features, Fraction, Observation, Observer
from medssl.errors import PluginError
from medssl_evaluators._map import principal_axes

__all__ = ["UMAP"]

_COMPONENTS = 50  # as for tsne


class UMAP(Evaluator):
    """Map of the test features by UMAP, as ``umap_xy`` (N, 2) in ``diagnostics.npz``."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            neighbours: Number of neighbours of a point; at most all others.
            min_dist: Minimum distance of two points on the map, in units of the size of a neighbourhood.
        """

        neighbours: Annotated[int, Ge(2)] = 15  # umap-learn
        min_dist: Fraction = 0.1  # umap-learn

    targets: ClassVar[tuple[str, ...]] = tuple(TARGETS)
    label_free = True
    config: Config

    def fit(self, train: Features, val: Features) -> Observer:  # noqa: ARG002  (the map is of the test part alone)
        """Check that umap-learn is installed.

        Raises:
            PluginError: It is not installed, or cannot be imported.
        """
        try:
            package = import_module("umap")
        except ImportError as error:
            raise PluginError(
                f"the evaluator 'umap' needs the package umap-learn. {error}. Install it with `pip install "
                "medssl[umap]` and run the same command again, or use the evaluator 'tsne'."
            ) from error
        return _Map(package, self.config, self.seed)


class _Map(Observer):
    """Draws the map."""

    def __init__(self, package: Any, config: UMAP.Config, seed: int) -> None:
        self.package = package
        self.config = config
        self.seed = seed

    def observe(self, x: Tensor) -> Observation:
        """Map features ``(N, F)`` to ``xy`` (N, 2) float32; with fewer than five points, the principal axes."""
        axes = principal_axes(x, _COMPONENTS)
        if len(x) < 5 or axes[:, 0].std() == 0:
            self.notes = ("There are too few test images, or all are equal: the map shows their principal components.",)
            return Observation(arrays={"xy": axes[:, :2]})
        neighbours = min(self.config.neighbours, len(x) - 1)
        method = self.package.UMAP(
            n_neighbors=neighbours,
            min_dist=self.config.min_dist,
            init=axes[:, :2] / axes[:, 0].std(),
            random_state=self.seed % 2**32,
            n_jobs=1,  # with a seed it uses one thread, and warns for other values
        )
        xy = np.asarray(method.fit_transform(axes), dtype=np.float32)
        return Observation(values={"neighbours": float(neighbours)}, arrays={"xy": xy})
