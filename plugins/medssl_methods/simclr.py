"""SimCLR: distinguish the other view of a sample from all other views of the batch.

Chen et al., A Simple Framework for Contrastive Learning of Visual Representations, ICML 2020, arXiv 2002.05709,
equation 1 (NT-Xent), the mean over both views as anchors.

It uses lightly's ``NTXentLoss``, without a memory bank, and its ``SimCLRProjectionHead``: two layers with batch
normalisation after both, as in the authors' code. The default temperature is the paper's for CIFAR-10, not the 0.1 of
its ImageNet runs. The negatives of an anchor are the 2N - 2 views of the other samples in the batch, so small batches
give a weaker training signal; DCL was designed for them.

N samples, D dimensions of the embedding.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from lightly.loss.ntx_ent_loss import NTXentLoss
from lightly.models.modules.heads import SimCLRProjectionHead
from torch import Tensor, nn

from medssl.contracts import Batch, Encode, Method, Positive, PositiveInt, Task

__all__ = ["SimCLR"]


class SimCLR(Method):
    """SimCLR: two views, a two-layer projection head, the NT-Xent loss."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            temperature: Divisor of the cosine similarities.
            hidden_dim: Width of the head's hidden layer; ``None``: the encoder's feature width.
            output_dim: D, the width of the embedding.
        """

        temperature: Positive = 0.5  # SimCLR B.9 (CIFAR-10); lightly's benchmarks on small data
        hidden_dim: PositiveInt | None = None  # SimCLR's code: the hidden layer is as wide as its input
        output_dim: PositiveInt = 128  # SimCLR sec. 2.3

    ranges: ClassVar[Mapping[str, str]] = {"temperature": "0.05..1:log"}  # SimCLR table 5

    def __init__(self, config: Config, encoder: nn.Module, task: Task) -> None:
        super().__init__(config, encoder, task)
        self.head = SimCLRProjectionHead(task.feature_dim, config.hidden_dim or task.feature_dim, config.output_dim)
        self.criterion = NTXentLoss(temperature=config.temperature)

    def loss(self, batch: Batch, encode: Encode) -> Tensor:
        """Return the NT-Xent loss of the batch's two views."""
        z0, z1 = (self.head(features) for features in encode(batch.views))  # (N, D) each; a view has its own statistics
        loss: Tensor = self.criterion(z0, z1)
        return loss
