"""Distillation: a small encoder learns on your images to give the features of a large frozen one, the teacher.

Each image is encoded once by both networks, from the same random view (Beyer et al., Knowledge distillation: A good
teacher is patient and consistent, CVPR 2022, arXiv 2106.05237, sec. 3). The loss is a sum of three parts:

- cosine: one minus the cosine similarity of a linear map of the student's features with the teacher's (Ranzinger et
  al., AM-RADIO, CVPR 2024, arXiv 2312.06709, sec. 3.3);
- distance: the Huber loss of the distances between images in both spaces, each divided by their mean (Park et al.,
  Relational Knowledge Distillation, CVPR 2019, arXiv 1904.05068, equations 4 to 6);
- angle: the Huber loss of the cosines of the angles that three images form (equations 7 and 8).

The relations need no map between the two spaces, so they act on the features that are evaluated. As in the authors'
code, means are over all pairs and triples, those of an image with itself included; these add nothing.

The teacher has its own normalisation and image size; views are resized to it. Warnings about its licence and its
training images are in the result.

N samples, F features of the student, T of the teacher.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medssl.contracts import Batch, Encode, Method, NonNegative, Task, ViewGroup, ViewSpec
from medssl.errors import OptionError

__all__ = ["Distill", "angle_loss", "cosine_loss", "distance_loss"]


class Distill(Method):
    """Distillation: one view, a frozen teacher, and losses on features and on relations between images."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            teacher: The encoder to learn from, as ``--encoder`` takes it: a name of ``medssl list encoders``, a
                repository, a weights file, or the folder of a run.
            cosine: Weight of the cosine loss.
            distance: Weight of the loss on distances.
            angle: Weight of the loss on angles.
        """

        teacher: str = "dinov2-s"  # free to use and without a gate
        cosine: NonNegative = 1.0  # AM-RADIO sec. 3.3
        distance: NonNegative = 1.0  # the code of RKD's authors
        angle: NonNegative = 2.0  # the code of RKD's authors

    encoders: ClassVar[tuple[str, ...]] = ("teacher",)
    views = ViewSpec((ViewGroup(count=1),))

    def __init__(self, config: Config, encoder: nn.Module, task: Task) -> None:
        super().__init__(config, encoder, task)
        if not config.cosine + config.distance + config.angle:
            raise OptionError(
                "all three losses of distill have the weight 0, so nothing would be learnt. Set cosine, distance or "
                "angle above 0."
            )
        teacher = task.load_encoder(config.teacher)
        self._teacher = (teacher,)  # a tuple keeps torch from registering it: it is not saved with every state
        self.head = nn.Linear(task.feature_dim, int(teacher.feature_dim))  # type: ignore[arg-type]

    def loss(self, batch: Batch, encode: Encode) -> Tensor:
        """Return the weighted sum of the three losses."""
        config = self.config
        with torch.no_grad():
            (wanted,) = encode(batch.views, self._teacher[0])  # (N, T)
        (found,) = encode(batch.views)  # (N, F)
        total: Tensor = config.cosine * cosine_loss(self.head(found), wanted)
        if config.distance:
            total = total + config.distance * distance_loss(found, wanted)
        if config.angle:
            total = total + config.angle * angle_loss(found, wanted)
        return total


def cosine_loss(found: Tensor, wanted: Tensor) -> Tensor:
    """Return one minus the mean cosine similarity of ``(N, T)`` and ``(N, T)``: 0 to 2."""
    return 1 - F.cosine_similarity(found, wanted, dim=1).mean()


def distance_loss(found: Tensor, wanted: Tensor) -> Tensor:
    """Return the Huber loss of the distances between the rows of ``(N, F)`` and of ``(N, T)``, each over its mean."""
    return F.smooth_l1_loss(_distances(found), _distances(wanted))


def angle_loss(found: Tensor, wanted: Tensor) -> Tensor:
    """Return the Huber loss of the cosines at each row between each two others, of ``(N, F)`` and of ``(N, T)``."""
    return F.smooth_l1_loss(_angles(found), _angles(wanted))


def _distances(x: Tensor) -> Tensor:
    """Return the distances between rows, divided by their mean over pairs of different rows: ``(N, N)``."""
    apart = (x[:, None] - x[None]).square().sum(dim=2)
    other = ~torch.eye(len(x), dtype=torch.bool, device=x.device)
    distances = torch.where(other, apart.clamp_min(1e-12), 1).sqrt() * other  # the root has no gradient at 0
    return distances / distances.sum().clamp_min(1e-12) * other.sum()


def _angles(x: Tensor) -> Tensor:
    """Return the cosines of the angles at each row i between the directions to rows j and k: ``(N, N, N)``."""
    directions = F.normalize(x[None] - x[:, None], dim=2)
    return directions @ directions.transpose(1, 2)
