"""The training part as a bank for exact searches of nearest neighbours.

N queries, M training samples, F features, O outputs of the target.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from medssl.contracts import Features, Kept, Target

__all__ = ["Bank"]

_CHUNK = 2**24  # similarities in memory at a time: 64 MiB, so that 100,000 queries with 100,000 samples fit


class Bank:
    """The training part, ready for a search.

    Args:
        train: Features and values of the target.
        distance: ``cosine`` or ``euclidean``, see :mod:`medssl_evaluators.knn`.
        weights: ``softmax`` or ``uniform``.
        temperature: Of the softmax.
    """

    def __init__(self, train: Features, *, distance: str, weights: str, temperature: float) -> None:
        self.weights, self.temperature = weights, temperature
        self.y = train.y
        self._count(train.target)
        self.cosine = distance == "cosine"
        # distances do not depend on the origin; near the data's middle float32 resolves them best
        self.origin = torch.zeros_like(train.x[0]) if self.cosine else train.x.mean(dim=0)
        self.x = self._prepare(train.x)  # (M, F)
        self.offset = self.x.new_zeros(len(self.x)) if self.cosine else -0.5 * self.x.square().sum(dim=1)  # (M,)

    def _count(self, target: Target) -> None:
        """Set the value of each output for each sample ``(M, O)``, whether it is known, and its frequency ``(O,)``."""
        self.outputs = target.outputs
        self.label = None if self.y.is_floating_point() else self.y
        value = self.y.view(len(self.y), -1) if self.label is None else F.one_hot(self.y, self.outputs).float()
        self.knows = ~value.isnan()
        self.value = value.nan_to_num()
        self.known = self.knows.sum(dim=0)  # (O,)
        # for a finding that is never known, 1/2: there is no evidence for either outcome
        self.frequency = (self.value.sum(dim=0) / self.known).where(self.known > 0, 0.5)  # (O,)

    def keep(self) -> Kept:
        """Return the bank as plain data, with the prepared features: prepared again, they could differ by rounding."""
        return Kept(
            tensors={"x": self.x, "y": self.y, "origin": self.origin, "offset": self.offset},
            settings={"cosine": self.cosine, "weights": self.weights, "temperature": self.temperature},
        )

    @classmethod
    def rebuild(cls, kept: Kept, target: Target) -> Self:
        """Build the bank that :meth:`keep` described."""
        bank = cls.__new__(cls)
        bank.x, bank.y, bank.origin, bank.offset = (kept.tensors[name] for name in ("x", "y", "origin", "offset"))
        bank.cosine, bank.weights = bool(kept.settings["cosine"]), str(kept.settings["weights"])
        bank.temperature = float(kept.settings["temperature"])
        bank._count(target)
        return bank

    def vote(self, x: Tensor, ks: Sequence[int]) -> Tensor:
        """Return predictions ``(len(ks), N, O)`` for ascending ``ks``."""
        rows = max(1, _CHUNK // max(len(self.x), max(ks) * self.outputs))
        parts = [self._vote(part.to(self.x.device), ks) for part in torch.split(x, rows)]
        return torch.cat(parts, dim=1).to(x.device)

    def _prepare(self, x: Tensor) -> Tensor:
        x = x.float()
        return F.normalize(x, dim=1) if self.cosine else x - self.origin

    def _vote(self, x: Tensor, ks: Sequence[int]) -> Tensor:
        # cosine: q.b; euclidean: q.b - |b|^2 / 2, which is -|q - b|^2 / 2 up to a constant of the query
        near, index = _largest(torch.addmm(self.offset, self._prepare(x), self.x.T), max(ks))  # nearest first
        weight = torch.ones_like(near)
        if self.weights == "softmax":
            weight = ((near - near[:, :1]) / self.temperature).exp()  # at most 1: a common factor cancels
        if self.label is None:
            return self._mean_of_known(index, weight, ks)
        label = self.label[index]
        votes = x.new_zeros(len(x), self.outputs)
        results, done = [], 0
        for k in ks:  # each k adds to the votes of the one before
            votes.scatter_add_(1, label[:, done:k], weight[:, done:k])
            results.append(votes / votes.sum(dim=1, keepdim=True))
            done = k
        return torch.stack(results)

    def _mean_of_known(self, index: Tensor, weight: Tensor, ks: Sequence[int]) -> Tensor:
        """Average the neighbours ``(N, k)`` by their weights, each output over those with a known value."""
        total = weight.new_zeros(len(index), self.outputs)
        mass = torch.zeros_like(total)
        results, done = [], 0
        for k in ks:
            near, own = index[:, done:k], weight[:, done:k, None]
            total = total + (own * self.value[near]).sum(dim=1)
            mass = mass + (own * self.knows[near]).sum(dim=1)
            results.append((total / mass).where(mass > 0, self.frequency))
            done = k
        return torch.stack(results)


def _largest(similarity: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return the k largest of each row ``(N, M)`` in descending order, and their columns: ``(N, k)`` each.

    On a processor, numpy's partition finds the k-th largest in a sixth of the time that torch's ``topk`` takes; the
    values above it are then sorted. If several columns have the k-th largest value, ``topk`` chooses some of them.
    """
    if similarity.device.type == "cpu":
        rows = similarity.numpy()
        threshold = np.partition(rows, rows.shape[1] - k, axis=1)[:, -k, None]
        chosen = np.flatnonzero(rows >= threshold)
        if len(chosen) == k * len(rows):
            index = torch.from_numpy(chosen.reshape(-1, k) % rows.shape[1])
            near, order = torch.from_numpy(rows.reshape(-1)[chosen].reshape(-1, k)).sort(dim=1, descending=True)
            return near, index.gather(1, order)
    near, index = similarity.topk(k, dim=1)
    return near, index
