"""NNCLR: contrastive; the positive is the nearest neighbour of the other view in a queue of earlier embeddings.

Dwibedi et al., With a Little Help from My Friends: Nearest-Neighbor Contrastive Learning of Visual Representations,
ICCV 2021, arXiv 2104.14548, equations 2 and 3 and algorithm 1. A similar image is a stronger variation than any
augmentation. The negatives are the predictions of the batch's other samples.

It uses lightly's heads. The loss is the paper's algorithm 1. lightly's example uses ``NTXentLoss`` instead, with
negatives from both sides. The queue is our own, because lightly's memory bank is lost when a run continues. The queue
(the paper's support set) has at most as many embeddings as there are training images, because a longer queue would
contain images twice. It starts with random directions, so the first epoch learns little. A neighbour is useful only if
the set contains several similar images. The heads keep the paper's ratios to ResNet-50's 2048 features.

N samples, L embeddings in the queue, D dimensions of the embedding.
"""

from dataclasses import dataclass

import torch
from lightly.models.modules.heads import NNCLRPredictionHead, NNCLRProjectionHead
from torch import Tensor, nn
from torch.nn import functional as F

from medssl.contracts import Batch, Encode, Method, Positive, PositiveInt, Task
from medssl.tools import Queue
from medssl_methods._contrast import info_nce

__all__ = ["NNCLR", "nearest"]


@torch.no_grad()
def nearest(z: Tensor, rows: Tensor) -> Tensor:
    """Replace each embedding ``(N, D)`` by the most similar row, by cosine, of ``(L, D)``, which has unit length."""
    return rows[(F.normalize(z, dim=1) @ rows.T).argmax(dim=1)]


class NNCLR(Method):
    """NNCLR: two views, a projector, a predictor, and a queue in which neighbours are found."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            temperature: Divisor of the cosine similarities.
            queue_length: L, number of embeddings in the queue; at most the number of training images is used.
            projection_hidden_dim: Width of the projector's two hidden layers; ``None``: the encoder's feature width.
            prediction_hidden_dim: Width of the predictor's hidden layer; ``None``: twice the encoder's feature width.
            output_dim: D, the width of the embedding.
        """

        temperature: Positive = 0.1  # NNCLR sec. 4.1
        queue_length: PositiveInt = 4096  # lightly's benchmarks on small data; 98304 on ImageNet (NNCLR sec. 4.1)
        projection_hidden_dim: PositiveInt | None = None  # NNCLR sec. 4.1: 2048 on 2048 features
        prediction_hidden_dim: PositiveInt | None = None  # NNCLR sec. 4.1: 4096 on 2048 features
        output_dim: PositiveInt = 256  # NNCLR sec. 4.1

    def __init__(self, config: Config, encoder: nn.Module, task: Task) -> None:
        super().__init__(config, encoder, task)
        width, output = task.feature_dim, config.output_dim
        self.projector = NNCLRProjectionHead(width, config.projection_hidden_dim or width, output)
        self.predictor = NNCLRPredictionHead(output, config.prediction_hidden_dim or 2 * width, output)
        self.queue = Queue(min(config.queue_length, task.num_samples), output)

    def loss(self, batch: Batch, encode: Encode) -> Tensor:
        """Return the symmetric loss of neighbours and predictions; then queue the first view's embeddings."""
        z0, z1 = (self.projector(features) for features in encode(batch.views))  # (N, D) each
        p0, p1 = self.predictor(z0), self.predictor(z1)
        n0, n1 = nearest(z0, self.queue.rows), nearest(z1, self.queue.rows)
        self.queue.push(z0)
        temperature = self.config.temperature
        return (info_nce(n0, p1, temperature) + info_nce(n1, p0, temperature)) / 2
