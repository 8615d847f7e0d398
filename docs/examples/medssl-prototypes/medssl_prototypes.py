"""Nearest prototypes (Snell et al., NeurIPS 2017, arXiv 1703.05175, equations 1 and 2) on frozen features."""

from dataclasses import dataclass
from itertools import product
from typing import Literal

import torch
from medssl.contracts import Evaluator, Positive, Predictor
from medssl.errors import DataError
from torch.nn import functional as F


class Prototypes(Evaluator):
    @dataclass(frozen=True, kw_only=True)
    class Config:
        distances: tuple[Literal["euclidean", "cosine"], ...] = ("euclidean", "cosine")  # paper, figure 2
        temperatures: tuple[Positive, ...] = (0.03, 0.1, 0.3, 1.0)  # ours: the paper trains the scale of its features

    def fit(self, train, val):
        if not len(val):
            raise DataError(
                "the validation part is empty. The evaluator 'prototypes' chooses its distance there. "
                "Give the validation part images, or leave this evaluator out."
            )
        settings = product(self.config.distances, self.config.temperatures)
        return min((ClassMeans(train, *setting) for setting in settings), key=lambda means: means.log_loss(val))


class ClassMeans(Predictor):
    def __init__(self, train, distance, temperature):
        member = F.one_hot(train.y, train.target.outputs).float()  # (N, K)
        self.known = member.any(dim=0)  # a class may have no training image
        self.means = member.T @ train.x / member.sum(dim=0).clamp_min(1)[:, None]  # equation 1, (K, F)
        self.selected = {"distance": distance, "temperature": temperature}
        typical = self.distances(train.x)[:, self.known].mean()
        self.unit = temperature * typical.clamp_min(1e-12)

    def predict(self, x):
        logits = -self.distances(x) / self.unit
        return logits.masked_fill(~self.known, -torch.inf).softmax(dim=1)  # equation 2, (N, K)

    def distances(self, x):
        if self.selected["distance"] == "cosine":
            return 1 - F.normalize(x, dim=1) @ F.normalize(self.means, dim=1).T
        return torch.stack([(x - mean).square().sum(dim=1) for mean in self.means], dim=1)

    def log_loss(self, part):
        own = self.predict(part.x)[torch.arange(len(part)), part.y]
        return float(-own.clamp_min(1e-6).log().mean())
