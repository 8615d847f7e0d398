"""k nearest neighbours against scikit-learn, and against a loop in float64."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

from medssl.contracts import Classes, Evaluator, Features
from medssl.errors import DataError, OptionError
from medssl_evaluators import _bank
from medssl_evaluators._bank import Bank
from medssl_evaluators.knn import KNN

Blobs = Callable[..., Features]


def fit(train: Features, val: Features, **options: object) -> object:
    return KNN(KNN.Config(**options), 0).fit(train, val)


def loop(train: Features, query: torch.Tensor, k: int, distance: str, weights: str, temperature: float) -> np.ndarray:
    """Neighbour by neighbour, in float64."""
    bank, proba = train.x.double().numpy(), np.zeros((len(query), train.target.outputs))
    for i, q in enumerate(query.double().numpy()):
        if distance == "cosine":
            similarity = [float(q @ b / (np.linalg.norm(q) * np.linalg.norm(b))) for b in bank]
        else:
            similarity = [-float(((q - b) ** 2).sum()) / 2 for b in bank]
        nearest = sorted(range(len(bank)), key=lambda j: -similarity[j])[:k]
        for j in nearest:
            weight = np.exp((similarity[j] - similarity[nearest[0]]) / temperature)
            proba[i, int(train.y[j])] += weight if weights == "softmax" else 1
    return proba / proba.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("k", [1, 5, 60])
@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
@pytest.mark.parametrize(("weights", "temperature"), [("softmax", 0.07), ("softmax", 2.0), ("uniform", 0.07)])
def test_probabilities_equal_the_loop(blobs: Blobs, k: int, distance: str, weights: str, temperature: float) -> None:
    train, test = blobs(60, 0), blobs(20, 1)
    predictor = fit(train, blobs(9, 2), ks=(k,), distance=distance, weights=weights, temperature=temperature)
    expected = loop(train, test.x, k, distance, weights, temperature)
    np.testing.assert_allclose(predictor.predict(test.x), expected, atol=2e-5)


@pytest.mark.parametrize("offset", [0.0, 30.0], ids=["centred", "far from the origin"])
def test_euclidean_uniform_equals_scikit_learn(blobs: Blobs, offset: float) -> None:
    train, val, test = (blobs(n, seed, distance=1.5, features=64) for seed, n in enumerate((400, 50, 200)))
    for part in (train, val, test):
        part.x.add_(offset)
    ks = (1, 5, 20, 200)
    predictor = fit(train, val, distance="euclidean", weights="uniform", ks=ks, report=ks)
    for k in ks:
        oracle = KNeighborsClassifier(k).fit(train.x, train.y)
        proba = predictor.also[f"k{k}"].predict(test.x)
        np.testing.assert_allclose(proba, oracle.predict_proba(test.x), atol=1e-6)
        np.testing.assert_array_equal(proba.argmax(dim=1), oracle.predict(test.x))


def test_every_k_of_one_search_equals_a_search_of_its_own(blobs: Blobs) -> None:
    train, test = blobs(60, 0), blobs(20, 1)
    bank = Bank(train, distance="cosine", weights="softmax", temperature=0.07)
    together = bank.vote(test.x, [1, 5, 20, 60])
    alone = torch.cat([bank.vote(test.x, [k]) for k in (1, 5, 20, 60)])
    torch.testing.assert_close(together, alone)


def test_euclidean_weights_on_unit_vectors_are_the_cosine_ones(blobs: Blobs) -> None:
    train, val, test = (blobs(n, seed) for seed, n in enumerate((60, 30, 20)))
    for part in (train, val, test):
        part.x.div_(part.x.norm(dim=1, keepdim=True))
    probas = [fit(train, val, distance=d, ks=(20,)).predict(test.x) for d in ("cosine", "euclidean")]
    torch.testing.assert_close(*probas, atol=1e-5, rtol=0)


def test_queries_in_chunks_give_the_same(blobs: Blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    predictor = fit(blobs(60, 0), blobs(30, 1))
    x = blobs(50, 2).x
    whole = predictor.predict(x)
    monkeypatch.setattr(_bank, "_CHUNK", 60 * 7)
    torch.testing.assert_close(predictor.predict(x), whole)


def test_shares_the_contract_of_all_evaluators(shared_contract: Callable[[Evaluator, Evaluator], None]) -> None:
    shared_contract(KNN(KNN.Config(report=(5, 60)), 3), KNN(KNN.Config(report=(5, 60)), 3))
    assert KNN.online


def line(x: list[float], label: list[int]) -> Features:
    return Features(x=torch.tensor(x)[:, None], y=torch.tensor(label), target=Classes(("a", "b")))


def test_k_is_chosen_on_validation() -> None:
    train = line([0.0, 0.1, 0.2, 5.0, 5.1, 5.2], [1, 0, 0, 0, 1, 1])  # at 0 and at 5, the nearest one says otherwise
    options = {"distance": "euclidean", "weights": "uniform", "ks": (1, 3), "report": ()}
    assert fit(train, line([-0.1, 4.9], [0, 1]), **options).selected["k"] == 3
    assert fit(train, line([-0.1, 4.9], [1, 0]), **options).selected["k"] == 1


def test_k_is_chosen_by_log_loss_and_by_another_score_where_asked() -> None:
    train = line([0.0, 1.0, 1.0, 1.0, 1.0], [1, 0, 0, 0, 0])
    val = line([0.1, 0.2, 0.2, 1.0, 1.0, 1.0], [1, 0, 0, 0, 0, 0])  # k=5 says 0 always: right in five of six
    options = {"distance": "euclidean", "weights": "uniform", "ks": (1, 5), "report": (5,)}
    # for the choice, five samples vote and a sixth has the frequencies .8 and .2; k=1 votes 1 1 1 0 0 0
    true = np.array([5 + 0.2, 0.8, 0.8, 5 + 0.8, 5 + 0.8, 5 + 0.8]) / 6
    losses = {1: -np.log(true).mean(), 5: -(5 * np.log(0.8) + np.log(0.2)) / 6}
    predictor = fit(train, val, **options)
    assert losses[5] < losses[1]
    assert predictor.selected == {
        "k": 5,
        "chosen_by": "log_loss",
        "tried": [1, 5],
        "val_accuracy": pytest.approx(5 / 6),
        "val_balanced_accuracy": 0.5,
        "val_log_loss": pytest.approx(losses[5], rel=1e-6),
        "val_auroc": 0.5,
    }
    for by in ("balanced_accuracy", "auroc"):
        other = fit(train, val, choose_by=by, **options)
        assert other.selected["k"] == 1
        assert other.selected["val_balanced_accuracy"] == pytest.approx(0.8)
        assert other.selected["val_log_loss"] == pytest.approx(losses[1], rel=1e-6)
        assert other.also["k5"].selected["val_accuracy"] == pytest.approx(5 / 6)


def test_predictions_are_the_plain_vote(blobs: Blobs) -> None:
    train, test = blobs(60, 0), blobs(20, 1)
    predictor = fit(train, blobs(30, 2, distance=0.0), report=())  # noise: many neighbours
    expected = loop(train, test.x, predictor.selected["k"], "cosine", "softmax", 0.07)
    np.testing.assert_allclose(predictor.predict(test.x), expected, atol=2e-5)


def test_the_default_list_is_extended_to_the_training_part_and_no_further(blobs: Blobs) -> None:
    train, val = blobs(900, 0, distance=0.0), blobs(300, 1, distance=0.0)  # nothing to learn: the more the better
    predictor = fit(train, val)
    assert predictor.selected["tried"] == [1, 5, 10, 20, 50, 100, 200, 500, 900]
    assert predictor.selected["k"] in (500, 900)
    assert predictor.notes == ("The best k was at the edge of ks, so the list was extended by 500, 900.",)
    assert list(predictor.also) == ["k200"]
    given = fit(train, val, ks=(1, 200))
    assert given.selected["tried"] == [1, 200]
    assert given.notes == ("The chosen k is the largest that was tried; a better one may be outside the list.",)


def test_among_equals_the_larger_k_is_chosen(blobs: Blobs) -> None:
    easy = [blobs(60, seed, distance=100) for seed in range(2)]
    for by in ("log_loss", "auroc", "balanced_accuracy"):
        assert fit(*easy, ks=(1, 5, 10), choose_by=by).selected["k"] == 10


def test_k_larger_than_the_training_part_is_left_out_and_said(blobs: Blobs) -> None:
    predictor = fit(blobs(30, 0), blobs(30, 1), ks=(1, 5, 50), report=(5, 200))
    assert predictor.selected["k"] in (1, 5)
    assert list(predictor.also) == ["k5"]
    assert predictor.notes[0] == "Left out because larger than the training part of 30 samples: k=50, k=200."


def test_no_fitting_k_is_an_error_that_says_what_would_fit(blobs: Blobs) -> None:
    with pytest.raises(OptionError, match=r"no k of ks=\[50, 200\].*30 samples.*up to 30"):
        fit(blobs(30, 0), blobs(30, 1), ks=(50, 200))


def test_class_without_a_training_sample_has_probability_zero(blobs: Blobs) -> None:
    predictor = fit(blobs(40, 0, present=2), blobs(30, 1))
    proba = predictor.predict(blobs(20, 2).x)
    assert proba.shape == (20, 3)
    assert (proba[:, 2] == 0).all()


def test_single_class_is_predicted_and_said(blobs: Blobs) -> None:
    predictor = fit(blobs(10, 0, present=1), blobs(9, 1), report=())
    assert (predictor.predict(blobs(5, 2).x) == torch.tensor([1.0, 0.0, 0.0])).all()
    assert any("only one class (number 0)" in note for note in predictor.notes)


def test_an_all_zero_feature_is_no_division_by_zero(blobs: Blobs) -> None:
    train = blobs(30, 0)
    train.x[3] = 0
    proba = fit(train, blobs(9, 1)).predict(torch.zeros(2, 16))
    torch.testing.assert_close(proba.sum(dim=1), torch.ones(2))


def test_one_k_needs_no_validation_and_several_do(blobs: Blobs) -> None:
    train, none = blobs(30, 0), blobs(0, 1)
    assert fit(train, none, ks=(5,), report=()).selected == {"k": 5}
    with pytest.raises(DataError, match="validation part is empty"):
        fit(train, none, ks=(1, 5))
