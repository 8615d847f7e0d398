"""Trains many two-layer probes on the same features together, as one batch of heads.

Each head is ``Linear(F, H) - BatchNorm - LeakyReLU - Linear(H, K)`` with its own weights, order of samples and learning
rate, and makes exactly the same steps as alone: only the kernel launches are shared.

Forward and backward pass are written explicitly. The gradients use buffers that are allocated once, and no graph is
recorded: autograd on the same products takes 1.2 to 1.4 times as long in batches of 64, and 1.5 to 1.8 times in batches
of 16 (four heads, 512 features, one processor core).

The first layer has no bias, because BatchNorm would subtract it. The gradient of such a bias is rounding noise; Adam
would scale it up to full steps, and the running mean would be wrong.

For findings, each output has its own sigmoid, and the loss is the mean over the known findings. A quantity has one
output without an activation, and the squared error.

Legend: S heads, N samples, F features, H hidden units, K classes or findings.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from medssl.tools import halving
from medssl_evaluators._keeping import affine

__all__ = ["StackedHeads", "train_heads"]

_EPS, _MOMENTUM, _SLOPE = 1e-5, 0.1, 0.01  # torch's defaults for BatchNorm1d and LeakyReLU
_NAMES = ("first", "scale", "shift", "second", "bias", "running_mean", "running_var")
_CHUNK = 2**24  # hidden activations in memory at a time in a prediction: 64 MiB


class StackedHeads:
    """Weights, gradients and running statistics of S heads; every tensor has the heads first.

    Args:
        features: F.
        hidden: H.
        outputs: K.
        generators: S CPU generators that draw the initial weights as ``torch.nn.Linear`` does; heads with the same
            generator start with equal weights.
        like: A tensor with the type and device of the heads.
        independent: Whether the outputs are findings, each present or absent by itself.
        number: Whether the output is a number.
    """

    def __init__(
        self,
        features: int,
        hidden: int,
        outputs: int,
        generators: Sequence[Generator],
        like: Tensor,
        *,
        independent: bool = False,
        number: bool = False,
    ) -> None:
        self.independent, self.number = independent, number
        distinct = {id(g): g for g in generators}
        drawn = {name: _initial(features, hidden, outputs, g) for name, g in distinct.items()}
        first, second, bias = (
            torch.stack([drawn[id(g)][i] for g in generators]).to(like) for i in range(3)
        )  # (S, F, H), (S, K, H), (S, 1, K)
        row = first.new_ones(len(generators), 1, hidden)
        self.first = first
        self.scale, self.shift = row.clone(), torch.zeros_like(row)  # (S, 1, H)
        self.second, self.bias = second, bias
        self.running_mean, self.running_var = torch.zeros_like(row), row.clone()  # (S, 1, H)
        self.gradients = [torch.zeros_like(parameter) for parameter in self.parameters]

    @property
    def parameters(self) -> list[Tensor]:
        """The trained tensors, in the order of ``gradients``."""
        return [self.first, self.scale, self.shift, self.second, self.bias]

    @property
    def state(self) -> list[Tensor]:
        """All tensors that are needed for a prediction."""
        return [*self.parameters, self.running_mean, self.running_var]

    def __len__(self) -> int:
        """S."""
        return len(self.first)

    def take(self, heads: Sequence[int]) -> StackedHeads:
        """Return a copy of some heads, for prediction."""
        chosen = {name: value[list(heads)] for name, value in self.tensors().items()}
        return StackedHeads.of(chosen, independent=self.independent, number=self.number)

    def in_unit(self, middle: Tensor, spread: Tensor) -> StackedHeads:
        """Return heads that predict ``spread`` times the number, plus ``middle``."""
        found = self.take(range(len(self)))
        found.second, found.bias = found.second * spread, found.bias * spread + middle
        return found

    def tensors(self) -> dict[str, Tensor]:
        """Return all tensors that are needed for a prediction, by name."""
        return {name: getattr(self, name) for name in _NAMES}

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], *, independent: bool, number: bool = False) -> StackedHeads:
        """Build heads for prediction from what :meth:`tensors` returned."""
        other = cls.__new__(cls)
        for name in _NAMES:
            setattr(other, name, tensors[name])
        other.gradients, other.independent, other.number = [], independent, number
        return other

    def layers(self) -> nn.Module:
        """Return the first head as standard layers: the batch normalisation is part of the first of them."""
        scale = (self.scale * (self.running_var + _EPS).rsqrt())[0, 0]
        shift = self.shift[0, 0] - self.running_mean[0, 0] * scale
        last = nn.Identity() if self.number else nn.Sigmoid() if self.independent else nn.Softmax(dim=1)
        first = affine(self.first[0].T * scale[:, None], shift)
        return nn.Sequential(first, nn.LeakyReLU(_SLOPE), affine(self.second[0], self.bias[0, 0]), last)

    def copy_where(self, mask: Tensor, other: StackedHeads) -> None:
        """Copy the heads of ``other`` where ``mask`` ``(S,)`` is true."""
        for mine, theirs in zip(self.state, other.state, strict=True):
            mine[mask] = theirs[mask]

    @torch.no_grad()
    def accumulate(self, x: Tensor, target: Tensor, weights: Tensor | None = None) -> None:
        """Fill ``gradients`` with those of the mean cross-entropy; update the running statistics.

        Args:
            x: ``(S, N, F)``, each head's batch, N at least 2.
            target: ``(S, N, K)``, one-hot classes, or findings, NaN where unknown; or the number.
            weights: ``(S, N, 1)`` weights of the classes or ``(S, N, K)`` of the findings; ``None``: all one.
        """
        n = x.shape[1]
        hidden = x @ self.first
        mean = hidden.mean(dim=1, keepdim=True)
        centred = hidden - mean
        variance = centred.square().mean(dim=1, keepdim=True)  # var_mean is thirty times as slow on a CPU
        self.running_mean.lerp_(mean, _MOMENTUM)
        self.running_var.lerp_(variance * (n / (n - 1)), _MOMENTUM)  # BatchNorm stores the unbiased variance
        inverse = (variance + _EPS).rsqrt()
        normal = centred.mul_(inverse)
        before = torch.addcmul(self.shift, normal, self.scale)
        after = F.leaky_relu(before, _SLOPE)
        logits = torch.baddbmm(self.bias, after, self.second.mT)

        d_first, d_scale, d_shift, d_second, d_bias = self.gradients
        d_logits = self._slope_of_loss(logits, target)
        if weights is not None:
            d_logits.mul_(weights)
        torch.sum(d_logits, dim=1, keepdim=True, out=d_bias)
        torch.bmm(d_logits.mT, after, out=d_second)
        slope = before.gt_(0).mul_(1 - _SLOPE).add_(_SLOPE)  # as floats: boolean masks are slow on a CPU
        d_before = (d_logits @ self.second).mul_(slope)
        torch.sum(d_before, dim=1, keepdim=True, out=d_shift)
        torch.sum(d_before * normal, dim=1, keepdim=True, out=d_scale)
        d_hidden = d_before.sub_(d_shift / n).sub_(normal.mul_(d_scale / n)).mul_(self.scale * inverse)
        torch.bmm(x.mT, d_hidden, out=d_first)

    def _slope_of_loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the gradient of each head's mean loss by its logits."""
        if self.number:
            return (logits - target).mul_(2 / target.shape[1])
        if not self.independent:
            return (logits.softmax(dim=2) - target).div_(target.shape[1])
        known = ~target.isnan()
        slope = (logits.sigmoid() - target.nan_to_num()).mul_(known)
        return slope.div_(known.sum(dim=(1, 2), keepdim=True).clamp_min(1))

    def _probabilities(self, logits: Tensor) -> Tensor:
        if self.number:
            return logits
        return logits.sigmoid() if self.independent else logits.softmax(dim=2)

    @torch.no_grad()
    def predict_proba(self, x: Tensor) -> Tensor:
        """Map features ``(N, F)`` to probabilities, or numbers, ``(S, N, K)``, with the running statistics."""
        scale = self.scale * (self.running_var + _EPS).rsqrt()
        shift = self.shift - self.running_mean * scale
        rows = max(1, _CHUNK // (len(self) * self.first.shape[2]))
        parts: list[Tensor] = []
        for part in torch.split(x.to(self.first), rows):
            after = F.leaky_relu(torch.addcmul(shift, part @ self.first, scale), _SLOPE)
            parts.append(self._probabilities(torch.baddbmm(self.bias, after, self.second.mT)))
        proba: Tensor = torch.cat(parts, dim=1)
        return proba.to(x.device)


def _initial(features: int, hidden: int, outputs: int, generator: Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Draw the weights (F, H) and (K, H) and the bias (1, K) uniformly within one over the root of the fan-in."""

    def uniform(*shape: int, fan_in: int) -> Tensor:
        return (2 * torch.rand(*shape, generator=generator) - 1) / math.sqrt(fan_in)

    return (
        uniform(features, hidden, fan_in=features),
        uniform(outputs, hidden, fan_in=hidden),
        uniform(1, outputs, fan_in=hidden),
    )


def train_heads(
    x: Tensor,
    y: Tensor,
    outputs: int,
    *,
    hidden: int,
    seeds: Sequence[int],
    learning_rates: Sequence[float],
    batch_size: int,
    epochs: int,
    hold: int = 0,
    after_epoch: Callable[[StackedHeads], None] | None = None,
    weights: Tensor | None = None,
    chances: Tensor | None = None,
) -> StackedHeads:
    """Train S heads with Adam, the learning rates halved every 25 epochs after the first ``hold``.

    Args:
        x: ``(N, F)`` floating point, N at least 2.
        y: ``(N,)`` int64 of classes, ``(N, K)`` of findings, NaN where unknown, or ``(N,)`` standardised numbers.
        outputs: K.
        hidden: H.
        seeds: S seeds of initial weights and orders; heads of one seed share both.
        learning_rates: S; heads with the same rate should be neighbours, because they are updated together.
        batch_size: Samples per step, at most N; an incomplete last batch is dropped.
        epochs: Passes over the samples.
        hold: Initial epochs that the schedule does not count.
        after_epoch: Called with the heads after each epoch.
        weights: Weights of the values, as ``y``; ``None``: all one.
        chances: ``(N,)``, how often each sample is drawn, with replacement; ``None``: each once in an epoch.
    """
    by_seed = {seed: Generator().manual_seed(seed) for seed in seeds}
    findings, number = y.ndim == 2, y.ndim == 1 and y.is_floating_point()
    generators = [by_seed[seed] for seed in seeds]
    heads = StackedHeads(x.shape[1], hidden, outputs, generators, x, independent=findings, number=number)
    optimizer = torch.optim.Adam(_groups(heads, learning_rates), fused=x.device.type in ("cpu", "cuda"))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: halving(epoch, every=25, hold=hold))
    target = (y if findings else y[:, None] if number else F.one_hot(y, outputs)).to(x.dtype)
    own = weights if weights is None or findings else weights[:, None]
    for _ in range(epochs):
        drawn = {seed: _order(len(x), generator, chances) for seed, generator in by_seed.items()}
        order = torch.stack([drawn[seed] for seed in seeds]).to(x.device)  # (S, N)
        for rows in _batches(order, batch_size):
            heads.accumulate(x[rows], target[rows], None if own is None else own[rows])
            optimizer.step()
        schedule.step()
        if after_epoch:
            after_epoch(heads)
    return heads


def _order(n: int, generator: Generator, chances: Tensor | None) -> Tensor:
    if chances is None:
        return torch.randperm(n, generator=generator)
    return torch.multinomial(chances.double().cpu(), n, replacement=True, generator=generator)


def _batches(order: Tensor, batch_size: int) -> Iterator[Tensor]:
    size = min(batch_size, order.shape[1])
    return (part for part in torch.split(order, size, dim=1) if part.shape[1] == size)


def _groups(heads: StackedHeads, learning_rates: Sequence[float]) -> list[dict[str, object]]:
    """Split the heads into Adam's parameter groups, one per run of equal learning rates: views, not copies."""
    groups: list[dict[str, object]] = []
    start = 0
    for rate, members in itertools.groupby(learning_rates):
        stop = start + len(list(members))
        views = []
        for parameter, gradient in zip(heads.parameters, heads.gradients, strict=True):
            view = parameter[start:stop]
            view.grad = gradient[start:stop]
            views.append(view)
        groups.append({"params": views, "lr": rate})
        start = stop
    return groups
