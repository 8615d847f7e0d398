"""How well measurements of images tell their site: the other half of the confounding check.

If the features of a frozen encoder tell the hospital or scanner, and the hospital goes with the target, a model can
score well without looking at the disease (Howard et al. 2021, Nat. Commun. 12, 4423, find the site in the features of
most models of histology). A classifier by ridge regression on one column per site predicts the site of each image in
folds of whole groups. Its balanced accuracy is compared with chance: the sites are permuted among the groups, and the
same folds are predicted again. With few groups the interval of chance is wide, and little can be said.

n images, F measurements, G groups, S sites, P permutations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medssl.contracts import Sample
from medssl.data.split.protocols import group_key
from medssl.results.sections import CONFOUNDING

__all__ = ["SiteSignal", "find_site_signal"]

Array = NDArray[Any]

_MOST = 2_000  # images; ours: the kernel then has 32 MB and is solved in a second
_FOLDS, _PERMUTATIONS, _SEED = 5, 200, 0  # 200: the ends of a 95 % interval are the fifth values from outside
_LEAST = 2  # groups of a site, so that it can be in two folds


@dataclass(frozen=True)
class SiteSignal:
    """How well the site is predicted.

    Attributes:
        value: Balanced accuracy over the sites, in images of other groups.
        chance_low: Lower end of the interval that holds 95 % of the permutations.
        chance_high: Upper end.
        sites: S, the sites of at least two groups.
        groups: G, their groups.
        permutations: P.
    """

    value: float
    chance_low: float
    chance_high: float
    sites: int
    groups: int
    permutations: int = _PERMUTATIONS

    @property
    def above_chance(self) -> bool:
        """Whether it is outside the interval of chance."""
        return self.value > self.chance_high

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)

    def sentence(self, measured: str, stratum: str) -> str:
        """Warn of it.

        Args:
            measured: What predicts the site, in the plural: ``frozen features``.
            stratum: The word for a class.
        """
        return (
            f"{CONFOUNDING}{measured} tell the site (balanced accuracy {self.value:.2f} for {self.sites} sites; chance "
            f"{self.chance_low:.2f} to {self.chance_high:.2f} over {self.groups} groups). Where site and {stratum} go "
            f"together, a model can use the site instead of the {stratum}"
        )


def find_site_signal(x: Array, samples: Sequence[Sample]) -> SiteSignal | None:
    """Measure it.

    Args:
        x: ``(n, F)``.
        samples: The n images.

    Returns:
        ``None`` if fewer than two sites have two groups.
    """
    units = [f"{sample.site}\0{group_key(sample)}" if sample.site else "" for sample in samples]
    groups_of: dict[str, set[str]] = {}
    for sample, unit in zip(samples, units, strict=True):
        if sample.site:
            groups_of.setdefault(sample.site, set()).add(unit)
    good = {site for site, groups in groups_of.items() if len(groups) >= _LEAST}
    kept = np.array([i for i, sample in enumerate(samples) if sample.site in good], dtype=np.int64)
    if len(good) < 2:
        return None
    if len(kept) > _MOST:
        kept = np.sort(np.random.default_rng(_SEED).permutation(kept)[:_MOST])
    names, site_of = np.unique([samples[i].site or "" for i in kept], return_inverse=True)
    groups, place = np.unique([units[i] for i in kept], return_inverse=True)
    first = np.unique(place, return_index=True)[1]
    own = site_of[first]  # (G,) the site of each group
    draw = np.random.default_rng(_SEED)
    sites = np.stack([own, *(draw.permutation(own) for _ in range(_PERMUTATIONS))])[:, place]  # (1 + P, n)
    guess = _cross_validated(x[kept], sites, _folds(own, draw)[place], len(names))
    scores = _balanced(sites, guess, len(names))
    low, high = np.quantile(scores[1:], (0.025, 0.975))
    return SiteSignal(float(scores[0]), float(low), float(high), len(names), len(groups))


def _folds(own: Array, draw: np.random.Generator) -> Array:
    """Deal groups into folds, site by site, in a random order: ``(G,)``."""
    order = draw.permutation(len(own))
    fold = np.empty(len(own), dtype=np.int64)
    fold[order[np.argsort(own[order], kind="stable")]] = np.arange(len(own)) % _FOLDS
    return fold


def _cross_validated(x: Array, sites: Array, fold: Array, count: int) -> Array:
    """Predict the site of each image from other folds, for each assignment of sites: ``(1 + P, n)``.

    Every assignment has the same kernel, so one solution per fold serves all. Each site has the same weight in its
    column, whatever its size: the targets are divided by the site's images. The penalty is the mean eigenvalue.
    """
    deviation = x.std(axis=0)
    z = (x[:, deviation > 0] - x[:, deviation > 0].mean(axis=0)) / deviation[deviation > 0]
    kernel = (z @ z.T).astype(np.float64) / max(1, z.shape[1])  # mean of the diagonal: 1
    guess = np.zeros(sites.shape, dtype=np.int64)
    for each in range(_FOLDS):
        train, test = np.flatnonzero(fold != each), np.flatnonzero(fold == each)
        if not len(test) or not len(train):
            continue
        inner = kernel[np.ix_(train, train)] + np.eye(len(train)) * max(np.trace(kernel) / len(kernel), 1e-9)
        weights = np.linalg.solve(inner, kernel[np.ix_(train, test)]).T  # (test, train)
        ones = np.eye(count)[sites[:, train]]  # (1 + P, train, S)
        shares = ones / np.maximum(ones.sum(axis=1, keepdims=True), 1)
        centred = shares - shares.mean(axis=1, keepdims=True)
        guess[:, test] = np.einsum("te,pes->pts", weights, centred, optimize=True).argmax(axis=2)
    return guess


def _balanced(sites: Array, guess: Array, count: int) -> Array:
    """Return the mean recall of the sites for each assignment: ``(1 + P,)``."""
    right = sites == guess
    recalls = [
        np.where(sites == site, right, False).sum(axis=1) / np.maximum((sites == site).sum(axis=1), 1)
        for site in range(count)
    ]
    return np.asarray(np.mean(recalls, axis=0))
