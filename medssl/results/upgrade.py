"""Results of earlier schemas, read as those of today."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["SCHEMA", "upgraded"]

SCHEMA = 2

# what the metrics of schema 1 were: it did not say
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
    """Return the content of a ``result.json`` in the shape of schema 2; ``None`` where its schema is not known.

    Schema 1 knew classes alone, and did not describe its metrics.
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
    """Write the resamples without an AUROC, the only ones that were left out, as schema 2 does."""
    drawn = dict(found.get("bootstrap", {}))
    skipped = drawn.pop("skipped_auroc", 0)
    return {**found, "bootstrap": {**drawn, "skipped": {"auroc": skipped} if skipped else {}}}
