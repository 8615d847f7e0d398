"""VICRegL: VICReg on pooled features, and on pairs of local features that are at the same place or similar.

Bardes et al., VICRegL: Self-Supervised Learning of Local Visual Features, NeurIPS 2022, arXiv 2210.01571. Each cell of
one view's feature map is paired with two cells of the other's: with the nearest in the image, which the geometry of the
views gives, and with the nearest in embedding space. The closest pairs of each kind enter VICReg's criterion, pair by
pair over the batch.

The global part is our VICReg. The local head and two terms of the criterion are lightly's, and the whole equals its
``VICRegLLoss`` with a single number of matches. lightly follows the authors' code, which uses 20 pairs in one direction
and 4 in the other; ours follows the paper, with 20 for two full views. If a map has fewer cells, all are paired:
ResNets give four cells for 64 px. The paper's small views are left out, as in its runs on ResNets. Distances in the
image are fractions of its sides.

It needs a backbone that pools its map by average; the class token of a transformer would not be trained.

N samples, F features, h x w cells of a map, P = h * w, M matches, D dimensions of the local embedding.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from lightly.loss.vicreg_loss import invariance_loss, variance_loss
from lightly.models.modules.heads import VicRegLLocalProjectionHead
from torch import Tensor, nn

from medssl.contracts import Batch, Encode, Fraction, NonNegative, PositiveInt, Task, ViewSpec
from medssl.errors import OptionError
from medssl_methods.vicreg import VICReg, covariance_loss

__all__ = ["VICRegL", "locate", "match"]


def locate(height: int, width: int, geometry: Tensor) -> Tensor:
    """Map the centres of a view's cells into the image, ``(N, P, 2)``, by the view's geometry ``(N, 2, 3)``."""
    y, x = ((2 * torch.arange(n, device=geometry.device) + 1) / n - 1 for n in (height, width))
    rows, columns = torch.meshgrid(y, x, indexing="ij")
    points = torch.stack([columns, rows, torch.ones_like(rows)], dim=-1).flatten(0, 1)  # (P, 3): x, y, 1
    return points @ geometry.mT


def match(z: Tensor, other: Tensor, at: Tensor, other_at: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Pair each cell with the nearest cell of the other map, and keep the closest pairs.

    Args:
        z: Embeddings ``(N, P, D)`` of one map's cells.
        other: Embeddings of the other map, ``(N, Q, D)``.
        at: Points ``(N, P, K)`` between which distances are measured: positions, or the embeddings themselves.
        other_at: Points of the other map, ``(N, Q, K)``.
        count: M; if there are fewer cells, all P are used.

    Returns:
        The embeddings of M pairs of each image, ``(N, M, D)`` twice, the closest pair first.
    """
    with torch.no_grad():
        nearest = torch.cdist(at, other_at).min(dim=2)  # (N, P)
        chosen = nearest.values.topk(min(count, z.shape[1]), dim=1, largest=False).indices  # (N, M)
        partner = nearest.indices.gather(1, chosen)
    return _take(z, chosen), _take(other, partner)


def _take(z: Tensor, cells: Tensor) -> Tensor:
    """Select cells ``(N, M)`` of a map ``(N, P, D)``."""
    return z.gather(1, cells[..., None].expand(-1, -1, z.shape[2]))


class VICRegL(VICReg):
    """VICRegL: two views with their geometry, VICReg's expander, a local head, and VICReg's criterion three times."""

    @dataclass(frozen=True, kw_only=True)
    class Config(VICReg.Config):
        """Options, in addition to those of VICReg, whose weights also apply to the local criterion.

        Attributes:
            covariance: Weight of the squared covariances between dimensions.
            global_share: Weight of the global loss; the local loss has the weight 1 minus this.
            matches: M, number of pairs of cells of each kind.
            local_dim: D, the width of every layer of the local head; ``None``: a quarter of the encoder's features.
        """

        covariance: NonNegative = 0.5  # the authors' code: the mean over the views, where VICReg uses the sum
        global_share: Fraction = 0.75  # the authors' code; 0.9 for classification only
        matches: PositiveInt = 20  # VICRegL, between full views
        local_dim: PositiveInt | None = None  # the authors' code: 512 on 2048 features

    views = ViewSpec(geometry=True)

    def __init__(self, config: Config, encoder: nn.Module, task: Task) -> None:
        super().__init__(config, encoder, task)
        if getattr(getattr(encoder, "network", encoder), "global_pool", None) == "token":
            raise OptionError(
                "VICRegL needs a backbone that pools its feature map by average. This backbone uses its class token, "
                "which the loss would not train. Choose a ResNet, or a transformer without a class token."
            )
        width = config.local_dim or max(1, task.feature_dim // 4)
        self.local_head = VicRegLLocalProjectionHead(task.feature_dim, width, width)

    def loss(self, batch: Batch, encode: Encode) -> Tensor:
        """Return the weighted sum of the global and the local loss."""
        maps = encode(batch.views, dense=True)  # (N, F, h, w) each

        def pooled(*_: Any, **__: Any) -> tuple[Tensor, ...]:
            return tuple(each.mean(dim=(2, 3)) for each in maps)

        share: float = self.config.global_share
        return share * super().loss(batch, pooled) + (1 - share) * self._local_loss(maps, batch.geometry or ())

    def _local_loss(self, maps: Sequence[Tensor], geometry: Sequence[Tensor]) -> Tensor:
        """Sum the losses of both kinds of matches; each is the mean over both directions."""
        z = [self.local_head(each.movedim(1, -1)).flatten(1, 2) for each in maps]  # (N, P, D)
        sides = [(each.shape[2], each.shape[3]) for each in maps]
        at = [locate(*side, place) for side, place in zip(sides, geometry, strict=True)]  # (N, P, 2)
        count = self.config.matches
        pairs = [match(z[a], z[b], by[a], by[b], count) for a, b in ((0, 1), (1, 0)) for by in (z, at)]
        return torch.stack([self._criterion(*pair) for pair in pairs]).sum() / 2

    def _criterion(self, z0: Tensor, z1: Tensor) -> Tensor:
        """VICReg's criterion of pairs ``(N, M, D)``: statistics of each pair over the batch, averaged over pairs."""
        covariance = torch.vmap(covariance_loss, in_dims=1)
        loss: Tensor = (
            self.config.invariance * invariance_loss(z0, z1)
            + self.config.variance * (variance_loss(z0) + variance_loss(z1)) / 2
            + self.config.covariance * (covariance(z0) + covariance(z1)).mean()
        )
        return loss
