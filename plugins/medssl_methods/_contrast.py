"""InfoNCE in one direction: a query finds its own key among the others."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["info_nce"]


def info_nce(queries: Tensor, keys: Tensor, temperature: float, negatives: Tensor | None = None) -> Tensor:
    """Compute the cross-entropy of each query's own key against the negatives, by cosine similarity; mean over queries.

    Args:
        queries: ``(N, D)`` of any length.
        keys: ``(N, D)`` of any length; row i is the positive of query i.
        temperature: Positive divisor of the cosines.
        negatives: ``(L, D)`` of unit length, the same for all queries; ``None``: the keys of the other N - 1 samples.

    Returns:
        Scalar.

    Source: MoCo, arXiv 1911.05722, equation 1.
    """
    q, k = F.normalize(queries, dim=1), F.normalize(keys, dim=1)
    if negatives is None:
        logits, own = q @ k.T, torch.arange(len(q), device=q.device)  # (N, N)
    else:
        positive = (q * k).sum(dim=1, keepdim=True)
        logits, own = torch.cat([positive, q @ negatives.T], dim=1), q.new_zeros(len(q), dtype=torch.long)  # (N, 1 + L)
    return F.cross_entropy(logits / temperature, own)
