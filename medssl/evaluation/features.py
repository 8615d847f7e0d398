"""Frozen features: one forward pass per image, in evaluation mode.

A "frozen" backbone whose BatchNorm is left in training mode normalises each image with its batch's statistics and goes
on updating the running ones: the features then depend on the batch, and test images change the encoder. Here every
module is put in evaluation mode, and afterwards back into the mode it was in, one by one: a part that its owner had
frozen stays frozen.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

import torch
from torch import Tensor, nn

from medssl.errors import TrainingError
from medssl.tools.training import evaluation_mode

__all__ = ["Autocasts", "extract"]


class Autocasts(Protocol):
    """Whatever knows the precision in which an encoder runs."""

    def autocast(self) -> AbstractContextManager[object]:
        """Return the context in which the encoder runs."""


def extract(
    encoder: nn.Module,
    views: Callable[[Tensor], Tensor],
    n: int,
    *,
    precision: Autocasts | None = None,
    batch_size: int = 256,
) -> Tensor:
    """Compute the features of n images.

    The encoder is left as it was found: parameters, buffers, modes and gradients.

    Args:
        encoder: ``(N, C, H, W)`` to ``(N, F)``, on its device.
        views: Maps positions ``(N,)`` int64 to images ``(N, C, H, W)`` on the encoder's device, in the memory layout
            that the encoder runs in.
        n: How many images there are; positions run from 0 to n - 1.
        precision: The encoder runs under its autocast; ``None``: as it is.
        batch_size: Images per forward pass; the result does not depend on it beyond rounding.

    Returns:
        ``(n, F)`` float32 on the CPU. An ordinary tensor, not one of inference mode: a probe may train on it.

    Raises:
        TrainingError: Some feature is not a finite number.
    """
    found: Tensor | None = None
    autocast = contextlib.nullcontext() if precision is None else precision.autocast()
    with evaluation_mode(encoder), autocast:
        for start in range(0, n, batch_size):
            stop = min(start + batch_size, n)
            with torch.inference_mode():
                features = encoder(views(torch.arange(start, stop)))  # (N, F)
            if found is None:
                found = torch.empty(n, features.shape[1])
            found[start:stop] = features
    if found is None:
        return torch.empty(0, int(getattr(encoder, "feature_dim", 0)))
    if not bool(found.isfinite().all()):
        bad = int((~found.isfinite().all(dim=1)).sum())
        raise TrainingError(
            f"the encoder gives features that are not finite numbers for {bad} of {n} images. Its weights have "
            "diverged, or its values overflow in the precision it runs in. Train with a lower learning rate, or in "
            "float32."
        )
    return found
