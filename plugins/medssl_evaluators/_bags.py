"""Groups of images as bags, and the network that pools them by gated attention.

n images, G groups, F features, L hidden units, O outputs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from medssl.contracts import Features, Target

__all__ = ["Bags", "Pooling"]


@dataclass(frozen=True)
class Bags:
    """The images of groups.

    Attributes:
        x: ``(n, F)``.
        place: ``(n,)`` number of each image's group, 0 to G - 1, in the order of the group's numbers.
        y: Values of the groups, as the target encodes them.
        members: Rows of each group.
    """

    x: Tensor
    place: Tensor
    y: Tensor
    members: tuple[Tensor, ...]

    @classmethod
    def of(cls, part: Features) -> Bags:
        groups = torch.arange(len(part)) if part.groups is None else part.groups
        place = torch.unique(groups, return_inverse=True)[1]
        sizes = torch.bincount(place).tolist()
        members = torch.split(torch.argsort(place, stable=True), sizes)
        value = _value_of(part.target)
        return cls(part.x.float(), place, torch.stack([value(part.y[rows]) for rows in members]), members)

    def take(self, some: Tensor) -> tuple[Tensor, Tensor]:
        """Return the images of some groups, and the position of each image's group among them."""
        chosen = [self.members[i] for i in some.tolist()]
        place = torch.repeat_interleave(torch.arange(len(chosen)), torch.tensor([len(rows) for rows in chosen]))
        return self.x[torch.cat(chosen)], place


def _value_of(target: Target) -> Callable[[Tensor], Tensor]:
    if target.kind == "findings":
        return _any_finding
    if target.kind == "quantity":
        return torch.nanmean
    return (lambda y: y.max()) if target.kind == "grades" else _one_class


def _any_finding(y: Tensor) -> Tensor:
    absent = torch.where((y == 0).all(dim=0), 0.0, torch.nan)
    return torch.where((y == 1).any(dim=0), 1.0, absent)


def _one_class(y: Tensor) -> Tensor:
    return y[0] if bool((y == y[0]).all()) else torch.full_like(y[0], -1)


class Pooling(nn.Module):
    """Gated attention and a linear layer: images ``(n, F)`` of G groups to outputs ``(G, O)``."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, features: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("deviation", torch.ones(features))
        self.tangent, self.gate = (nn.Linear(features, hidden, device="meta") for _ in range(2))
        self.weigh = nn.Linear(hidden, 1, bias=False, device="meta")
        self.head = nn.Linear(features, outputs, device="meta")
        for layer in self.children():  # so that no random number is drawn
            layer.to_empty(device="cpu")

    def drawn(self, generator: torch.Generator) -> Self:
        """Draw the attention's weights as torch does, uniformly within one over the root of the inputs; head zero."""
        with torch.no_grad():
            for values in self.head.parameters():
                values.zero_()
            for layer in (self.tangent, self.gate, self.weigh):
                for values in layer.parameters():
                    values.uniform_(-1, 1, generator=generator).div_(math.sqrt(layer.in_features))
        return self

    def standardise(self, x: Tensor) -> None:
        """Take mean and deviation of the training images."""
        deviation = x.std(dim=0, correction=0)
        self.mean, self.deviation = x.mean(dim=0), torch.where(deviation > 0, deviation, 1.0)

    def rescale(self, middle: Tensor, spread: Tensor) -> None:
        """Turn outputs that are standardised numbers into numbers of the unit."""
        with torch.no_grad():
            self.head.weight.mul_(spread)
            self.head.bias.mul_(spread).add_(middle)

    def forward(self, x: Tensor, place: Tensor, groups: int) -> Tensor:
        """Pool the images of each group, and predict it."""
        h = (x - self.mean) / self.deviation
        weights = self.attention(h, place, groups)
        z = h.new_zeros(groups, h.shape[1]).index_add(0, place, weights[:, None] * h)
        output: Tensor = self.head(z)
        return output

    def attention(self, h: Tensor, place: Tensor, groups: int) -> Tensor:
        """Return the weights of standardised images, which sum to one in each group: ``(n,)``."""
        score = self.weigh(self.tangent(h).tanh() * self.gate(h).sigmoid())[:, 0]
        top = score.new_full((groups,), -torch.inf).scatter_reduce(0, place, score.detach(), "amax")
        raised = (score - top[place]).exp()
        total = raised.new_zeros(groups).index_add(0, place, raised)
        weights: Tensor = raised / total[place]
        return weights
