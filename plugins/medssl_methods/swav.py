"""SwAV: assign one view to prototypes, evenly over the batch, and predict the assignment from every other view.

Caron et al., Unsupervised Learning of Visual Features by Contrasting Cluster Assignments, NeurIPS 2020, arXiv
2006.09882, equations 1 to 5. The even assignment (Sinkhorn-Knopp) prevents collapse. Only the two full views are
assigned; the small views only predict, at a fraction of the cost.

It uses lightly's head, Sinkhorn iterations and ``SwaVLoss``. The prototypes are our own, because lightly's have a bias
and the paper's have none. As in the authors' code, they are normalised to unit length after each step and frozen at
first, and the head's BatchNorm sees all views together. For small sets:

- Assignments are sharper, with an ``epsilon`` of 0.02. With the paper's 0.05 and batches of 64 the loss stayed at ln K,
  the value for one representation of all images, on a toy task and on 512 chest X-rays; with 0.02 it fell on both. The
  authors' notes also advise a lower value in that case.
- A batch of 64 cannot be assigned evenly to thousands of prototypes, so earlier embeddings help, as in the paper's runs
  with small batches. A queue of both full views is used when it is full and after the fraction ``queue_start`` of the
  run. The numbers of prototypes and of rows in the queue are at most the number of training images.
- Small views have half the side of the full ones, as in lightly's benchmark on small images. The paper's ratio of 96 to
  224 px would give 27 px for our 64, less than a ResNet's stride of 32 and not a multiple of a transformer's patch.
  Each shows 5 to 14 % of an image (the authors' code). Set ``small_views`` to 0 if such a small part can miss the
  relevant structure.

N samples, V views, K prototypes, L rows in the queue, D dimensions of the embedding.
"""

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge, Gt, Le
from lightly.loss.swav_loss import SwaVLoss
from lightly.models.modules.heads import SwaVProjectionHead
from lightly.models.utils import normalize_weight
from torch import Tensor, nn
from torch.nn import functional as F

from medssl.contracts import Batch, Encode, Fraction, Method, Positive, PositiveInt, Task, ViewGroup, ViewSpec
from medssl.tools import Queue

__all__ = ["SwAV"]

_FULL = 2  # number of views that are assigned (SwAV sec. 3.2)


class SwAV(Method):
    """SwAV: two full and several small views, a projection head, prototypes, and even assignments."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            temperature: Divisor of the similarities to prototypes in the prediction.
            epsilon: Softness of the assignments; a larger value is softer, and values below 0.015 overflow.
            sinkhorn_iterations: Number of iterations that make the assignments even.
            prototypes: K; at most the number of training images is used.
            small_views: Number of small views in addition to the two full ones; 0 for none.
            small_side: Side of a small view as a fraction of the side of a full view.
            queue_length: L; at most the number of training images is used; 0 for no queue.
            queue_start: Fraction of the run before the queue is used.
            frozen_start: Fraction of the run in which the prototypes keep their initial values.
            hidden_dim: Width of the head's hidden layer; ``None``: the encoder's feature width.
            output_dim: D, the width of the embedding.
        """

        temperature: Positive = 0.1  # the authors' code
        epsilon: Annotated[float, Ge(0.015)] = 0.02  # small batches, see above; 0.05 in the authors' code
        sinkhorn_iterations: PositiveInt = 3  # the authors' code
        prototypes: PositiveInt = 3000  # the authors' code
        small_views: Annotated[int, Ge(0)] = 6  # the authors' code
        small_side: Annotated[float, Gt(0), Le(1)] = 0.5  # lightly's benchmarks on small data; 0.43 in the paper
        queue_length: Annotated[int, Ge(0)] = 3840  # the authors' code for batches of 256
        queue_start: Fraction = 0.075  # the authors' code: 15 of 200 epochs
        frozen_start: Fraction = 0.005  # the authors' code: 1 of 200 epochs
        hidden_dim: PositiveInt | None = None  # the authors' code: 2048 on 2048 features
        output_dim: PositiveInt = 128  # the authors' code

    def __init__(self, config: Config, encoder: nn.Module, task: Task) -> None:
        super().__init__(config, encoder, task)
        small = ViewGroup(count=config.small_views, scale=config.small_side, augment={"crop_scale": (0.05, 0.14)})
        self.views = ViewSpec((ViewGroup(count=_FULL), small) if config.small_views else (ViewGroup(count=_FULL),))
        self.head = SwaVProjectionHead(task.feature_dim, config.hidden_dim or task.feature_dim, config.output_dim)
        drawn = torch.randn(min(config.prototypes, task.num_samples), config.output_dim)
        self.prototypes = nn.Parameter(F.normalize(drawn, dim=1))
        length = min(config.queue_length, task.num_samples)
        self.queue = Queue(length, _FULL, config.output_dim)
        self.criterion = SwaVLoss(config.temperature, config.sinkhorn_iterations, config.epsilon)
        self._thawed = round(config.frozen_start * task.total_steps)  # steps
        self._queued = max(round(config.queue_start * task.total_steps), math.ceil(length / task.batch_size))

    def loss(self, batch: Batch, encode: Encode) -> Tensor:
        """Return the swapped cross-entropy; then add the full views' embeddings to the queue."""
        count = len(batch.views)
        z = F.normalize(self.head(torch.cat(encode(batch.views))), dim=1)  # (V * N, D)
        prototypes = self.prototypes if batch.step >= self._thawed else self.prototypes.detach()
        scores = (z @ prototypes.T).chunk(count)  # (N, K) each
        earlier = (self.queue.rows @ prototypes.T).unbind(dim=1) if batch.step >= self._queued else None  # (L, K) each
        loss: Tensor = self.criterion(scores[:_FULL], scores[_FULL:], earlier)
        self.queue.push(torch.stack(z.chunk(count)[:_FULL], dim=1))
        return loss.squeeze()

    def after_step(self, step: int, total_steps: int) -> None:  # noqa: ARG002  (all steps are treated alike)
        """Normalise the prototypes to unit length."""
        normalize_weight(self.prototypes)
