"""The latest embeddings, kept from step to step."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["Queue"]


class Queue(nn.Module):
    """First in, first out. A buffer, so that a resumed run goes on with what it held.

    It begins with random directions from torch's global generator, as in MoCo's code.

    Attributes:
        rows: ``(L, ..., D)`` float32, the oldest first. Replaced, not written to, by :meth:`push`: what a loss has
            computed from it stays valid for the backward pass.

    Args:
        length: L; 0 keeps nothing.
        shape: Of one row: D, after further axes where a row holds several embeddings.
    """

    rows: Tensor

    def __init__(self, length: int, *shape: int) -> None:
        super().__init__()
        self.register_buffer("rows", F.normalize(torch.randn(length, *shape), dim=-1))

    def push(self, z: Tensor) -> None:
        """Append ``(N, ..., D)`` embeddings at unit length and without gradient; as many of the oldest go."""
        newest = F.normalize(z.detach(), dim=-1)
        self.rows = torch.cat([self.rows, newest])[len(z) :].clone()  # a mere slice would save the dropped rows too
