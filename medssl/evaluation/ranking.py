"""Metrics of a ranking: test images ask, training images of the same class are what should come first.

* Average precision of a query: the mean, over its relevant samples, of the precision at their ranks (Manning, Raghavan
  & Schütze, Introduction to Information Retrieval, 2008, section 8.4). Its mean over the queries is mAP. It equals
  scikit-learn's ``average_precision_score`` for a ranking without ties.
* Recall at k of a query: 1 where one of the k first samples is relevant, else 0 (Oh Song et al. 2016, arXiv 1511.06452,
  the definition of metric learning). The share of all relevant samples among the first k, which information retrieval
  calls recall, cannot exceed k over their number and says little here.

A query whose class has no training sample has no relevant sample and is left out. Intervals resample queries, by group
where groups are known, as those of :mod:`medssl.evaluation.scoring`.

Legend: n queries (test samples), M ranked (training) samples, B resamples at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from medssl.errors import DataError, PluginError
from medssl.evaluation.scoring import draw_weights
from medssl.settings import EvaluateSettings

__all__ = ["RANKING_METRICS", "average_precision", "recall_at", "score_ranking"]

_KS = (1, 5, 10)
RANKING_METRICS = ("mean_average_precision", *(f"recall_at_{k}" for k in _KS))

_QUERIES = 256  # ranked at a time
_CHUNK = 2**20  # weights held at a time: 8 MiB stay in a processor's cache

Array = np.ndarray[Any, np.dtype[Any]]


def average_precision(relevant: Tensor) -> Tensor:
    """Return each query's average precision ``(n,)`` float64; NaN without a relevant sample.

    Args:
        relevant: ``(n, M)`` bool, in the order of the ranking.
    """
    hits = relevant.double()
    precision = hits.cumsum(dim=1) / torch.arange(1, relevant.shape[1] + 1, device=relevant.device)
    return (precision * hits).sum(dim=1) / hits.sum(dim=1)


def recall_at(k: int, relevant: Tensor) -> Tensor:
    """Return 1 for each query with a relevant sample among its first k, else 0: ``(n,)`` float64; NaN without any."""
    return relevant[:, :k].any(dim=1).double().where(relevant.any(dim=1), torch.nan)


def score_ranking(
    rank: Callable[[Tensor], Tensor],
    x: Tensor,
    labels: Tensor,
    ranked_labels: Tensor,
    groups: Array | None,
    settings: EvaluateSettings,
    seed: int,
) -> dict[str, Any]:
    """Compute every ranking metric with its interval.

    Args:
        rank: Maps features ``(n, F)`` to ``(n, M)`` int64: positions of all M ranked samples, the most alike first.
        x: ``(n, F)``, features of the queries.
        labels: ``(n,)`` int64.
        ranked_labels: ``(M,)`` int64.
        groups: ``(n,)``, equal for queries of one group; ``None`` where groups are not known.
        settings: Number of resamples, and the intervals' confidence.
        seed: Of the resamples.

    Returns:
        For each name in :data:`RANKING_METRICS` ``{"value", "low", "high"}``; ``n`` queries that were scored,
        ``n_ranked`` (M), ``n_left_out`` for want of a training sample of their class; ``bootstrap``. Plain values.

    Raises:
        DataError: No query has a relevant sample.
        PluginError: A row is no permutation of the M positions.
    """
    parts = [_per_query(rows, ranked_labels, own) for rows, own in _in_batches(rank, x, labels, len(ranked_labels))]
    values = torch.cat(parts).numpy() if parts else np.empty((0, len(RANKING_METRICS)))  # (n, metrics)
    known = ~np.isnan(values).any(axis=1)
    if not known.any():
        raise DataError(
            "no test image has a training image of its class, so nothing can be retrieved. Check the split."
        )
    values = values[known]
    units = np.arange(len(values)) if groups is None else np.unique(groups[known], return_inverse=True)[1].reshape(-1)
    resamples = settings.bootstrap if units.max() else 0
    drawn = list(_resampled_means(values, units, resamples, seed))
    tails = ((1 - settings.confidence) / 2, (1 + settings.confidence) / 2)
    ends = np.quantile(np.concatenate(drawn), tails, axis=0) if drawn else None
    result: dict[str, Any] = {
        name: {
            "value": float(values[:, i].mean()),
            "low": None if ends is None else float(ends[0, i]),
            "high": None if ends is None else float(ends[1, i]),
        }
        for i, name in enumerate(RANKING_METRICS)
    }
    return result | {
        "n": len(values),
        "n_ranked": len(ranked_labels),
        "n_left_out": int((~known).sum()),
        "bootstrap": {
            "resamples": resamples,
            "confidence": settings.confidence,
            "unit": "sample" if groups is None else "group",
        },
    }


def _in_batches(
    rank: Callable[[Tensor], Tensor], x: Tensor, labels: Tensor, size: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield rankings ``(at most 256, M)`` with their queries' labels: all at once would take n x M numbers."""
    for part, own in zip(torch.split(x, _QUERIES), torch.split(labels, _QUERIES), strict=True):
        rows = rank(part).cpu()
        complete = rows.shape == (len(part), size) and bool((rows.sort(dim=1).values == torch.arange(size)).all())
        if not complete:
            raise PluginError(
                f"a ranking must name each of the {size} training samples once for each of {len(part)} queries. "
                f"It has the shape {tuple(rows.shape)}, or names some twice. Check rank() of the evaluator."
            )
        yield rows, own


def _per_query(rows: Tensor, ranked_labels: Tensor, labels: Tensor) -> Tensor:
    """Return ``(n, metrics)`` float64."""
    relevant = ranked_labels[rows] == labels[:, None]
    return torch.stack([average_precision(relevant), *(recall_at(k, relevant) for k in _KS)], dim=1)


def _resampled_means(values: Array, units: Array, resamples: int, seed: int) -> Iterator[Array]:
    """Yield the metrics' means ``(B, metrics)`` over resampled queries."""
    for weights in draw_weights(units, resamples, max(1, _CHUNK // len(units)), seed):
        yield weights.T @ values / weights.sum(axis=0)[:, None]
