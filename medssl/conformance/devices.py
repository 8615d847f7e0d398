"""Checks that a method computes on the device of its batch, with a simulated GPU, because few machines have one.

PyTorch's fake tensors have a shape, a type and a device, but no values. A tensor that was created on the CPU and is
combined with one of the simulated GPU fails as on a real GPU.
"""

from __future__ import annotations

import warnings
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import (  # the only way to get a second device on every machine
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
)

from medssl.conformance.methods import TOTAL_STEPS, applies, build_rig, one_batch
from medssl.conformance.running import Check, Subject, require

__all__ = ["CHECKS", "applies"]

_DEVICE = "cuda"


def check_computes_where_the_batch_lies(subject: Subject) -> None:
    """Every tensor that loss() and after_step() create is on the batch's device: ``device=batch.index.device``."""
    rig = build_rig(subject)
    batch = one_batch(rig)
    with FakeTensorMode(allow_non_fake_inputs=True), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # warnings of the simulation itself
        for module in (rig.encoder, rig.method):
            _pretend(module)
        moved = replace(
            batch,
            generator=_Generator(),
            views=tuple(map(_like, batch.views)),
            index=_like(batch.index),
            group=_like(batch.group),
            y=None if batch.y is None else _like(batch.y),
            geometry=None if batch.geometry is None else tuple(map(_like, batch.geometry)),
        )
        try:
            loss = rig.method(moved, rig.encode)
            rig.method.after_step(1, TOTAL_STEPS)
        except (DataDependentOutputException, DynamicOutputShapeException):
            return  # the rest depends on values, which fake tensors do not have
        except RuntimeError as error:
            require("same device" not in str(error), f"all tensors must be on the batch's device, but: {error}")
            raise
    require(loss.device.type == _DEVICE, f"loss() must be on the batch's device, {_DEVICE}, but is on {loss.device}")


class _Generator(torch.Generator):
    """A CPU generator that reports the simulated device, as the trainer's generators report theirs."""

    device = torch.device(_DEVICE)


def _like(value: Tensor) -> Tensor:
    return torch.empty(value.shape, dtype=value.dtype, device=_DEVICE)


def _pretend(module: nn.Module) -> None:
    """Do the same as ``module.to(device)``, in place; other tensors than parameters and buffers are not moved."""
    for part in module.modules():
        for name, weight in part._parameters.items():
            if weight is not None and weight.device.type != _DEVICE:
                part._parameters[name] = nn.Parameter(_like(weight), requires_grad=weight.requires_grad)
        for name, buffer in part._buffers.items():
            if buffer is not None and buffer.device.type != _DEVICE:
                part._buffers[name] = _like(buffer)


CHECKS: tuple[Check, ...] = (check_computes_where_the_batch_lies,)
