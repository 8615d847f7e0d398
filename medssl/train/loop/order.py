"""The order of the samples: which ones each step sees, and in which pass over them. It depends on the seed alone."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from medssl.train.loop.seeding import derive_seed

__all__ = ["Order", "Step"]

_LABELLED = 2**31  # first pass of the labelled samples, so that a sample that is drawn twice in a step has other views


@dataclass(frozen=True)
class Step:
    """The samples of one step.

    Attributes:
        positions: ``(N,)`` int64.
        passes: ``(N,)`` int64, the number of each one's pass, which determines its views.
    """

    positions: Tensor
    passes: Tensor


class Order:
    """The samples of every step.

    A pass over n samples takes n // N steps; the samples that do not fill a batch are left out of it. An epoch is a
    pass over all samples. If some of each batch are drawn from the labelled samples, these have passes of their own,
    shorter than an epoch.

    Args:
        samples: n, how many there are.
        batch_size: N.
        seed: Of the run.
        labelled: ``(m,)`` int64, the positions of the samples with a known label.
        share: Share of a batch that is drawn from them; the rest is drawn from all samples. If there are too few, the
            batch is smaller.
    """

    def __init__(
        self, samples: int, batch_size: int, seed: int, labelled: Tensor | None = None, share: float = 0.0
    ) -> None:
        self.steps = samples // batch_size
        """Steps of an epoch."""
        chosen = torch.empty(0, dtype=torch.int64) if labelled is None else labelled
        wanted = max(1, round(share * batch_size)) if share else 0
        self._streams = [
            _Stream(pool, min(size, len(pool)), first)
            for pool, size, first in ((torch.arange(samples), batch_size - wanted, 0), (chosen, wanted, _LABELLED))
            if min(size, len(pool))
        ]
        if len(self._streams) == 1:  # also where all samples are labelled: then passes are epochs
            self._streams[0].first = 0
        self._seed = seed

    @property
    def batch_size(self) -> int:
        """The number of samples of a step."""
        return sum(stream.size for stream in self._streams)

    def at(self, step: int) -> Step:
        """Return the samples of a step, which is counted from 0 over the whole training."""
        found = [stream.at(step, self._seed) for stream in self._streams]
        positions, passes = zip(*found, strict=True)
        return Step(torch.cat(positions), torch.cat(passes))


@dataclass
class _Stream:
    """Samples that are drawn together.

    Attributes:
        pool: ``(m,)`` positions.
        size: How many of them a step has.
        first: Number of the first pass.
    """

    pool: Tensor
    size: int
    first: int
    _drawn: int = field(default=-1, init=False)
    _order: tuple[Tensor, ...] = field(default=(), init=False)

    def at(self, step: int, seed: int) -> tuple[Tensor, Tensor]:
        number, place = divmod(step, len(self.pool) // self.size)
        number += self.first
        if number != self._drawn:
            generator = torch.Generator().manual_seed(derive_seed(seed, "order", number))
            steps = len(self.pool) // self.size
            chosen = self.pool[torch.randperm(len(self.pool), generator=generator)[: steps * self.size]]
            self._drawn, self._order = number, chosen.view(-1, self.size).unbind()
        return self._order[place], torch.full((self.size,), number)
