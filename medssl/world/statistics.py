"""BatchNorm with the statistics of all ranks, for every layer that normalises by ``torch.nn.functional.batch_norm``.

PyTorch's ``SyncBatchNorm`` does this for GPUs only, and for its own layers only.

K ranks, C channels, N samples of this rank.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from medssl.world.collectives import gather_plain, total_of

__all__ = ["OverRanks", "batch_norm"]


class OverRanks(TorchFunctionMode):
    """A context in which ``torch.nn.functional.batch_norm`` uses the statistics of all ranks."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call :func:`batch_norm` instead of PyTorch's."""
        return (batch_norm if func is F.batch_norm else func)(*args, **(kwargs or {}))


def batch_norm(
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalise ``(N, C, ...)`` as ``torch.nn.functional.batch_norm``, in training by the statistics of all ranks."""
    if not training:
        return F.batch_norm(x, running_mean, running_var, weight, bias, False, momentum, eps)
    y, mean, variance, count = _Normalise.apply(x, weight, bias, eps)
    if x.numel() < 2 * x.shape[1] and float(count) < 2:  # reading the count makes a GPU wait
        raise ValueError(f"BatchNorm needs more than one value per channel in training, but got {tuple(x.shape)}")
    if running_mean is not None:
        running_mean.lerp_(mean.to(running_mean.dtype), momentum)
    if running_var is not None:
        running_var.lerp_((variance * count / (count - 1)).to(running_var.dtype), momentum)
    normalised: Tensor = y
    return normalised


class _Normalise(torch.autograd.Function):
    """Normalisation with a gradient through the statistics of all ranks, as if each rank's loss were a share of one."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        channels = x.shape[1]
        size = dist.get_world_size()
        moments = gather_plain(_moments(x)[None], size)  # (K, 2 C + 1)
        counts, means, variances = moments[:, -1:], moments[:, :channels], moments[:, channels:-1]
        count = counts.sum()
        mean = (counts * means).sum(0) / count
        variance = (counts * (variances + (means - mean).square())).sum(0) / count  # Chan et al. 1979, over the ranks
        ctx.save_for_backward(x, weight, mean, (variance + eps).rsqrt(), count)
        ctx.eps = eps
        ctx.mark_non_differentiable(mean, variance, count)
        return F.batch_norm(x, mean, variance, weight, bias, False, 0.0, eps), mean, variance, count

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        x, weight, mean, scale, count = ctx.saved_tensors
        dy, channels = gradients[0], x.shape[1]
        if x.numel():
            reduce = torch.ops.aten.native_batch_norm_backward
            _, by_scale, by_shift = reduce(dy, x, weight, None, None, mean, scale, True, ctx.eps, [False, True, True])
        else:
            by_scale, by_shift = torch.zeros_like(mean), torch.zeros_like(mean)
        sums = total_of(torch.cat([by_scale.to(mean.dtype), by_shift.to(mean.dtype)]))
        dx = None
        if ctx.needs_input_grad[0]:
            shape = (1, channels, *(1,) * (x.ndim - 2))
            a = scale if weight is None else scale * weight
            b = -a * scale * sums[:channels] / count
            c = -a * sums[channels:] / count - b * mean
            dx = torch.addcmul(c.view(shape), x, b.view(shape)).addcmul_(dy, a.view(shape)).to(x.dtype)
        return dx, by_scale if weight is not None else None, by_shift if ctx.needs_input_grad[2] else None, None


def _moments(x: Tensor) -> Tensor:
    """Return mean and variance of each channel, and the number of values: ``(2 C + 1,)``, float32 or float64."""
    channels = x.shape[1]
    dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
    if not x.numel():
        return torch.zeros(2 * channels + 1, dtype=dtype, device=x.device)
    unused = torch.zeros(2, channels, dtype=dtype, device=x.device)
    mean, variance = torch.batch_norm_update_stats(x, unused[0], unused[1], 0.0)  # ten times as fast as var_mean
    count = torch.full((1,), x.numel() / channels, dtype=dtype, device=x.device)
    return torch.cat([mean, variance, count])
