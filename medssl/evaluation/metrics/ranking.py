"""Metrics of a ranking: each is the mean over queries of a value per query.

A query's relevant samples are those of its class. A query without relevant samples has no value.

Notation: n queries, M ranked samples.
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from medssl.evaluation.metrics.metric import Metric

__all__ = ["MeanAveragePrecision", "RankingMetric", "RecallAt", "RecallAt1", "RecallAt5", "RecallAt10"]


class RankingMetric(Metric):
    """A metric of rankings."""

    targets = ("classes", "grades")

    @abstractmethod
    def per_query(self, relevant: Tensor) -> Tensor:
        """Return the value of each query, ``(n,)`` float64; NaN without a relevant sample.

        Args:
            relevant: ``(n, M)`` bool, in the order of the ranking.
        """


class MeanAveragePrecision(RankingMetric):
    """Mean over the queries of the mean, over the relevant samples, of the precision at their ranks.

    It equals scikit-learn's ``average_precision_score`` for a ranking without ties.
    """

    name = "mean_average_precision"
    title = "mAP"
    source = "Manning, Raghavan & Schütze 2008, Introduction to Information Retrieval, section 8.4"

    def per_query(self, relevant: Tensor) -> Tensor:
        """Return average precisions ``(n,)``."""
        hits = relevant.double()
        precision = hits.cumsum(dim=1) / torch.arange(1, relevant.shape[1] + 1, device=relevant.device)
        return (precision * hits).sum(dim=1) / hits.sum(dim=1)


class RecallAt(RankingMetric):
    """Share of the queries with a relevant sample among the first k.

    In information retrieval, recall is the share of all relevant samples that are among the first k. It cannot exceed k
    divided by their number, so it is of little use here.
    """

    source = "Oh Song et al. 2016, arXiv 1511.06452: recall as metric learning defines it"
    k: int

    def per_query(self, relevant: Tensor) -> Tensor:
        """Return 1 or 0, ``(n,)``."""
        return relevant[:, : self.k].any(dim=1).double().where(relevant.any(dim=1), torch.nan)


class RecallAt1(RecallAt):
    """Share of the queries whose first sample is relevant."""

    name, title, k = "recall_at_1", "recall@1", 1


class RecallAt5(RecallAt):
    """Share of the queries with a relevant sample among the first 5."""

    name, title, k = "recall_at_5", "recall@5", 5


class RecallAt10(RecallAt):
    """Share of the queries with a relevant sample among the first 10."""

    name, title, k = "recall_at_10", "recall@10", 10
