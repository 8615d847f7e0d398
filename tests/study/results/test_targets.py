"""Rows of findings, grades and quantities are estimated and compared like those of classes."""

from __future__ import annotations

import json

import numpy as np
import pytest

from medssl.contracts.targets import Findings, Grades, Quantity
from medssl.evaluation.metrics import metric_facts, prediction_metrics
from medssl.evaluation.scoring import score
from medssl.recipe.settings import EvaluateSettings
from medssl.report.sections import make_sections
from medssl.report.words.answer import answer
from medssl.results.directory import SCHEMA, RunDirectory
from medssl.study.results.summary import summarise
from medssl.study.results.table import best_baseline, lead, score_rows

TARGETS = (Grades(("low", "mid", "high")), Findings(("x", "y")), Quantity("years"))
N = 120


def truth(target):
    generator = np.random.default_rng(0)
    if isinstance(target, Quantity):
        return generator.normal(60, 10, N).astype(np.float32)
    if isinstance(target, Findings):
        y = (generator.random((N, 2)) < 0.4).astype(np.float32)
        y[:3] = np.nan  # unknown altogether
        return y
    return generator.integers(0, 3, N)


def predicted(target, y, noise, seed):
    generator = np.random.default_rng([seed, int(100 * noise)])
    if isinstance(target, Quantity):
        return (y + 10 * noise * generator.normal(size=N))[:, None]
    if isinstance(target, Findings):
        return 1 / (1 + np.exp(-(2 * np.nan_to_num(y) - 1 + 2 * noise * generator.normal(size=y.shape))))
    weight = np.exp(np.eye(3)[y] * 2 + 2 * noise * generator.normal(size=(N, 3)))
    return weight / weight.sum(axis=1, keepdims=True)


@pytest.fixture
def make_runs(tmp_path):
    def make(target):
        y = truth(target)
        return [
            one(target, y, method, noise, seed) for method, noise in (("dcl", 0.3), ("random", 1.5)) for seed in (0, 1)
        ]

    def one(target, y, method, noise, seed):
        directory = RunDirectory(tmp_path / f"{target.kind}-{method}-{seed}")
        directory.make()
        ids = [f"{i:03}" for i in range(N)]
        groups = np.array([f"g{i // 2}" for i in range(N)])
        prediction = predicted(target, y, noise, seed)
        directory.splits.write_text(
            json.dumps(
                {
                    "parts": {"train": [], "val": [], "test": ids, "unused": []},
                    "groups": dict(zip(ids, groups.tolist(), strict=True)),
                    "folds": None,
                }
            )
        )
        np.savez(directory.predictions, id=np.array(ids), y=y, linear=prediction)
        settings = EvaluateSettings(bootstrap=100)
        values = {
            "schema": SCHEMA,
            "method": method,
            "dataset": "phantom",
            "seed": seed,
            "recipe": {
                "recipe": "medssl",
                "method": {"plugin": method},
                "evaluators": [{"plugin": "linear"}],
                "seed": seed,
                "train": {"epochs": 5, "batch_size": 64},
                "views": {"image_size": 32},
                "encoder": {"backbone": "resnet18", "weights": None},
                "split": {"fold": None, "label_fraction": 1.0, "label_seed": 0},
                "evaluate": {"bootstrap": 100, "confidence": 0.95},
                "hash": f"{seed}",
            },
            "environment": {},
            "data": {
                "directory": "d",
                "images": N,
                "train": 0,
                "val": 0,
                "test": N,
                "classes": list(target.names) if isinstance(target, Grades) else [],
                "target": target.to_dict(),
                "split": "grouped",
                "group_kind": "patient",
                "shared_groups": None,
                "warnings": [],
                "store": {"key": "k"},
                "seen_before": {"test": {"images": N, "equal": 0, "near": 0, "either": 0}},
            },
            "pretrain": {"epochs": 5, "steps": 9, "seconds": 1.0},
            "metrics": metric_facts(target),
            "evaluations": {"linear": {**score(target, y, prediction, groups, settings, seed), "notes": []}},
            "diagnostics": {"features": {"collapsed": None}},
            "seconds": 1.0,
        }
        return directory.finish(values)

    return make


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.kind)
def test_every_metric_with_a_test_is_compared_and_told(make_runs, target):
    summary = summarise(make_runs(target))
    tested = {c.metric: c for c in summary.comparisons}
    rows = {row.method: row for row in summary.rows}
    scores = [rows[name].scores["linear"] for name in ("dcl", "random")]
    metrics = [
        m for m in prediction_metrics(target) if all(m.name in s and s[m.name].value is not None for s in scores)
    ]
    assert list(tested) == [m.name for m in metrics if m.test]
    for metric in metrics:
        first, second = (rows[name].scores["linear"][metric.name] for name in ("dcl", "random"))
        assert first.runs == 2
        assert first.low <= first.value <= first.high
        if metric.ideal is None:
            assert (first.value > second.value) == metric.higher_is_better, metric.name
        if metric.test and metric.ideal is None:
            assert tested[metric.name].p_adjusted < 0.01
            assert tested[metric.name].shown


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.kind)
def test_the_answer_leads_with_the_targets_first_metric_in_its_direction(make_runs, target):
    summary = summarise(make_runs(target))
    first = prediction_metrics(target)[0]
    name, title = lead(summary, "phantom")
    assert name == first.name
    [section] = make_sections(summary)
    text = answer(section, {"random": "the untrained encoder"}).headline
    assert f"dcl has the {'highest' if first.higher_is_better else 'lowest'} {title}" in text
    assert "dcl is significantly better than random by linear (" in text
    assert best_baseline(summary.rows, "linear", name, 1.0).method == "random"
    assert score_rows(summary.rows, name)[0] == ["", "seeds", "linear"]
