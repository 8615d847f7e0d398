"""A result with every section, as a run writes it."""

import copy

import pytest

from medssl.contracts.targets import Classes
from medssl.evaluation.metrics import metric_facts
from medssl.results.directory import SCHEMA

TARGET = Classes(("ill", "well"))
METRIC = {"value": 0.5, "low": 0.25, "high": 0.75}


@pytest.fixture
def values():
    """The content of ``result.json``, made anew for each test."""
    plugin = {"name": "m", "distribution": "medssl", "version": "1"}
    seen = {"images": 4, "equal": 1, "near": None, "group": 0, "either": 1, "by_split": 0}
    made = {
        "schema": SCHEMA,
        "method": "m",
        "dataset": "d",
        "seed": 3,
        "recipe": {"train": {"epochs": 2}, "evaluators": [{"plugin": "knn"}], "hash": "0123456789"},
        "plugins": {"method": plugin, "dataset": plugin, "evaluators": [plugin]},
        "environment": {"python": "3.11", "torch": "2.8", "gpu": [], "device": "cpu", "precision": "float32"},
        "data": {
            "directory": "/images",
            "images": 20,
            "train": 12,
            "val": 4,
            "test": 4,
            "unused": 0,
            "target": TARGET.to_dict(),
            "groups": {"train": 6, "val": 2, "test": 2},
            "group_kind": "patient",
            "split": "grouped",
            "fold": {"index": 0, "count": 5, "left_out": None},
            "labels": {"fraction": 1.0, "seed": 0, "train": 12, "val": 4},
            "seen_before": {"test": {"images": 4, "equal": 0, "near": 1, "either": 1}},
            "encoder_seen": {"known": True, "images": 9, "allowed": True, "test": seen, "val": seen},
            "store": {"key": "k", "reduced": False, "bytes": 9},
            "warnings": ["first", "second"],
        },
        "pretrain": {
            "epochs": 2,
            "steps": 6,
            "seconds": 1.5,
            "final_loss": 0.25,
            "init": {"source": "timm", "sha256": "0" * 64},
        },
        "metrics": metric_facts(TARGET),
        "evaluations": {
            "knn": {
                "accuracy": METRIC,
                "auroc": {**METRIC, "outputs": {"ill": {**METRIC, "value": 0.625}}},
                "n": 4,
                "n_unknown": 0,
                "n_groups": 2,
                "bootstrap": {"resamples": 9, "confidence": 0.95, "unit": "group", "skipped": {"auroc": 2}},
                "confusion_matrix": [[1, 1], [0, 2]],
                "reliability": {"count": [4], "confidence": [0.5], "accuracy": [None]},
                "selected": {"k": 5},
                "notes": ["a note"],
            }
        },
        "diagnostics": {"features": {"effective_rank": 9.5}},
        "seconds": 2.5,
    }
    return copy.deepcopy(made)  # METRIC stands in it several times
