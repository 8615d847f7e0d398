"""Alignment and uniformity (Wang & Isola, ICML 2020, arXiv 2005.10242, section 4), on SimCLR's projection head."""

from dataclasses import dataclass

import torch
from lightly.models.modules import SimCLRProjectionHead
from medssl.contracts import Method, Positive
from torch.nn import functional as F


class AlignUniform(Method):
    @dataclass(frozen=True, kw_only=True)
    class Config:
        alpha: Positive = 2.0  # paper, figure 5
        t: Positive = 2.0  # likewise
        uniformity: Positive = 1.0  # paper, section 5: equal weights do well

    def __init__(self, config, encoder, task):
        super().__init__(config, encoder, task)
        self.head = SimCLRProjectionHead(task.feature_dim, task.feature_dim, 128)

    def loss(self, batch, encode):
        first, second = (F.normalize(self.head(features), dim=1) for features in encode(batch.views))
        alignment = (first - second).norm(dim=1).pow(self.config.alpha).mean()
        return alignment + self.config.uniformity * (self.spread(first) + self.spread(second)) / 2

    def spread(self, z):
        return torch.pdist(z).square().mul(-self.config.t).exp().mean().log()
