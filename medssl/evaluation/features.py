"""Frozen features: one forward pass per image, in evaluation mode.

If the BatchNorm layers of a "frozen" backbone stay in training mode, they normalise each image with the statistics of
its batch and update their running statistics. The features then depend on the batch, and test images change the
encoder. Here every module is set to evaluation mode and afterwards restored to its previous mode, one by one, so a part
that the caller had frozen stays frozen.
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
    """An object that knows the precision of an encoder."""

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

    The encoder is unchanged afterwards: parameters, buffers, modes and gradients.

    Args:
        encoder: ``(N, C, H, W)`` to ``(N, F)``, on its device.
        views: Maps positions ``(N,)`` int64 to images ``(N, C, H, W)`` on the encoder's device, in the memory layout
            of the encoder.
        n: Number of images; positions run from 0 to n - 1.
        precision: The encoder runs under its autocast; ``None``: without autocast.
        batch_size: Images per forward pass; it changes the result only by rounding.

    Returns:
        ``(n, F)`` float32 on the CPU. It is not an inference-mode tensor, so a classifier can be trained on it.

    Raises:
        TrainingError: A feature is not finite.
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
            "diverged, or its values overflow in its precision. Train with a lower learning rate, or in "
            "float32."
        )
    return found
