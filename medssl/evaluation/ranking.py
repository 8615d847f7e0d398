"""Scores of a ranking: test images are queries, and training images of the same class should be ranked first.

A query without a training sample of its class has no relevant sample and is left out. Confidence intervals resample
queries, by group if groups are known, as in :mod:`medssl.evaluation.scoring`.

Notation: n queries (test samples), M ranked (training) samples, B resamples at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from medssl.contracts.targets import Target
from medssl.errors import DataError, PluginError
from medssl.evaluation.metrics import RankingMetric, ranking_metrics
from medssl.evaluation.metrics.metric import Array
from medssl.evaluation.scoring import draw_weights
from medssl.recipe.settings import EvaluateSettings

__all__ = ["score_ranking"]

_QUERIES = 256  # number of queries ranked at a time
_CHUNK = 2**20  # number of weights in memory at a time: 8 MiB fit into a processor's cache


def score_ranking(
    target: Target,
    rank: Callable[[Tensor], Tensor],
    x: Tensor,
    labels: Tensor,
    ranked_labels: Tensor,
    groups: Array | None,
    settings: EvaluateSettings,
    seed: int,
) -> dict[str, Any]:
    """Compute every ranking metric with its confidence interval.

    Args:
        target: Target of the labels.
        rank: Maps features ``(n, F)`` to ``(n, M)`` int64: positions of all M ranked samples, the most similar first.
        x: ``(n, F)``, features of the queries.
        labels: ``(n,)`` int64.
        ranked_labels: ``(M,)`` int64.
        groups: ``(n,)``, equal for queries of one group; ``None`` if groups are not known.
        settings: Number of resamples, and level of the confidence intervals.
        seed: Seed of the resamples.

    Returns:
        By name of each ranking metric ``{"value", "low", "high"}``; ``n``: number of scored queries; ``n_ranked``: M;
        ``n_left_out``: number of queries without a training sample of their class; ``bootstrap``. Plain Python values.

    Raises:
        DataError: No query has a relevant sample.
        PluginError: A row is not a permutation of the M positions.
    """
    metrics = ranking_metrics(target)
    batches = _in_batches(rank, x, labels, len(ranked_labels))
    parts = [_per_query(metrics, rows, ranked_labels, own) for rows, own in batches]
    values = torch.cat(parts).numpy() if parts else np.empty((0, len(metrics)))  # (n, metrics)
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
        metric.name: {
            "value": float(values[:, i].mean()),
            "low": None if ends is None else float(ends[0, i]),
            "high": None if ends is None else float(ends[1, i]),
        }
        for i, metric in enumerate(metrics)
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
    """Yield rankings ``(at most 256, M)`` with their queries' labels; all at once would need n x M numbers."""
    for part, own in zip(torch.split(x, _QUERIES), torch.split(labels, _QUERIES), strict=True):
        rows = rank(part).cpu()
        complete = rows.shape == (len(part), size) and bool((rows.sort(dim=1).values == torch.arange(size)).all())
        if not complete:
            raise PluginError(
                f"a ranking must contain each of the {size} training samples once for each of {len(part)} queries. "
                f"It has the shape {tuple(rows.shape)}, or contains some twice. Check rank() of the evaluator."
            )
        yield rows, own


def _per_query(metrics: Sequence[RankingMetric], rows: Tensor, ranked_labels: Tensor, labels: Tensor) -> Tensor:
    """Return ``(n, metrics)`` float64."""
    relevant = ranked_labels[rows] == labels[:, None]
    return torch.stack([metric.per_query(relevant) for metric in metrics], dim=1)


def _resampled_means(values: Array, units: Array, resamples: int, seed: int) -> Iterator[Array]:
    """Yield the metrics' means ``(B, metrics)`` over resampled queries."""
    for weights in draw_weights(units, resamples, max(1, _CHUNK // len(units)), seed):
        yield weights.T @ values / weights.sum(axis=0)[:, None]
