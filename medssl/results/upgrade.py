"""Converts results of earlier schemas to the current one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["SCHEMA", "upgraded"]

SCHEMA = 2

# descriptions of the metrics of schema 1, which did not contain them
_METRICS_OF_1 = {
    "accuracy": "accuracy",
    "f1_weighted": "weighted F1",
    "f1_macro": "macro F1",
    "balanced_accuracy": "balanced acc.",
    "auroc": "AUROC",
    "mcc": "MCC",
    "ece": "ECE",
    "mean_average_precision": "mAP",
    "recall_at_1": "recall@1",
    "recall_at_5": "recall@5",
    "recall_at_10": "recall@10",
}


def upgraded(values: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the content of a ``result.json`` in the form of schema 2; ``None`` if its schema is unknown.

    Schema 1 only had classes, and did not describe its metrics.
    """
    if values.get("schema") == SCHEMA:
        return dict(values)
    if values.get("schema") != 1:
        return None
    data = dict(values["data"])
    data["target"] = {"kind": "classes", "names": list(data.pop("classes"))}
    facts = {
        name: {
            "title": title,
            "direction": "lower" if name == "ece" else "higher",
            "unit": "",
            "source": "medssl, results of schema 1",
            "leads": True,
        }
        for name, title in _METRICS_OF_1.items()
    }
    evaluations = {name: _evaluation(found) for name, found in values["evaluations"].items()}
    return {**values, "schema": SCHEMA, "data": data, "metrics": facts, "evaluations": evaluations}


def _evaluation(found: Mapping[str, Any]) -> dict[str, Any]:
    """Convert the number of resamples without an AUROC (no others were left out) to the form of schema 2."""
    drawn = dict(found.get("bootstrap", {}))
    skipped = drawn.pop("skipped_auroc", 0)
    return {**found, "bootstrap": {**drawn, "skipped": {"auroc": skipped} if skipped else {}}}
