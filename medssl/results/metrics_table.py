"""The metrics of a result as a table of texts: what a terminal, a notebook and a page show alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["METRICS", "RANKING_METRICS", "metric_rows", "metric_text"]

METRICS = {
    "accuracy": "accuracy",
    "f1_weighted": "weighted F1",
    "f1_macro": "macro F1",
    "balanced_accuracy": "balanced acc.",
    "auroc": "AUROC",
    "mcc": "MCC",
    "ece": "ECE",
}

RANKING_METRICS = {
    "mean_average_precision": "mAP",
    "recall_at_1": "recall@1",
    "recall_at_5": "recall@5",
    "recall_at_10": "recall@10",
}


def metric_text(metric: dict[str, Any]) -> str:
    """Write a metric with its interval: ``.872 [.845, .898]``."""
    if metric["value"] is None:
        return "-"
    if metric.get("low") is None:
        return _short(metric["value"])
    return f"{_short(metric['value'])} [{_short(metric['low'])}, {_short(metric['high'])}]"


def _short(value: float) -> str:
    return f"{value:.3f}".replace("0.", ".", 1) if abs(value) < 1 else f"{value:.3f}"


def metric_rows(metrics: Mapping[str, str], by_evaluator: Mapping[str, Any]) -> list[list[str]]:
    """One row per metric, one column per evaluator, the header first.

    Args:
        metrics: Titles by the name in the result.
        by_evaluator: Scores, as in ``result.json``.
    """
    rows = [["", *by_evaluator]]
    for key, title in metrics.items():
        rows.append([title, *(metric_text(scores[key]) for scores in by_evaluator.values())])
    return rows
