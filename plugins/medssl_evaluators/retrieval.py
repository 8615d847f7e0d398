"""Image retrieval: ranks the training images by similarity to each test image, without training.

The similarity is the cosine of the angle between frozen features, as in nearest-neighbour evaluation (Wu et al. 2018,
arXiv 1805.01978, section 3.4). The core computes mean average precision and recall at 1, 5 and 10; an image is relevant
if it has the query's class. The result shows how well a search for similar cases would work.

N queries, M training samples, F features.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from medssl.contracts import Evaluator, Features, Ranker

__all__ = ["Retrieval"]


class Retrieval(Evaluator):
    """Ranks training images by cosine similarity."""

    def fit(self, train: Features, val: Features) -> Ranker:  # noqa: ARG002  (nothing is chosen)
        """Keep the training part."""
        return _Gallery(train.x)


class _Gallery(Ranker):
    """The training part's directions, ``(M, F)``."""

    def __init__(self, x: Tensor) -> None:
        self.x = F.normalize(x.float(), dim=1)

    def rank(self, x: Tensor) -> Tensor:
        """Map features ``(N, F)`` to positions ``(N, M)``, the most similar first; in a tie, the earlier one."""
        similarity = F.normalize(x.to(self.x), dim=1) @ self.x.T
        return similarity.argsort(dim=1, descending=True, stable=True)
