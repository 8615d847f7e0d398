"""DCLW: decoupled contrastive learning that gives more weight to pairs whose views agree least.

Yeh et al., Decoupled Contrastive Learning, ECCV 2022, arXiv 2110.06848: equation 6 with the positive pair of sample i
multiplied by the negative von Mises-Fisher weight ``w_i = 2 - N * softmax(cos / sigma)_i`` over the batch. The mean of
the weights over a batch is exactly 1. A weight is negative if one pair agrees much better than the others; this pair is
then pushed apart in that step. The paper does not clip the weight, and we do not either.

The weights are our own implementation, on :func:`medssl_methods.dcl.dcl_loss`. No gradient flows through them, because
they only say how much a pair counts. Values and gradients equal ``lightly.loss.DCLWLoss`` from lightly 1.5.21 on,
without the warning that it raises at each step. The code of the ICIP 2023 study calls this loss DCL, takes anchors only
from the first view and differentiates the weights; the options ``symmetric`` and ``detach_weight`` reproduce this. The
projection head is SimCLR's, from lightly.

N samples, F features, D dimensions of the embedding.
"""

from dataclasses import dataclass

import torch
from lightly.models.modules.heads import SimCLRProjectionHead
from torch import Tensor, nn
from torch.nn import functional as F

from medssl.contracts import Batch, Encode, Method, Positive, PositiveInt, Task
from medssl_methods.dcl import dcl_loss

__all__ = ["DCLW", "dclw_loss", "von_mises_fisher_weight"]


def von_mises_fisher_weight(z0: Tensor, z1: Tensor, sigma: float) -> Tensor:
    """Compute a weight for the positive pair of each sample: higher if its views agree less than others in the batch.

    Args:
        z0: Embeddings of the first view, ``(N, D)``, of any length.
        z1: Embeddings of the second view, ``(N, D)``.
        sigma: Positive divisor of the cosine similarities; a large one makes all weights equal.

    Returns:
        ``(N,)`` in ``(2 - N, 2)``, mean 1.
    """
    dtype = torch.promote_types(z0.dtype, torch.float32)
    similarity = F.cosine_similarity(z0.to(dtype), z1.to(dtype), dim=1)  # (N,)
    return 2 - len(z0) * torch.softmax(similarity / sigma, dim=0)


def dclw_loss(
    z0: Tensor,
    z1: Tensor,
    temperature: float,
    sigma: float,
    *,
    symmetric: bool = True,
    detach_weight: bool = True,
) -> Tensor:
    """Compute the weighted decoupled contrastive loss of two views, the mean over all 2N anchors.

    Args:
        z0: Embeddings of the first view, ``(N, D)`` floating point of any length; N at least 2.
        z1: Embeddings of the second view, ``(N, D)``; row i belongs to the same sample as row i of ``z0``.
        temperature: Positive divisor of the cosine similarities in the loss.
        sigma: Positive divisor of the cosine similarities in the weights.
        symmetric: ``False`` uses only the N anchors of the first view.
        detach_weight: ``False`` lets the gradient flow through the weights.

    Returns:
        Scalar; float32 for half-precision input, otherwise in the precision of the input.

    Raises:
        TrainingError: The batch contains a single sample.
    """
    weight = von_mises_fisher_weight(z0, z1, sigma)
    return dcl_loss(z0, z1, temperature, weight.detach() if detach_weight else weight, symmetric=symmetric)


class DCLW(Method):
    """Weighted decoupled contrastive learning: two views, SimCLR's projection head, :func:`dclw_loss`."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            temperature: Divisor of the cosine similarities in the loss.
            sigma: Divisor of the cosine similarities in the weights.
            symmetric: Whether both views provide anchors; ``False``: only the first.
            detach_weight: Whether the weights are constants for the gradient.
            hidden_dim: Width of the head's hidden layer; ``None``: the encoder's feature width.
            output_dim: D, the width of the embedding.
        """

        temperature: Positive = 0.1  # lightly's DCLW benchmarks on small data; the ICIP 2023 study's code
        sigma: Positive = 0.5  # as above
        symmetric: bool = True  # DCL equation 6 sums over both views
        detach_weight: bool = True  # lightly since 1.5.21
        hidden_dim: PositiveInt | None = None  # SimCLR's code: the hidden layer is as wide as its input
        output_dim: PositiveInt = 128  # SimCLR sec. 2.3

    def __init__(self, config: Config, encoder: nn.Module, task: Task) -> None:
        super().__init__(config, encoder, task)
        self.head = SimCLRProjectionHead(task.feature_dim, config.hidden_dim or task.feature_dim, config.output_dim)

    def loss(self, batch: Batch, encode: Encode) -> Tensor:
        """Return the weighted decoupled contrastive loss of the batch's two views."""
        z0, z1 = (self.head(features) for features in encode(batch.views))  # (N, D) each; a view has its own statistics
        config = self.config
        return dclw_loss(
            z0,
            z1,
            config.temperature,
            config.sigma,
            symmetric=config.symmetric,
            detach_weight=config.detach_weight,
        )
