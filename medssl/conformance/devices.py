"""Does a method compute where its batch lies? Asked of a pretended GPU, since most machines that check have none.

PyTorch's fake tensors have a shape, a type and a device, and no values: a tensor that was made on the processor and
meets one of the pretended GPU fails as it would on a real one.
"""

from __future__ import annotations

import warnings
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import (  # the only way to have a second device everywhere
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
)

from medssl.conformance.methods import TOTAL_STEPS, applies, build_rig, one_batch
from medssl.conformance.running import Check, Subject, require

__all__ = ["CHECKS", "applies"]

_DEVICE = "cuda"


def check_computes_where_the_batch_lies(subject: Subject) -> None:
    """Every tensor that loss() and after_step() make lies on the batch's device: ``device=batch.index.device``."""
    rig = build_rig(subject)
    batch = one_batch(rig)
    with FakeTensorMode(allow_non_fake_inputs=True), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the pretence itself
        for module in (rig.encoder, rig.method):
            _pretend(module)
        moved = replace(
            batch,
            generator=_Generator(),
            views=tuple(map(_like, batch.views)),
            index=_like(batch.index),
            group=_like(batch.group),
            label=None if batch.label is None else _like(batch.label),
            geometry=None if batch.geometry is None else tuple(map(_like, batch.geometry)),
        )
        try:
            loss = rig.method(moved, rig.encode)
            rig.method.after_step(1, TOTAL_STEPS)
        except (DataDependentOutputException, DynamicOutputShapeException):
            return  # what follows depends on values that nobody knows here
        except RuntimeError as error:
            require("same device" not in str(error), f"everything must lie on the batch's device, but: {error}")
            raise
    require(loss.device.type == _DEVICE, f"loss() must lie on the batch's device, {_DEVICE}, but is on {loss.device}")


class _Generator(torch.Generator):
    """A generator of the processor that says it is the device's, as the trainer's are."""

    device = torch.device(_DEVICE)


def _like(value: Tensor) -> Tensor:
    return torch.empty(value.shape, dtype=value.dtype, device=_DEVICE)


def _pretend(module: nn.Module) -> None:
    """Do what ``module.to(device)`` does, in place; what is no parameter and no buffer stays behind."""
    for part in module.modules():
        for name, weight in part._parameters.items():
            if weight is not None and weight.device.type != _DEVICE:
                part._parameters[name] = nn.Parameter(_like(weight), requires_grad=weight.requires_grad)
        for name, buffer in part._buffers.items():
            if buffer is not None and buffer.device.type != _DEVICE:
                part._buffers[name] = _like(buffer)


CHECKS: tuple[Check, ...] = (check_computes_where_the_batch_lies,)
