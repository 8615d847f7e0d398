"""Finished runs made up from predictions, so that statistics have something to stand on."""

import hashlib
import json
from functools import cache

import numpy as np
import pytest

from medssl.contracts.targets import Classes
from medssl.evaluation.metrics import metric_facts
from medssl.evaluation.pooling import PoolingChoice, score_groups
from medssl.evaluation.scoring import score
from medssl.recipe.settings import EvaluateSettings
from medssl.results.directory import SCHEMA, RunDirectory

CLASSES = 3
TARGET = Classes(("a", "b", "c"))


@cache
def scored(label, proba, units, settings, seed):
    """Score predictions given as bytes, once for all tests that make them."""
    label, units = np.frombuffer(label, dtype=np.int64), np.frombuffer(units, dtype=np.int64)
    return score(TARGET, label, np.frombuffer(proba).reshape(len(label), -1), units, settings, seed)


@pytest.fixture
def make_run(tmp_path):
    """Write a run directory with predictions of a given accuracy; return it as a result."""

    def make(
        *,
        method="dcl",
        seed=0,
        accuracy=0.7,
        n=90,
        group_of=lambda i: f"g{i // 3}",
        ids=None,
        draw=None,
        evaluators=("knn",),
        dataset="phantom",
        epochs=5,
        bootstrap=200,
        pooling=None,
        **changes,
    ):
        ids = [f"{i:03}.png" for i in range(n)] if ids is None else ids
        numbers = np.array([int(name.partition(".")[0]) for name in ids])
        label = numbers % CLASSES
        generator = np.random.default_rng([seed, *map(ord, method)] if draw is None else draw)
        proba = {}
        for name in evaluators:
            right = generator.random(len(ids)) < accuracy
            proba[name] = generator.dirichlet(np.ones(CLASSES), len(ids))
            wanted = np.where(right, label, (label + 1) % CLASSES)
            best = proba[name].argmax(1)
            rows = np.arange(len(ids))
            proba[name][rows, best], proba[name][rows, wanted] = proba[name][rows, wanted], proba[name][rows, best]
        recipe = {
            "recipe": "medssl",
            "method": {"plugin": method, "temperature": 0.1},
            "dataset": {"plugin": dataset},
            "evaluators": [{"plugin": name} for name in evaluators],
            "seed": seed,
            "train": {"epochs": epochs, "batch_size": 64},
            "views": {"image_size": 32},
            "encoder": {"backbone": "resnet18", "weights": None},
            "split": {"protocol": None, "seed": 0, "fold": None, "folds": 5, "label_fraction": 1.0, "label_seed": 0},
            "evaluate": {"bootstrap": bootstrap, "confidence": 0.95},
        }
        for place, value in changes.items():
            section, _, key = place.partition("__")
            recipe[section][key] = value
        digest = hashlib.sha256(json.dumps([recipe, draw]).encode()).hexdigest()[:10]
        directory = RunDirectory(tmp_path / f"{dataset}-{method}-{digest}")
        directory.make()
        groups = {name: group_of(i) for name, i in zip(ids, numbers.tolist(), strict=True) if group_of(i)}
        parts = {"train": [], "val": [], "test": ids, "unused": []}
        split = {
            "parts": parts,
            "groups": groups,
            "folds": recipe["split"]["folds"] if recipe["split"]["fold"] is not None else None,
        }
        directory.splits.write_text(json.dumps(split))
        np.savez(directory.predictions, id=np.array(ids), y=label, **proba)
        units = np.unique([groups.get(name, f"\0{name}") for name in ids], return_inverse=True)[1]
        settings = EvaluateSettings(bootstrap=bootstrap)
        given = {name: (label.tobytes(), p.tobytes(), units.tobytes()) for name, p in proba.items()}
        evaluations = {name: dict(scored(*each, settings, seed)) for name, each in given.items()}
        for name, p in proba.items() if pooling else ():
            choice = PoolingChoice(pooling, "setting")
            evaluations[name]["per_group"] = score_groups(TARGET, label, p, units, choice, settings, seed)
        return directory.finish(
            {
                "schema": SCHEMA,
                "method": method,
                "dataset": dataset,
                "seed": seed,
                "recipe": {**recipe, "hash": digest},
                "environment": {"python": "3.11", "device": "cpu"},
                "data": {
                    "directory": "phantom",
                    "images": len(ids),
                    "train": 1,
                    "val": 0,
                    "test": len(ids),
                    "split": recipe["split"]["protocol"] or "grouped",
                    "target": TARGET.to_dict(),
                    "store": {"key": "k"},
                },
                "pretrain": {"epochs": epochs, "seconds": 10.0},
                "metrics": metric_facts(TARGET),
                "evaluations": evaluations,
                "diagnostics": {},
                "seconds": 12.0,
            }
        )

    return make
