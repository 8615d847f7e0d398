"""A queue of the latest embeddings."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["Queue"]


class Queue(nn.Module):
    """First in, first out. It is a buffer, so that a continued run keeps its content.

    Its initial content is random directions from torch's global generator, as in MoCo's code.

    Attributes:
        rows: ``(L, ..., D)`` float32, the oldest first. :meth:`push` replaces it instead of writing into it, so that
            the backward pass of a loss computed from it stays valid.

    Args:
        length: L; 0 for an empty queue.
        shape: Shape of one row: D, after further axes if a row has several embeddings.
    """

    rows: Tensor

    def __init__(self, length: int, *shape: int) -> None:
        super().__init__()
        self.register_buffer("rows", F.normalize(torch.randn(length, *shape), dim=-1))

    def push(self, z: Tensor) -> None:
        """Append embeddings ``(N, ..., D)`` at unit length and without gradient; drop as many of the oldest."""
        newest = F.normalize(z.detach(), dim=-1)
        # without clone, a state would contain the dropped rows too
        self.rows = torch.cat([self.rows, newest])[len(z) :].clone()
