"""All views of a batch in one forward, with the BatchNorm statistics that separate forwards would have.

Papers describe methods with one forward per view, so BatchNorm sees one view at a time. One forward over all V views is
faster but mixes their statistics. This computes another function, and it changes the method if statistics carry
information between samples. :class:`PerView` uses one forward and keeps the statistics separate.

V views, N samples, C channels, H x W pixels, F features.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from medssl.errors import TrainingError
from medssl.train.loop.seeding import derive_seed
from medssl.train.machine.device import Precision
from medssl.train.machine.small_maps import protect
from medssl.world import ALONE, World
from medssl.world.collectives import gather
from medssl.world.rows import own_rows
from medssl.world.statistics import OverRanks

__all__ = ["JointEncode", "PerView"]


class PerView:
    """A context in which BatchNorm layers treat their input as V equal parts, one after another.

    Each part passes through the layer's own forward. Outputs, gradients and running statistics (one update per view,
    in order) therefore equal those of separate forwards, for every kind of BatchNorm and in every precision. Outside
    the context nothing is changed: evaluation, copies and state dicts are not affected.

    The context can be entered repeatedly; a compiler then sees the same layers each time.

    The two extra copies in each layer (split and concatenation) add two fifths to the time of a BatchNorm layer on a
    processor, which is 1 to 2 % of a ResNet-18 step at 64 px. A custom autograd function that writes into slices of its
    output would save half of that, but would support only PyTorch's own layers.

    Args:
        encoder: Called inside the context with inputs ``(views * N, C, H, W)``, view by view.
        views: V.
        over_ranks: Use the statistics of all ranks, of which each has some rows of every view.
    """

    def __init__(self, encoder: nn.Module, views: int, *, over_ranks: bool = False) -> None:
        used = views > 1 or over_ranks
        layers = [m for m in encoder.modules() if isinstance(m, _BatchNorm)] if used else []
        by_view = _forward_over_ranks if over_ranks else _forward_by_view
        self._forwards = [(layer, partial(by_view, layer.forward, views)) for layer in layers]
        self._before: list[tuple[_BatchNorm, Any]] = []

    def __enter__(self) -> None:
        for layer, forward in self._forwards:
            if _uses_batch_statistics(layer):
                self._before.append((layer, vars(layer).get("forward")))
                vars(layer)["forward"] = forward

    def __exit__(self, *_: object) -> None:
        for layer, forward in self._before:
            del vars(layer)["forward"]
            if forward is not None:
                vars(layer)["forward"] = forward
        self._before.clear()


def _uses_batch_statistics(layer: _BatchNorm) -> bool:
    return layer.training or layer.running_mean is None


def _forward_by_view(forward: Callable[[Tensor], Tensor], views: int, x: Tensor) -> Tensor:
    if len(x) % views:
        raise ValueError(f"a BatchNorm layer got {len(x)} samples for {views} views: the encoder regroups its batch")
    return torch.cat([forward(part) for part in x.chunk(views)])


def _forward_over_ranks(forward: Callable[[Tensor], Tensor], views: int, x: Tensor) -> Tensor:
    with OverRanks():
        return _forward_by_view(forward, views, x) if views > 1 else forward(x)


class JointEncode:
    """Encodes views of equal size in one forward; a method's loss receives it as ``encode``.

    Attributes:
        latest: Features of the last call that used the encoder in training, for measures of collapse: ``(V * N, F)``
            float32 without gradient; of the first size if views differ in size, and means of the maps after a dense
            call. ``None`` before the first call.

    Args:
        encoder: The encoder in training.
        precision: The forward uses autocast of this precision; features are float32.
        batch_norm: ``per-view`` or ``joint`` statistics.
        compiled: Use a compiled version of each encoder.
        world: The ranks. Each encodes its rows; the features are those of the global batch, with a gradient for them.
        over_ranks: Whether statistics are those of all ranks.
    """

    latest: Tensor | None

    def __init__(
        self,
        encoder: nn.Module,
        precision: Precision,
        batch_norm: Literal["per-view", "joint"] = "per-view",
        *,
        compiled: bool = False,
        world: World = ALONE,
        over_ranks: bool = True,
    ) -> None:
        self.latest = None
        self._encoder = encoder
        self._precision = precision
        self._batch_norm = batch_norm
        self._compiled = compiled
        self._world, self._over_ranks = world, over_ranks and world.several
        self._forwards: dict[tuple[nn.Module, bool], Callable[..., Tensor]] = {}
        self._contexts: dict[tuple[nn.Module, int], PerView] = {}

    def __call__(
        self,
        views: Sequence[Tensor],
        encoder: nn.Module | None = None,
        *,
        dense: bool = False,
        beside: Sequence[Tensor] = (),
    ) -> tuple[Tensor, ...]:
        """Encode V tensors ``(N, C, H, W)`` into V tensors ``(N, F)`` float32.

        Args:
            views: Views to encode; views of one size share a forward, and running statistics are updated in their
                order.
            encoder: Another encoder, for instance a momentum teacher; ``None``: the one in training.
            dense: Call the encoder's ``dense`` instead, which returns feature maps ``(N, F, h, w)``.
            beside: V tensors ``(N, ...)`` that the encoder takes after the images.

        Raises:
            TrainingError: The encoder could not be compiled.
        """
        network = self._encoder if encoder is None else encoder
        found: dict[int, Tensor] = {}
        joined: list[Tensor] = []
        for members in _by_shape(views):
            inputs = [_joined([given[i] for i in members], self._world) for given in (views, beside) if given]
            features = self._forward(network, inputs, len(members), dense)  # (len(members) * N, F) or (..., F, h, w)
            if self._world.several:
                features = _of_all(features, len(members), len(views[members[0]]))
            joined.append(features)
            found |= zip(members, features.chunk(len(members)), strict=True)
        if encoder is None and joined:
            self.latest = joined[0].detach().mean(dim=(2, 3)) if dense else joined[0].detach()
        return tuple(found[i] for i in range(len(views)))

    def _forward(self, encoder: nn.Module, inputs: Sequence[Tensor], views: int, dense: bool) -> Tensor:
        forward = self._forwards.get((encoder, dense)) or self._prepare(encoder, dense)
        with self._precision.autocast(), self._statistics(encoder, views), _own_draws(self._world, inputs[0].device):
            features = forward(*inputs)
        return features if features.dtype == torch.float64 else features.float()

    def _prepare(self, encoder: nn.Module, dense: bool) -> Callable[..., Tensor]:
        protect(encoder)
        forward: Any = encoder.dense if dense else encoder
        self._forwards[encoder, dense] = compiled(forward) if self._compiled else forward
        return self._forwards[encoder, dense]

    def _statistics(self, encoder: nn.Module, views: int) -> contextlib.AbstractContextManager[None]:
        if self._batch_norm == "joint":
            views = 1
        if (encoder, views) not in self._contexts:
            self._contexts[encoder, views] = PerView(encoder, views, over_ranks=self._over_ranks)
        return self._contexts[encoder, views]


def _joined(parts: Sequence[Tensor], world: World) -> Tensor:
    """Join views, of which each rank takes its own rows."""
    if world.several:
        parts = [own_rows(part) for part in parts]
    return torch.cat(tuple(parts)) if len(parts) > 1 else parts[0]


def _of_all(features: Tensor, views: int, rows: int) -> Tensor:
    """Gather the features of all ranks: ``(V * n, F)`` of this rank's n rows to ``(V * N, F)``."""
    by_row = features.unflatten(0, (views, len(features) // views)).transpose(0, 1)  # (n, V, F)
    return gather(by_row, rows).transpose(0, 1).flatten(0, 1)


@contextlib.contextmanager
def _own_draws(world: World, device: torch.device) -> Iterator[None]:
    """Let ranks draw different numbers for dropout, and afterwards equal ones again."""
    if not world.several:
        yield
        return
    seed = int(torch.randint(2**62, ()))  # the same on every rank
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(derive_seed(seed, world.rank))
        yield


def compiled(forward: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Compile a network with PyTorch, for each shape of its input.

    Returns:
        A function that raises :class:`TrainingError` if the network cannot be compiled.
    """
    fast = torch.compile(forward, dynamic=False)

    def run(*inputs: Tensor) -> Tensor:
        try:
            return fast(*inputs)
        except torch._dynamo.exc.TorchDynamoException as error:
            said = " ".join(str(error).strip().splitlines()[:2])  # what failed, and why
            raise TrainingError(
                f"the encoder could not be compiled. {said}. Set train.compile=false, or install a C++ compiler, "
                "which compiling for a processor needs."
            ) from error

    return run


def _by_shape(views: Sequence[Tensor]) -> list[list[int]]:
    """Group the positions of views by shape, in the order of first appearance."""
    groups: dict[torch.Size, list[int]] = {}
    for i, view in enumerate(views):
        groups.setdefault(view.shape, []).append(i)
    return list(groups.values())
