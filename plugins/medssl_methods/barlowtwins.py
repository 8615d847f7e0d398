"""Barlow Twins: each dimension should correlate with itself across the views, and with no other dimension.

Zbontar et al., Barlow Twins: Self-Supervised Learning via Redundancy Reduction, ICML 2021, arXiv 2103.03230, equations
1 and 2: the cross-correlation matrix of the two views' embeddings, each dimension normalised over the batch, is driven
towards the identity. There are no negatives, no teacher and no stop-gradient.

It uses lightly's ``BarlowTwinsProjectionHead`` and ``BarlowTwinsLoss``. The paper's projector is 8192-8192-8192 on the
2048 features of ResNet-50. Ours keeps the ratio, four times the encoder's feature width: 2048 on ResNet-18, as in
lightly's benchmark on small data. The loss is a sum over dimensions, so it grows with the width. The paper's views
differ in blur and solarisation. Ours do not, because the suitable augmentation depends on the modality.

It is slow on small sets: in lightly's benchmark on Imagenette its kNN accuracy is 18 points below SimCLR's after 200
epochs and 7 points after 800. In addition, correlations over few samples are noisy: the smallest batch in the paper is
256.

N samples, D dimensions of the embedding.
"""

from dataclasses import dataclass

from lightly.loss.barlow_twins_loss import BarlowTwinsLoss
from lightly.models.modules.heads import BarlowTwinsProjectionHead
from torch import Tensor, nn

from medssl.contracts import Batch, Encode, Method, NonNegative, PositiveInt, Task

__all__ = ["BarlowTwins"]


class BarlowTwins(Method):
    """Barlow Twins: two views, a wide projector, and the cross-correlation of their embeddings."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            redundancy: Lambda, the weight of the squared correlations between different dimensions.
            hidden_dim: Width of the projector's two hidden layers; ``None``: four times the encoder's feature width.
            output_dim: D, the width of the embedding; ``None``: as wide as the hidden layers.
        """

        redundancy: NonNegative = 5e-3  # Barlow Twins sec. 2.2
        hidden_dim: PositiveInt | None = None  # Barlow Twins sec. 2.2: 8192 on 2048 features
        output_dim: PositiveInt | None = None  # Barlow Twins sec. 2.2: 8192 on 2048 features

    def __init__(self, config: Config, encoder: nn.Module, task: Task) -> None:
        super().__init__(config, encoder, task)
        hidden = config.hidden_dim or 4 * task.feature_dim
        self.projector = BarlowTwinsProjectionHead(task.feature_dim, hidden, config.output_dim or hidden)
        self.criterion = BarlowTwinsLoss(lambda_param=config.redundancy)

    def loss(self, batch: Batch, encode: Encode) -> Tensor:
        """Return the squared distance of the cross-correlation matrix from the identity, lambda off the diagonal."""
        z0, z1 = (self.projector(features) for features in encode(batch.views))  # (N, D) each
        loss: Tensor = self.criterion(z0, z1)
        return loss
