"""How far an image is from the training images, compared with how far these are from each other.

The distance of an image is the cosine distance of its features to the k-th nearest training image (Sun et al. 2022,
Out-of-distribution Detection with Deep Nearest Neighbors, ICML, arXiv 2204.06507, section 3). Each training image has
the same distance to the training images of other groups (patients): two images of one patient are alike, and would make
the training part look denser than it is for a new patient. An image is flagged as unlike the training data if at most a
given share of the training images is as far away.

M training images, n new images, F features.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from medssl.results.arrays import PartFeatures

__all__ = ["Likeness"]

_NEIGHBOUR = 10  # ours: one neighbour may be an odd image; measured in docs/how-to/predict-on-new-images.md
_SHARE = 0.05  # Sun et al. 2022, section 4: the threshold accepts 95 % of ordinary images
_MOST = 5000  # training images whose own distance is measured; more take long and change the threshold little
_ROWS = 1024  # images per matrix product


@dataclass(frozen=True, kw_only=True, eq=False)
class Likeness:
    """The training images as a reference.

    Attributes:
        ids: M ids of the training images, as in the result.
        x: ``(M, F)`` float32, features of unit length.
        k: The neighbour whose distance counts, from 1.
        own: Distances of training images to those of other groups, ascending.
        share: An image is flagged if at most this share of training images is as far away.
    """

    ids: tuple[str, ...]
    x: NDArray[np.float32]
    k: int
    own: NDArray[np.float32]
    share: float = _SHARE

    @classmethod
    def of(cls, train: PartFeatures, groups: Mapping[str, str]) -> Self:
        """Measure the training part.

        Args:
            train: Its features.
            groups: The group of each image that has one.
        """
        x = _unit(train.x)
        names = [groups.get(name, f"\0{name}") for name in train.ids]
        number = np.unique(np.array(names, dtype=str), return_inverse=True)[1].reshape(-1)
        k = max(1, min(_NEIGHBOUR, len(x) - int(np.bincount(number).max())))
        chosen = np.sort(np.random.default_rng(0).permutation(len(x))[:_MOST])
        own = [np.empty(0, np.float32)]
        for rows in np.array_split(chosen, max(1, len(chosen) // _ROWS)):
            distance = 1 - x[rows] @ x.T
            distance[number[rows][:, None] == number[None]] = np.inf
            nearest = np.partition(distance, k - 1, axis=1)[:, k - 1]
            own.append(nearest[np.isfinite(nearest)])
        return cls(ids=train.ids, x=x, k=k, own=np.sort(np.concatenate(own)))

    @property
    def threshold(self) -> float:
        """The distance from which on an image is flagged; infinity if the training part is too small for it."""
        allowed = int(self.share * (len(self.own) + 1))  # training images that may be as far away
        return float(self.own[-allowed]) if allowed else float("inf")

    def distances(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the distance ``(n,)`` of images to their k-th nearest training image.

        Args:
            x: ``(n, F)`` features.
        """
        if not len(x):
            return np.empty(0, np.float32)
        parts = np.array_split(_unit(x), max(1, len(x) // _ROWS))
        return np.concatenate([np.partition(1 - part @ self.x.T, self.k - 1, axis=1)[:, self.k - 1] for part in parts])

    def shares_beyond(self, distance: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return for each distance ``(n,)`` the share of the training images that is as far away or further."""
        return np.asarray(1 - np.searchsorted(self.own, distance, side="left") / max(1, len(self.own)))

    def nearest(self, x: NDArray[np.float32], count: int) -> NDArray[np.int64]:
        """Return the positions ``(n, count)`` of the nearest training images, the nearest first.

        Args:
            x: ``(n, F)`` features.
            count: At most M.
        """
        parts = np.array_split(_unit(x), max(1, len(x) // _ROWS))
        found = [np.argsort(-(part @ self.x.T), axis=1, kind="stable")[:, :count] for part in parts]
        return np.concatenate(found)


def _unit(x: NDArray[np.float32]) -> NDArray[np.float32]:
    length = np.linalg.norm(x, axis=1, keepdims=True)
    return np.asarray(x / np.where(length > 0, length, 1), np.float32)
