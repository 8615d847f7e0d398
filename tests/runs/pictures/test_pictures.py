"""A run's pictures are those of their ids, chosen by its features and predictions alone."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.neighbors import NearestNeighbors

from medssl.data.views.maker import ViewMaker
from medssl.io.identities import private_id
from medssl.preview.shown import Shown
from medssl.results.pictures import read_pictures
from medssl.runs.pictures.feature_map import make_map
from medssl.runs.pictures.pictures import _COLUMNS, _SIDE, _SMALL, leave_pictures
from medssl.runs.pictures.shown import choose_mistakes, choose_neighbours, choose_samples
from medssl.runs.stages.evaluation import Evaluated
from medssl.runs.stages.pretraining import Trained


def decoded(jpeg):
    return np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB")).astype(int)


@pytest.fixture(scope="module")
def features(scene, tmp_path_factory):
    return scene.features(tmp_path_factory.mktemp("features"))


@pytest.fixture(scope="module")
def proba(features):
    n = len(features["test"][0])
    return np.random.default_rng(0).dirichlet(np.ones(4), n)


@pytest.fixture(scope="module")
def left(scene, features, proba, tmp_path_factory):
    """The pictures that a run of the scene leaves."""
    context = scene.context(tmp_path_factory.mktemp("run"))
    leave_pictures(context, Trained(scene.encoder), features, Evaluated(predictions={"knn": proba}))
    return read_pictures(context.directory.pictures)


def test_neighbours_are_those_of_scikit_learn(scene, features):
    found = choose_neighbours(features["train"], features["test"], scene.data.target.names)
    (train, x), (test, y) = features["train"], features["test"]
    search = NearestNeighbors(n_neighbors=5, metric="cosine").fit(x.double().numpy())
    assert len(found) == 4  # one of each class
    for one in found:
        query = y[test.ids.index(one.query.id)].double().numpy()
        distance, places = search.kneighbors(query[None])
        assert [card.id for card in one.found] == [train.ids[i] for i in places[0]]
        assert [card.note for card in one.found] == [f"cosine {1 - d:.2f}" for d in distance[0]]
        assert [card.right for card in one.found] == [card.label == one.query.label for card in one.found]


def test_mistakes_are_the_most_confident_wrong_predictions(scene, features, proba):
    test, classes = features["test"][0], scene.data.target.names
    found = choose_mistakes(test, proba, classes)
    wrong = [
        (-max(p), name)
        for name, label, p in zip(test.ids, test.y.tolist(), proba.tolist(), strict=True)
        if max(range(len(p)), key=p.__getitem__) != label
    ]
    assert [card.id for card in found] == [name for _, name in sorted(wrong)[:8]]
    for card in found:
        said = proba[test.ids.index(card.id)]
        assert card.note == f"called {classes[said.argmax()]}, {100 * said.max():.0f}\u00a0%"


def test_samples_are_training_images_of_every_class(scene, features):
    train = features["train"][0]
    found = choose_samples(train, scene.data.target.names)
    assert sorted(card.label for card in found) == sorted(scene.data.target.names)
    assert {card.id for card in found} <= set(train.ids)


def test_a_picture_is_the_image_of_its_id(scene, left):
    shown = Shown(ViewMaker.of(scene.recipe.data, scene.data.store, "cpu"))
    cards = [*left.samples, *left.mistakes["knn"], *(card for near in left.neighbours for card in near.found)]
    assert {card.id for card in cards} <= set(left.plain)
    own = {private_id("image", sample.id): sample.id for sample in scene.data.listing.samples}
    for card in cards:
        [picture] = shown.plain(scene.data.rows([own[card.id]]), _SIDE)
        assert np.abs(decoded(left.plain[card.id]) - picture).mean() < 8  # of 255, what JPEG takes


def test_the_sheet_holds_each_point_of_the_map_at_its_place(scene, left):
    shown = Shown(ViewMaker.of(scene.recipe.data, scene.data.store, "cpu"))
    sheet, test = decoded(left.sheet), scene.data.part("test")
    assert left.map.ids == tuple(private_id("image", name) for name in test.ids)
    assert left.map.label == tuple(test.y.tolist())
    for i, picture in enumerate(shown.plain(test.rows, _SMALL)):
        top, start = i // _COLUMNS * _SMALL, i % _COLUMNS * _SMALL
        assert np.abs(sheet[top : top + _SMALL, start : start + _SMALL] - picture).mean() < 16


def test_every_sample_has_four_views_that_differ(left):
    assert [len(views) for views in left.views] == [4] * len(left.samples)
    assert len({view for views in left.views for view in views}) == 4 * len(left.samples)
    assert "crop_scale" in left.augmentation


def test_views_of_an_adopted_encoder_are_those_of_its_method(scene, features, tmp_path):
    context = scene.context(tmp_path, recipe=scene.recipe)
    leave_pictures(context, Trained(scene.encoder), features, Evaluated())
    found = read_pictures(context.directory.pictures)
    assert [len(views) for views in found.views] == [4] * len(found.samples)  # simclr: two views, of two epochs
    assert found.mistakes == {}


def test_grey_pictures_are_stored_in_one_channel():
    from medssl.runs.pictures.pictures import _jpeg

    grey = np.repeat(np.arange(64, dtype=np.uint8).reshape(8, 8, 1), 3, axis=2)
    assert Image.open(io.BytesIO(_jpeg(grey, 82))).mode == "L"
    assert np.abs(decoded(_jpeg(grey, 82)) - grey).max() < 8


# ---------------------------------------------------------------------------------------------------------------- map


def test_an_evaluator_s_map_is_taken(features):
    n = len(features["test"][0])
    xy = np.random.default_rng(0).normal(size=(n, 2))
    found = make_map(features["test"], {"tsne_xy": xy, "rank_x": xy[:, 0]})
    assert (found.how, found.of) == ("tsne", n)
    assert np.array_equal(found.xy, xy)


def test_a_map_is_made_where_there_is_none_and_is_the_same_each_time(features):
    one, other = (make_map(features["test"], {"broken_xy": np.full((3, 2), np.nan)}) for _ in range(2))
    assert one.how == "t-SNE"
    assert one.ids == features["test"][0].ids
    assert np.array_equal(one.xy, other.xy)


def test_equal_features_and_few_images_have_no_map(features):
    test, x = features["test"]
    assert make_map((test, torch.ones_like(x)), {}) is None
    assert make_map((test.take(np.arange(9)), x[:9]), {}) is None


def test_the_map_of_an_adopted_encoder_is_taken_over_where_the_features_are_equal(scene, features, tmp_path):
    context = scene.context(tmp_path)
    scene.features(tmp_path)
    moved = replace(make_map(features["test"], {}), xy=np.zeros((len(features["test"][0]), 2)))
    from medssl.results.pictures import Pictures, write_pictures

    write_pictures(context.directory.pictures, Pictures(map=moved))
    test, x = features["test"]
    assert np.array_equal(make_map((test, x), {}, context.directory).xy, moved.xy)
    assert not np.array_equal(make_map((test, x + torch.rand_like(x)), {}, context.directory).xy, moved.xy)
