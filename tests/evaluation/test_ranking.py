"""Ranking metrics against scikit-learn and hand values, their intervals against a loop over the same resamples."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score

from medssl.contracts.targets import Classes
from medssl.errors import DataError, PluginError
from medssl.evaluation import ranking
from medssl.evaluation.metrics.ranking import MeanAveragePrecision, RecallAt1, RecallAt5, RecallAt10
from medssl.recipe.settings import EvaluateSettings

NONE = EvaluateSettings(bootstrap=0)
QUERIES, RANKED, CLASSES = 30, 40, 4
RECALLS = {1: RecallAt1(), 5: RecallAt5(), 10: RecallAt10()}


def average_precision(relevant):
    return MeanAveragePrecision().per_query(relevant)


def recall_at(k, relevant):
    return RECALLS[k].per_query(relevant)


def score_ranking(*given):
    return ranking.score_ranking(Classes(("a", "b", "c", "d")), *given)


@pytest.fixture
def case():
    """Likenesses (queries, ranked) that know a little of the classes, and both sides' labels."""
    generator = torch.Generator().manual_seed(0)
    labels, ranked = (torch.randint(0, CLASSES, (n,), generator=generator) for n in (QUERIES, RANKED))
    likeness = torch.rand(QUERIES, RANKED, generator=generator) + 0.3 * (labels[:, None] == ranked)
    return likeness, labels, ranked


def by_likeness(rows):
    return rows.argsort(dim=1, descending=True)


def test_average_precision_equals_scikit_learns(case):
    likeness, labels, ranked = case
    relevant = labels[:, None] == ranked
    found = average_precision(relevant.gather(1, by_likeness(likeness)))
    for i in range(QUERIES):
        assert found[i].item() == pytest.approx(average_precision_score(relevant[i], likeness[i]), abs=1e-12)


def test_average_precision_by_hand():
    relevant = torch.tensor([[True, False, True, False], [False, False, False, True], [False, False, False, False]])
    expected = [(1 / 1 + 2 / 3) / 2, 1 / 4, float("nan")]
    assert average_precision(relevant).tolist() == pytest.approx(expected, nan_ok=True)


def test_recall_asks_for_one_relevant_sample_among_the_first(case):
    likeness, labels, ranked = case
    rows = by_likeness(likeness)
    for k in RECALLS:
        expected = [float(any(ranked[j] == labels[i] for j in rows[i][:k].tolist())) for i in range(QUERIES)]
        assert recall_at(k, ranked[rows] == labels[:, None]).tolist() == expected


def test_scores_are_the_means_over_queries_whatever_the_batches(case, monkeypatch):
    likeness, labels, ranked = case
    relevant = ranked[by_likeness(likeness)] == labels[:, None]
    whole = score_ranking(by_likeness, likeness, labels, ranked, None, NONE, 0)
    assert whole["mean_average_precision"]["value"] == pytest.approx(average_precision(relevant).mean().item())
    assert whole["recall_at_5"]["value"] == pytest.approx(recall_at(5, relevant).mean().item())
    assert whole["recall_at_1"] == {
        "value": pytest.approx(recall_at(1, relevant).mean().item()),
        "low": None,
        "high": None,
    }
    monkeypatch.setattr("medssl.evaluation.ranking._QUERIES", 7)
    assert score_ranking(by_likeness, likeness, labels, ranked, None, NONE, 0) == whole
    json.dumps(whole, allow_nan=False)


@pytest.mark.parametrize("grouped", [False, True])
def test_intervals_equal_a_loop_over_resampled_queries(case, grouped):
    likeness, labels, ranked = case
    groups = np.array([f"patient {i % 7}" for i in range(QUERIES)]) if grouped else None
    settings = EvaluateSettings(bootstrap=50, confidence=0.9)
    found = score_ranking(by_likeness, likeness, labels, ranked, groups, settings, 3)
    values = average_precision(ranked[by_likeness(likeness)] == labels[:, None]).numpy()
    names = np.arange(QUERIES) if groups is None else groups
    units = np.unique(names)
    means = []
    for row in np.random.default_rng(3).integers(0, len(units), size=(50, len(units))):
        drawn = np.concatenate([np.flatnonzero(names == units[u]) for u in row])
        means.append(values[drawn].mean())
    low, high = np.quantile(means, (0.05, 0.95))
    assert found["mean_average_precision"]["low"] == pytest.approx(low, abs=1e-12)
    assert found["mean_average_precision"]["high"] == pytest.approx(high, abs=1e-12)
    assert found["bootstrap"] == {"resamples": 50, "confidence": 0.9, "unit": "group" if grouped else "sample"}


def test_query_without_a_training_sample_of_its_class_is_left_out(case):
    likeness, labels, ranked = case
    labels = labels.clone()
    labels[:3] = CLASSES
    found = score_ranking(by_likeness, likeness, labels, ranked, np.arange(QUERIES), NONE, 0)
    rest = score_ranking(by_likeness, likeness[3:], labels[3:], ranked, np.arange(QUERIES - 3), NONE, 0)
    assert (found["n"], found["n_left_out"], found["n_ranked"]) == (QUERIES - 3, 3, RANKED)
    assert found["mean_average_precision"] == rest["mean_average_precision"]


def test_nothing_to_retrieve_is_said(case):
    likeness, labels, ranked = case
    with pytest.raises(DataError, match="no test image has a training image of its class"):
        score_ranking(by_likeness, likeness, labels + CLASSES, ranked, None, NONE, 0)


@pytest.mark.parametrize(
    "rank",
    [
        lambda x: torch.zeros(len(x), RANKED, dtype=torch.int64),
        lambda x: torch.arange(RANKED - 1).expand(len(x), -1),
        lambda x: torch.arange(1, RANKED + 1).expand(len(x), -1),
    ],
)
def test_what_is_no_permutation_is_refused(case, rank):
    likeness, labels, ranked = case
    with pytest.raises(PluginError, match="each of the 40 training samples once"):
        score_ranking(rank, likeness, labels, ranked, None, NONE, 0)
