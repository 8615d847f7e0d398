"""SimSiam: predict one view's embedding from the other's, without negatives and without a teacher.

Chen and He, Exploring Simple Siamese Representation Learning, CVPR 2021, arXiv 2011.10566, equation 4: the negative
cosine similarity between the prediction from one view and the embedding of the other, averaged over both directions.
The embedding is a constant for the gradient (stop-gradient), and the predictor is a bottleneck. Without either the
network collapses to one point (figure 2 and table 1). The loss does not show this: it reaches -1, its best value.

It uses lightly's ``NegativeCosineSimilarity``, its prediction head and its generic projection head. Two settings differ
from the authors' ImageNet runs. The projector has two layers, as in their CIFAR-10 runs on ResNet-18 (appendix D). The
predictor's learning rate follows the schedule of all other weights, whereas theirs stays constant: 67.7 % instead of
68.1 % on ImageNet (table 1). The code of the ICIP 2023 study has no predictor: the collapsing row of table 1.

SimSiam is unstable on small sets: it needs more epochs than the contrastive methods and can collapse. If the validation
kNN does not rise, or the spread of the features falls to zero, lower the learning rate or use another method.

N samples, D dimensions of the embedding.
"""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge
from lightly.loss.negative_cosine_similarity import NegativeCosineSimilarity
from lightly.models.modules.heads import ProjectionHead, SimSiamPredictionHead
from torch import Tensor, nn

from medssl.contracts import Batch, Encode, Method, PositiveInt, Task

__all__ = ["SimSiam", "projector"]


def projector(feature_dim: int, width: int, layers: int) -> ProjectionHead:
    """Build the projector: every layer has the width ``width`` and BatchNorm, the last without ReLU, scale and shift.

    lightly's ``SimSiamProjectionHead`` is the same with three layers.
    """
    widths = [feature_dim] + [width] * (layers - 1)
    hidden = [(size, width, nn.BatchNorm1d(width), nn.ReLU()) for size in widths[:-1]]
    return ProjectionHead([*hidden, (widths[-1], width, nn.BatchNorm1d(width, affine=False), None)])


class SimSiam(Method):
    """SimSiam: two views, a projector, a bottleneck predictor, and a stop-gradient on the target."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            projection_dim: D, the width of every layer of the projector; ``None``: four times the encoder's feature
                width, 2048 at most. That is the authors' 2048 on ResNet-18 (512 features) and on ResNet-50 (2048), and
                less on a narrower encoder.
            projection_layers: Number of layers of the projector.
            prediction_dim: Width of the predictor's bottleneck; ``None``: a quarter of ``projection_dim``.
            predictor: ``False`` leaves out the predictor, as the ICIP 2023 study's code does, to show the collapse.
        """

        projection_dim: PositiveInt | None = None  # SimSiam sec. 3 and appendix D
        projection_layers: Annotated[int, Ge(2)] = 2  # SimSiam appendix D (CIFAR-10); 3 on ImageNet
        prediction_dim: PositiveInt | None = (
            None  # SimSiam appendix B: a quarter in all runs; the full width is less stable
        )
        predictor: bool = True  # SimSiam sec. 4.1: without one it collapses

    def __init__(self, config: Config, encoder: nn.Module, task: Task) -> None:
        super().__init__(config, encoder, task)
        width = config.projection_dim or min(2048, 4 * task.feature_dim)
        self.projector = projector(task.feature_dim, width, config.projection_layers)
        bottleneck = config.prediction_dim or max(1, width // 4)
        self.predictor = SimSiamPredictionHead(width, bottleneck, width) if config.predictor else nn.Identity()
        self.criterion = NegativeCosineSimilarity()

    def loss(self, batch: Batch, encode: Encode) -> Tensor:
        """Return the symmetric negative cosine similarity of the batch's two views, in [-1, 1]."""
        z0, z1 = (self.projector(features) for features in encode(batch.views))  # (N, D) each
        p0, p1 = self.predictor(z0), self.predictor(z1)  # (N, D) each; a view has its own statistics
        loss: Tensor = (self.criterion(p0, z1.detach()) + self.criterion(p1, z0.detach())) / 2
        return loss
