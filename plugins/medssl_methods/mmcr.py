"""MMCR: spread the mean embeddings of the images over as many directions as possible; no negatives.

Yerxa et al., Efficient Coding of Natural Images using Maximum Manifold Capacity Representations, NeurIPS 2023, arXiv
2303.03307. The views of an image are points on a sphere; the closer they are, the longer is their mean. The nuclear
norm of the matrix of means (the sum of its singular values) grows with the lengths of the means and the angles between
them, so one term pulls views together and pushes images apart.

The loss is our own implementation and equals lightly's ``MMCRLoss`` on embeddings of unit length. The head is
lightly's. The momentum encoder of the authors' ImageNet runs is left out, as in their runs on CIFAR and STL-10, whose
settings we use. There they use 40 views of each of 32 images; two views are the cheapest choice, and more views help.

N samples, V views, D dimensions of the embedding.
"""

from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge
from lightly.models.modules.heads import MMCRProjectionHead
from torch import Tensor, nn
from torch.nn import functional as F

from medssl.contracts import Batch, Encode, Method, NonNegative, PositiveInt, Task, ViewGroup, ViewSpec

__all__ = ["MMCR", "mmcr_loss"]


def mmcr_loss(z: Tensor, compression: float) -> Tensor:
    """Compute the negative nuclear norm of the images' mean embeddings, plus the mean norm of each image's own views.

    Args:
        z: Embeddings of any length, ``(V, N, D)`` floating point; V at least 2.
        compression: Weight of the second term.

    Returns:
        Scalar; without the second term at least ``-sqrt(N * min(N, D))``.
    """
    z = F.normalize(z, dim=2)
    loss: Tensor = -torch.linalg.svdvals(z.mean(dim=0)).sum()
    if compression:
        loss = loss + compression * torch.linalg.svdvals(z.transpose(0, 1)).sum(dim=1).mean()
    return loss


class MMCR(Method):
    """MMCR: two or more views, a projection head, and :func:`mmcr_loss`."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            view_count: V, number of views per image.
            compression: Weight of the nuclear norm of each image's own views.
            hidden_dim: Width of the head's hidden layer; ``None``: the encoder's feature width, 512 at most.
            output_dim: D, the width of the embedding.
        """

        view_count: Annotated[int, Ge(2)] = 2  # the minimum; the authors' code uses 8 on ImageNet, 40 on CIFAR
        compression: NonNegative = 0.0  # the authors' code
        hidden_dim: PositiveInt | None = None  # the authors' code on CIFAR: 512 on 2048 features
        output_dim: PositiveInt = 128  # the authors' code on CIFAR

    def __init__(self, config: Config, encoder: nn.Module, task: Task) -> None:
        super().__init__(config, encoder, task)
        self.views = ViewSpec((ViewGroup(count=config.view_count),))
        hidden = config.hidden_dim or min(512, task.feature_dim)
        self.head = MMCRProjectionHead(task.feature_dim, hidden, config.output_dim, num_layers=1)

    def loss(self, batch: Batch, encode: Encode) -> Tensor:
        """Return the loss over all views of the batch."""
        z = torch.stack([self.head(features) for features in encode(batch.views)])  # (V, N, D)
        return mmcr_loss(z, self.config.compression)
