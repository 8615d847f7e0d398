"""Gaussian noise, independent in each pixel.

A view takes its noise from one shared list of normal numbers, from its own start position. This only costs a copy, two
views hardly ever get the same numbers, and the noise does not depend on the device.

Shapes in this file: M views, C channels, S side of a view.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from medssl.contracts import Augmentation
from medssl.data.views.operation import Floats, Ints, Operation, Parameters, Piece, Scene, change_some, send, take
from medssl.data.views.ops.symmetry import turn_each
from medssl.data.views.pixels import to_device

__all__ = ["Noise", "list_of_noise"]

_STARTS = 2**20  # possible start positions in the list


@dataclass(frozen=True)
class Noise(Operation):
    """Draws ``noise``: ``(M,)`` standard deviations, 0 for none; ``noise_start``: the start position in the list.

    Attributes:
        probability: Of noise.
        low: Smallest standard deviation, as a fraction of the full range.
        high: Largest one.
        numbers: See :func:`list_of_noise`.
    """

    fields = ("noise", "noise_sigma")
    switch = "noise"
    columns = slice(49, 52)

    probability: float
    low: float
    high: float
    numbers: Tensor

    @classmethod
    def of(cls, augmentation: Augmentation, scene: Scene) -> Self | None:
        """Read it from a recipe; all groups of views share one list of numbers."""
        if augmentation.noise == 0:
            return None
        if "noise" not in scene.shared:
            scene.shared["noise"] = list_of_noise(scene.seed, scene.largest, scene.pixels.device)
        return cls(augmentation.noise, *augmentation.noise_sigma, scene.shared["noise"])

    def draw(self, u: Floats, places: Ints) -> Parameters:
        """Draw standard deviations and start positions."""
        sigma = np.where(u[0] < self.probability, self.low + u[1] * (self.high - self.low), 0.0)
        return {"noise": sigma, "noise_start": (u[2] * _STARTS).astype(np.int64)}

    def apply(self, x: Tensor, piece: Piece) -> Tensor:
        """Add noise and clip to [0, 1]."""
        sigma, start = piece.parameters["noise"], piece.parameters["noise_start"]

        def add(some: Tensor, rows: Ints) -> Tensor:
            begin = to_device(start[rows], x.device)
            chosen = self.numbers.unfold(0, some[0].numel(), 1).index_select(0, begin).view(some.shape)
            if piece.oriented:  # the noise is turned like the view, so the order of the steps does not matter
                chosen = turn_each(chosen, take(piece.parameters, rows))
            return some.addcmul_(chosen, send(sigma[rows, None, None, None], some)).clamp_(0, 1)

        return change_some(x, sigma > 0, add)


def list_of_noise(seed: int, side: int, device: torch.device) -> Tensor:
    """Draw the list of standard normal numbers for the noise of all views.

    Args:
        seed: Of the run.
        side: Largest S.
        device: Where views are made.
    """
    generator = torch.Generator().manual_seed(seed % 2**63)
    return torch.randn(_STARTS + 3 * side * side, generator=generator).to(device)
