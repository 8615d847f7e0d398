"""Exchange of tensors between ranks, with gradients.

Every rank computes the same loss L from the features of the global batch. A feature depends on the images of one rank
only, so each rank knows its share of the gradient of the encoder, and all of the gradient of the heads.
:func:`gather` therefore multiplies the gradient of its own rows by K, and the mean of all gradients over the ranks is
right for both: (1/K) times the sum of K times the shares for the encoder, (1/K) times K equal ones for the heads. A
weight that is used on both sides is right too.

K ranks, N rows of all ranks.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from io import BytesIO
from itertools import pairwise
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from medssl.errors import TrainingError

__all__ = ["LostError", "average", "broadcast", "gather", "gather_plain", "own_slice", "running_statistics", "total_of"]

_BUCKET = 2**23  # numbers per message, 32 MB in float32: fewer messages than weights, and little memory for copies


class LostError(TrainingError):
    """A rank did not answer."""


@contextlib.contextmanager
def _answered() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # gloo's and nccl's words for a connection that broke, or that timed out
        said = " ".join(str(error).split())
        raise LostError(f"{said:.200}") from error


def own_slice(rows: int) -> slice:
    """Return the rows of this rank: ranks have equally many, or the first ones have one more."""
    return _shares(rows)[dist.get_rank()]


def _shares(rows: int) -> list[slice]:
    size = dist.get_world_size()
    each, more = divmod(rows, size)
    starts = [rank * each + min(rank, more) for rank in range(size + 1)]
    return [slice(*pair) for pair in pairwise(starts)]


def gather_plain(x: Tensor, rows: int) -> Tensor:
    """Return the rows of all ranks, ``(N, ...)``, without gradient.

    Args:
        x: Those of this rank, as :func:`own_slice` divides them.
        rows: N.
    """
    shares = _shares(rows)
    most = shares[0].stop  # rank 0 has the most
    pixels = x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last)  # sent in their order in memory
    mine = x.detach().movedim(1, -1) if pixels else x.detach()
    padded = mine.contiguous()
    if len(padded) < most:
        padded = torch.cat([padded, padded.new_zeros(most - len(padded), *padded.shape[1:])])
    found = [torch.empty_like(padded) for _ in shares]
    with _answered():
        dist.all_gather(found, padded)
    whole = torch.cat([part[: each.stop - each.start] for part, each in zip(found, shares, strict=True)])
    return whole.movedim(-1, 1) if pixels else whole


class _Gather(torch.autograd.Function):
    """The features of the global batch; the gradient of the own rows, times K."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, rows: int) -> Tensor:
        ctx.rows = own_slice(rows)
        return gather_plain(x, rows)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0][ctx.rows] * dist.get_world_size(), None


def gather(x: Tensor, rows: int) -> Tensor:
    """Return the rows of all ranks as :func:`gather_plain`, with a gradient for those of this rank."""
    found: Tensor = _Gather.apply(x, rows)
    return found


def total_of(x: Tensor) -> Tensor:
    """Add a tensor over the ranks, in place."""
    with _answered():
        dist.all_reduce(x)
    return x


def average(tensors: Iterable[Tensor]) -> None:
    """Replace floating-point tensors by their means over the ranks, in place; all ranks give the same ones."""
    kinds: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
    for tensor in tensors:
        kinds.setdefault((tensor.dtype, tensor.device), []).append(tensor.detach())
    for same in kinds.values():
        for bucket in _buckets(same):
            flat = total_of(torch.cat([tensor.reshape(-1) for tensor in bucket])).div_(dist.get_world_size())
            for tensor, mean in zip(bucket, flat.split([tensor.numel() for tensor in bucket]), strict=True):
                tensor.copy_(mean.view(tensor.shape))


def _buckets(tensors: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    bucket: list[Tensor] = []
    for tensor in tensors:
        bucket.append(tensor)
        if sum(each.numel() for each in bucket) >= _BUCKET:
            yield bucket
            bucket = []
    if bucket:
        yield bucket


def broadcast(values: Mapping[str, Any], device: torch.device) -> dict[str, Any]:
    """Return the values of rank 0: tensors on the processor, numbers, texts, and lists and mappings of them.

    Args:
        values: Values of any rank; only those of rank 0 are used.
        device: On which the ranks exchange tensors.
    """
    first = dist.get_rank() == 0
    file = BytesIO()
    if first:
        torch.save(dict(values), file)
    size = torch.tensor(file.getbuffer().nbytes, device=device)
    with _answered():
        dist.broadcast(size, 0)
        content = torch.empty(int(size), dtype=torch.uint8)
        if first:
            content.copy_(torch.frombuffer(file.getbuffer(), dtype=torch.uint8))
        content = content.to(device)
        dist.broadcast(content, 0)
    found: dict[str, Any] = torch.load(BytesIO(content.cpu().numpy().tobytes()), map_location="cpu", weights_only=True)
    return found


def running_statistics(modules: Iterable[nn.Module]) -> list[Tensor]:
    """Return the running means and variances of all BatchNorm layers."""
    names = (each for module in modules for each in module.named_buffers())
    return [value for name, value in names if name.endswith(("running_mean", "running_var"))]
