"""FastSiam: SimSiam with four views; each view predicts the mean embedding of the other three.

Pototzky, Sultan and Schmidt-Thieme, FastSiam: Resource-Efficient Self-Supervised Learning on a Single GPU, GCPR 2022,
doi 10.1007/978-3-031-16788-1_4. SimSiam's target is one random view, which makes training unstable. The mean of several
views is more stable, so training converges in fewer epochs and with batches of 32. A step costs twice as much as with
SimSiam.

The heads are those of our SimSiam, with its widths and its two layers for small encoders. The loss is lightly's
``NegativeCosineSimilarity``, averaged over the views; with two views it equals SimSiam's. The mean of the embeddings is
a constant (stop-gradient). Like SimSiam it can collapse, at a loss of -1.

N samples, V views, D dimensions of the embedding.
"""

from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge
from lightly.loss.negative_cosine_similarity import NegativeCosineSimilarity
from lightly.models.modules.heads import SimSiamPredictionHead
from torch import Tensor, nn

from medssl.contracts import Batch, Encode, Method, PositiveInt, Task, ViewGroup, ViewSpec
from medssl_methods.simsiam import projector

__all__ = ["FastSiam"]


class FastSiam(Method):
    """FastSiam: several views, a projector, a bottleneck predictor, and a mean target without gradient."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            view_count: V, number of views per sample; a target is the mean of V - 1 views.
            projection_dim: D, the width of every layer of the projector; ``None``: four times the encoder's feature
                width, 2048 at most.
            projection_layers: Number of layers of the projector.
            prediction_dim: Width of the predictor's bottleneck; ``None``: a quarter of ``projection_dim``.
        """

        view_count: Annotated[int, Ge(2)] = 4  # three targets and one prediction, as in the paper and lightly
        projection_dim: PositiveInt | None = None  # SimSiam sec. 3 and appendix D
        projection_layers: Annotated[int, Ge(2)] = 2  # SimSiam appendix D (CIFAR-10); 3 on ImageNet
        prediction_dim: PositiveInt | None = None  # SimSiam appendix B

    def __init__(self, config: Config, encoder: nn.Module, task: Task) -> None:
        super().__init__(config, encoder, task)
        self.views = ViewSpec((ViewGroup(count=config.view_count),))
        width = config.projection_dim or min(2048, 4 * task.feature_dim)
        self.projector = projector(task.feature_dim, width, config.projection_layers)
        self.predictor = SimSiamPredictionHead(width, config.prediction_dim or max(1, width // 4), width)
        self.criterion = NegativeCosineSimilarity()

    def loss(self, batch: Batch, encode: Encode) -> Tensor:
        """Return the mean over the views of the negative cosine similarity to the others' mean, in [-1, 1]."""
        embeddings = [self.projector(features) for features in encode(batch.views)]  # (N, D) each
        total = torch.stack(embeddings).detach().sum(dim=0)
        targets = [(total - z.detach()) / (len(embeddings) - 1) for z in embeddings]
        losses = [self.criterion(self.predictor(z), target) for z, target in zip(embeddings, targets, strict=True)]
        return torch.stack(losses).mean()
