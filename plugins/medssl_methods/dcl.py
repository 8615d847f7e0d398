"""DCL: contrastive learning without the positive pair in the denominator.

Yeh et al., Decoupled Contrastive Learning, ECCV 2022, arXiv 2110.06848, equation 6. In SimCLR's loss, the gradient of a
pair vanishes once the pair is separated from the few negatives of a small batch. DCL leaves the positive pair out of
the denominator, which removes this coupling. It therefore suits batches of 16 to 64.

The loss is our own implementation: symmetric, one log-sum-exp over the negatives of both views, and the mean over the
2N anchors instead of the paper's sum. It equals ``lightly.loss.DCLLoss`` from lightly 1.5.21 on; earlier versions added
the log-sum-exps of the two views. The loss is unbounded below, so a negative value is normal and not a sign of
divergence. The projection head is SimCLR's, from lightly.

N samples, F features, D dimensions of the embedding.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from lightly.models.modules.heads import SimCLRProjectionHead
from torch import Tensor, nn
from torch.nn import functional as F

from medssl.contracts import Batch, Encode, Method, Positive, PositiveInt, Task
from medssl.errors import TrainingError

__all__ = ["DCL", "dcl_loss"]


def dcl_loss(
    z0: Tensor, z1: Tensor, temperature: float, weight: Tensor | None = None, *, symmetric: bool = True
) -> Tensor:
    """Compute the decoupled contrastive loss of two views, the mean over all 2N anchors.

    Args:
        z0: Embeddings of the first view, ``(N, D)`` floating point of any length; N at least 2.
        z1: Embeddings of the second view, ``(N, D)``; row i belongs to the same sample as row i of ``z0``.
        temperature: Positive divisor of the cosine similarities.
        weight: Factor on each sample's positive pair, ``(N,)``; ``None`` is one.
        symmetric: ``False`` uses only the N anchors of the first view.

    Returns:
        Scalar; float32 for half-precision input, otherwise in the precision of the input.

    Raises:
        TrainingError: The batch contains a single sample.

    Source: arXiv 2110.06848, equation 6.
    """
    n = len(z0)
    if n < 2:
        raise TrainingError(
            f"DCL needs at least 2 samples in a batch, but this one has {n}. "
            "The other samples of the batch are the negatives. Set a batch size of 2 or more."
        )
    z = torch.cat([z0, z1])  # (2N, D)
    z = F.normalize(z.to(torch.promote_types(z.dtype, torch.float32)), dim=1)
    logits = z @ z.T / temperature  # (2N, 2N)
    same_sample = torch.eye(n, dtype=torch.bool, device=z.device).repeat(2, 2)  # the anchor itself and its positive
    negative = logits.masked_fill(same_sample, -torch.inf).logsumexp(dim=1)  # (2N,)
    positive = logits.diagonal(n)  # (N,): both anchors of a pair share it
    if not symmetric:
        negative = negative[:n]
    if weight is not None:
        positive = weight * positive
    return negative.mean() - positive.mean()


class DCL(Method):
    """Decoupled contrastive learning: two views, SimCLR's projection head, :func:`dcl_loss`."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            temperature: Divisor of the cosine similarities.
            hidden_dim: Width of the head's hidden layer; ``None``: the encoder's feature width.
            output_dim: D, the width of the embedding.
        """

        temperature: Positive = 0.1  # lightly's DCL benchmarks on small data; the ICIP 2023 study's code
        hidden_dim: PositiveInt | None = None  # SimCLR's code: the hidden layer is as wide as its input
        output_dim: PositiveInt = 128  # SimCLR sec. 2.3

    ranges: ClassVar[Mapping[str, str]] = {"temperature": "0.05..1:log"}  # SimCLR table 5

    def __init__(self, config: Config, encoder: nn.Module, task: Task) -> None:
        super().__init__(config, encoder, task)
        self.head = SimCLRProjectionHead(task.feature_dim, config.hidden_dim or task.feature_dim, config.output_dim)

    def loss(self, batch: Batch, encode: Encode) -> Tensor:
        """Return the decoupled contrastive loss of the batch's two views."""
        z0, z1 = (self.head(features) for features in encode(batch.views))  # (N, D) each; a view has its own statistics
        return dcl_loss(z0, z1, self.config.temperature)
