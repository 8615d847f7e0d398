"""Help with training a head, or a network with its head: order, learning rate, loop, loss, and choice of the epoch.

N samples in a batch, n in a set, O the width of a prediction (:attr:`medssl.contracts.targets.Target.outputs`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Generic, Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medssl.contracts.targets import Classes, Findings, Target

__all__ = [
    "KeepBest",
    "activation",
    "balanced_chances",
    "balanced_weights",
    "batches",
    "evaluation_mode",
    "halving",
    "loss_scaler",
    "number_scale",
    "parameter_groups",
    "seeded",
    "target_loss",
    "train",
    "warmup_cosine",
]

S = TypeVar("S")


# ------------------------------------------------------------------------------------------------------ learning rates


def parameter_groups(modules: Iterable[nn.Module], weight_decay: float) -> list[dict[str, Any]]:
    """Sort trainable parameters into those with weight decay and those without.

    Biases and the scales of normalisation layers, which all have one dimension, are not decayed: decay towards zero
    does not regularise them.

    Args:
        modules: Modules; a parameter that two modules share is used once.
        weight_decay: Weight decay for parameters with two or more dimensions.

    Returns:
        One or two groups for an optimizer, without empty groups.
    """
    unique = dict.fromkeys(p for module in modules for p in module.parameters() if p.requires_grad)
    decayed = [p for p in unique if p.ndim > 1]
    plain = [p for p in unique if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


def warmup_cosine(
    step: int, total_steps: int, warmup_steps: int, kind: Literal["cosine", "constant"] = "cosine"
) -> float:
    """Return the learning rate of one step as a fraction of its peak.

    A linear warm-up that reaches the peak in its last step, then half a cosine that would reach zero in the step after
    the last (Loshchilov & Hutter 2017, arXiv 1608.03983, equation 5, without restarts), or the peak throughout.

    Args:
        step: From 0.
        total_steps: Of the whole training, warm-up included.
        warmup_steps: 0 for none.
        kind: What follows the warm-up: ``cosine`` or ``constant``.

    Returns:
        Above 0, at most 1.
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    if kind == "constant":
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * (step - warmup_steps) / (total_steps - warmup_steps)))


def halving(epoch: int, every: int, hold: int = 0) -> float:
    """Return the learning rate of one epoch as a fraction of the first's: halved after each ``every`` epochs.

    Args:
        epoch: From 0.
        every: Epochs between two halvings.
        hold: Initial epochs that are not counted.
    """
    return float(0.5 ** (max(0, epoch - hold) // every))


# ---------------------------------------------------------------------------------------------------------------- loop


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch's global generators, used by initial weights and dropout; their state is restored afterwards."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


@contextmanager
def evaluation_mode(network: nn.Module) -> Iterator[None]:
    """Put all modules of a network into evaluation mode; their previous modes are restored afterwards."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def batches(n: int, batch_size: int, generator: torch.Generator, chances: Tensor | None = None) -> Iterator[Tensor]:
    """Yield the positions of one epoch's batches, each ``(N,)`` int64 on the processor, in random order.

    Args:
        n: Samples.
        batch_size: N; a set smaller than a batch is one batch. An incomplete last batch is left out.
        generator: Generator of the processor; each call draws a new order.
        chances: ``(n,)``, how often each sample is drawn relative to the others, with replacement; ``None``: each once.
    """
    size = min(batch_size, n)
    if chances is None:
        order = torch.randperm(n, generator=generator)
    else:
        order = torch.multinomial(chances.double().cpu(), n, replacement=True, generator=generator)
    yield from torch.split(order[: n // size * size], size)


def loss_scaler(autocast: Callable[[], AbstractContextManager[Any]], device: torch.device) -> torch.amp.GradScaler:
    """Return a loss scaler, active if autocast uses float16, because small gradients would become zero.

    Args:
        autocast: Opens the context in which the network computes: ``Images.autocast``.
        device: Of the network.
    """
    with autocast():
        half = torch.is_autocast_enabled(device.type) and torch.get_autocast_dtype(device.type) == torch.float16
    return torch.amp.GradScaler(device.type, enabled=half)


def train(
    network: nn.Module,
    groups: Sequence[dict[str, Any]],
    loss: Callable[[int, Tensor], Tensor],
    *,
    samples: int,
    batch_size: int,
    epochs: int,
    factor: Callable[[int], float],
    seed: int,
    optimizer: Callable[[Any], torch.optim.Optimizer] = torch.optim.AdamW,
    scaler: torch.amp.GradScaler | None = None,
    after_epoch: Callable[[int], None] | None = None,
    chances: Tensor | None = None,
) -> None:
    """Train a network: each epoch uses all samples once, in a new order, or draws as many with ``chances``.

    Args:
        network: Put into training mode at the start of each epoch.
        groups: The optimizer's parameter groups; ``lr`` of each is its peak. See :func:`parameter_groups`.
        loss: Maps an epoch (from 0) and the positions of a batch ``(N,)`` to the scalar loss.
        samples: n, at least one.
        batch_size: See :func:`batches`.
        epochs: Passes over the samples.
        factor: Maps a step (from 0) to the learning rate as a fraction of the peak. See :func:`warmup_cosine`.
        seed: Seed of the order. Dropout draws from torch's global generator; see :func:`seeded`.
        optimizer: Called with the groups.
        scaler: See :func:`loss_scaler`; ``None`` where the loss is computed in float32.
        after_epoch: Called with the number of each epoch, from 0; it may leave the network in evaluation mode.
        chances: See :func:`batches`.
    """
    steps = optimizer(list(groups))
    peaks = [group["lr"] for group in steps.param_groups]
    scaler = scaler or torch.amp.GradScaler("cpu", enabled=False)
    generator = torch.Generator().manual_seed(seed)
    step = 0
    for epoch in range(epochs):
        network.train()
        for rows in batches(samples, batch_size, generator, chances):
            share = factor(step)
            for group, peak in zip(steps.param_groups, peaks, strict=True):
                group["lr"] = peak * share
            found = loss(epoch, rows)
            steps.zero_grad()
            torch.autograd.backward(scaler.scale(found))
            scaler.step(steps)
            scaler.update()
            step += 1
        if after_epoch:
            after_epoch(epoch)


class KeepBest(Generic[S]):
    """Keeps the weights of a network after its best epoch; the earlier epoch wins a tie.

    Attributes:
        epoch: The best epoch, from 0; -1 before the first call.
        score: Its score.
        weights: The state dict after that epoch, on the processor.

    Args:
        better: Whether a first score is better than a second one.
    """

    score: S

    def __init__(self, better: Callable[[S, S], bool]) -> None:
        self._better = better
        self.epoch = -1
        self.weights: dict[str, Tensor] = {}

    def see(self, epoch: int, score: S, network: nn.Module) -> None:
        """Call this after each epoch; it keeps the weights if they are the first or the best."""
        if self.epoch < 0 or self._better(score, self.score):
            self.epoch, self.score = epoch, score
            self.weights = {name: value.detach().cpu().clone() for name, value in network.state_dict().items()}


# ------------------------------------------------------------------------------------------------------------- targets


def balanced_weights(y: Tensor) -> Tensor:
    """Return the weight of each sample's loss with which every class, or both values of a finding, count the same.

    As ``class_weight="balanced"`` in scikit-learn (after King & Zeng 2001, Political Analysis 9, 137-163): the number
    of known samples over the number of classes present and the number of samples of the class. The mean weight is one.
    Each finding is weighted by itself, among the samples for which it is known.

    Args:
        y: Classes or grades ``(n,)``, or findings ``(n, K)``, as a target encodes them.

    Returns:
        As ``y``, float32; zero where the value is unknown.
    """
    columns = y[:, None] if y.ndim == 1 else y
    found = torch.zeros(columns.shape, dtype=torch.float32, device=y.device)
    for k in range(columns.shape[1]):
        column = columns[:, k]
        known = column >= 0  # NaN is not
        values, place, counts = torch.unique(column[known], return_inverse=True, return_counts=True)
        if len(values):
            found[known, k] = (place.numel() / (len(values) * counts.float()))[place]
    return found.reshape(y.shape)


def number_scale(y: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of the known numbers of ``y`` ``(n,)``: a network learns standardised numbers.

    A deviation of zero becomes one.
    """
    known = y[~y.isnan()]
    spread = known.std(correction=0)
    return known.mean(), spread if spread > 0 else torch.ones_like(spread)


def balanced_chances(y: Tensor) -> Tensor:
    """Return how often each sample is to be drawn so that classes are equally frequent in batches: ``(n,)`` float32.

    A sample with several findings has the largest of its weights: that of its rarest one. A sample of which nothing is
    known is not drawn.

    Args:
        y: As for :func:`balanced_weights`.
    """
    weights = balanced_weights(y)
    return weights if weights.ndim == 1 else weights.amax(dim=1)


def target_loss(target: Target, output: Tensor, y: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return the loss that suits a target, averaged over known values; zero, with zero gradient, if none is known.

    Cross-entropy for classes and grades, binary cross-entropy for each finding, squared error for a quantity.

    Args:
        target: What is predicted.
        output: ``(N, O)`` float32, before :func:`activation`.
        y: As ``target.encode`` makes it, on the device of the output: ``(N,)`` int64 with -1 for unknown, ``(N, K)``
            float32 with NaN, or ``(N,)`` float32 with NaN.
        weights: Weights of the values, of the shape of ``y``, see :func:`balanced_weights`; ``None``: all one. The
            weighted losses are averaged over the number of known values, as if they were those of the whole set.

    Returns:
        A scalar.
    """
    if isinstance(target, Classes):
        if weights is not None:
            each = F.cross_entropy(output, y, ignore_index=-1, reduction="none")
            return (each * weights).sum() / (y >= 0).sum().clamp_min(1)
        found = F.cross_entropy(output, y, ignore_index=-1)
        return found if bool((y >= 0).any()) else output.sum() * 0
    expected = y if isinstance(target, Findings) else y[:, None]
    known = ~expected.isnan()
    filled = expected.nan_to_num()  # because zero times NaN is NaN
    if isinstance(target, Findings):
        each = F.binary_cross_entropy_with_logits(output, filled, reduction="none")
    else:
        each = F.mse_loss(output, filled, reduction="none")
    share = known if weights is None else known * weights.reshape(expected.shape)
    return (each * share).sum() / known.sum().clamp_min(1)


def activation(target: Target, output: Tensor) -> Tensor:
    """Turn a network's output ``(..., O)`` into predictions of the target: probabilities, or numbers in its unit."""
    if isinstance(target, Classes):
        return output.softmax(dim=-1)
    return output.sigmoid() if isinstance(target, Findings) else output
