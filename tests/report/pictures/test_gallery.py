"""Which images are shown follows from the run's files alone."""

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from medssl.report.pictures.gallery import choose_mistakes, choose_neighbours, choose_samples, read_arrays


@pytest.fixture
def run(make_run):
    return make_run(patients=6, accuracy=0.4)


def test_neighbours_are_those_of_scikit_learn(run):
    features = read_arrays(run, "features")
    found = choose_neighbours(run, features)
    search = NearestNeighbors(n_neighbors=5, metric="cosine").fit(features["train_x"].astype(np.float64))
    ids = features["test_id"].tolist()
    assert len(found) == 4  # one of each class
    for one in found:
        query = features["test_x"][ids.index(one.query.id)].astype(np.float64)
        distance, places = search.kneighbors(query[None])
        assert [card.id for card in one.found] == features["train_id"][places[0]].tolist()
        assert [card.note for card in one.found] == [f"cosine {1 - d:.2f}" for d in distance[0]]
        assert [card.right for card in one.found] == [card.label == one.query.label for card in one.found]


def test_mistakes_are_the_surest_wrong_predictions(run):
    predictions = read_arrays(run, "predictions")
    found = choose_mistakes(run, predictions, "linear")
    wrong = [
        (-max(p), str(name))
        for name, label, p in zip(predictions["id"], predictions["label"], predictions["linear"], strict=True)
        if max(range(len(p)), key=lambda k: p[k]) != label
    ]
    assert [card.id for card in found] == [name for _, name in sorted(wrong)[:8]]
    classes = run.values["data"]["classes"]
    for card in found:
        at = predictions["id"].tolist().index(card.id)
        said = predictions["linear"][at]
        assert card.label == classes[predictions["label"][at]]
        assert card.note == f"called {classes[said.argmax()]}, {100 * said.max():.0f}\u00a0%"


def test_samples_are_training_images_of_every_class(run):
    found = choose_samples(run, read_arrays(run, "features"))
    assert sorted(card.label for card in found) == sorted(run.values["data"]["classes"])
    assert {card.id for card in found} <= set(read_arrays(run, "features")["train_id"].tolist())


def test_a_run_without_files_shows_nothing(run):
    for name in ("features.npz", "predictions.npz"):
        (run.path / name).unlink()
    assert choose_samples(run, read_arrays(run, "features")) == []
    assert choose_neighbours(run, read_arrays(run, "features")) == []
    assert choose_mistakes(run, read_arrays(run, "predictions"), "knn") == []


def test_a_damaged_file_counts_as_none(run):
    (run.path / "features.npz").write_bytes(b"PK\x03\x04 no archive")
    assert read_arrays(run, "features") == {}
