"""VICReg: pull views together, keep the variance of every dimension, and decorrelate the dimensions.

Bardes et al., VICReg: Variance-Invariance-Covariance Regularization for Self-Supervised Learning, ICLR 2022, arXiv
2105.04906, equation 6.

It uses lightly's invariance and variance terms and its ``VICRegProjectionHead``, and equals its ``VICRegLoss``. The
covariance term is our own: in a small batch the Gram matrix of the samples has the same sum of squares as the
covariance matrix of the dimensions, and is a hundred times smaller. The loss follows the authors' code, which halves
the variance term of the paper's text. In half precision its sums would overflow; the core computes every loss in
float32, so no cast is needed here. At exact collapse the loss is 0.99 of the variance weight and its gradient is zero,
so it cannot recover.

Because of its weights of 25, the learning rates of other methods give too large steps: at 0.06 (SGD, batch 64) the loss
became NaN after five steps on radiographs. The default recipe uses 0.01 for this method.

The paper's expander is 8192-8192-8192 on the 2048 features of ResNet-50. Ours keeps the ratio: four times the encoder's
feature width, 2048 on ResNet-18, the width that lightly's benchmark on small data also uses. With 8192 the expander
would have twelve times the weights of ResNet-18 itself. The covariance of N samples has a rank of at most N - 1, so do
not expect much from a batch of 16.

N samples, D dimensions of the embedding.
"""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge
from lightly.loss.vicreg_loss import invariance_loss, variance_loss
from lightly.models.modules.heads import VICRegProjectionHead
from torch import Tensor, nn

from medssl.contracts import Batch, Encode, Method, NonNegative, PositiveInt, Task

__all__ = ["VICReg", "covariance_loss"]


def covariance_loss(z: Tensor) -> Tensor:
    """Compute the mean over the dimensions of the squared covariances with the other dimensions.

    The sum of squares over a whole covariance matrix ``X.T @ X`` equals that over ``X @ X.T``, which is ``(N, N)``; the
    variances on its diagonal are subtracted.

    Args:
        z: Embeddings, ``(N, D)`` float32; N at least 2.

    Returns:
        Scalar.

    Source: arXiv 2105.04906, equation 4.
    """
    n, d = z.shape
    x = z - z.mean(dim=0)
    products = x @ x.T if n < d else x.T @ x
    off_diagonal = products.square().sum() - x.square().sum(dim=0).square().sum()
    return off_diagonal / ((n - 1) ** 2 * d)


class VICReg(Method):
    """VICReg: two views, an expander, and the sum of an invariance, a variance and a covariance term."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            invariance: Weight of the mean squared distance between the views.
            variance: Weight of the hinge that keeps each dimension's standard deviation at 1 or above.
            covariance: Weight of the squared covariances between dimensions.
            hidden_dim: Width of the expander's hidden layers; ``None``: four times the encoder's feature width.
            output_dim: D, the width of the embedding; ``None``: as wide as the hidden layers.
            layers: Number of layers of the expander.
        """

        invariance: NonNegative = 25.0  # VICReg sec. 4.2
        variance: NonNegative = 25.0  # VICReg sec. 4.2
        covariance: NonNegative = 1.0  # VICReg sec. 4.2
        hidden_dim: PositiveInt | None = None  # VICReg sec. 4.2: 8192 on 2048 features
        output_dim: PositiveInt | None = None  # VICReg sec. 4.2: 8192 on 2048 features
        layers: Annotated[int, Ge(2)] = 3  # VICReg sec. 4.2

    def __init__(self, config: Config, encoder: nn.Module, task: Task) -> None:
        super().__init__(config, encoder, task)
        hidden = config.hidden_dim or 4 * task.feature_dim
        self.expander = VICRegProjectionHead(task.feature_dim, hidden, config.output_dim or hidden, config.layers)

    def loss(self, batch: Batch, encode: Encode) -> Tensor:
        """Return the weighted sum of the three terms on the batch's two views."""
        z0, z1 = (self.expander(features) for features in encode(batch.views))  # (N, D) each
        weights = self.config
        loss: Tensor = (
            weights.invariance * invariance_loss(z0, z1)
            + weights.variance * (variance_loss(z0) + variance_loss(z1)) / 2
            + weights.covariance * (covariance_loss(z0) + covariance_loss(z1))
        )
        return loss
