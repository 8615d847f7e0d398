"""What every kind of evaluator is given, what becomes of its outcome, and that none sees a test label."""

from __future__ import annotations

import gc
import json
from types import FrameType, MappingProxyType
from typing import ClassVar

import numpy as np
import pytest
import torch

from medssl.contracts import Evaluator, Features, Images, Observation, Observer, Predictor, Ranker
from medssl.errors import PluginError
from medssl.evaluation.scoring import score
from medssl.runs.stages.evaluation import evaluate


class Guess(Predictor):
    """The same probabilities for everybody."""

    selected = MappingProxyType({"depth": 3})
    notes = ("a note",)

    def predict(self, x):
        return torch.tensor([0.1, 0.2, 0.3, 0.4]).expand(len(x), -1)


class Backwards(Ranker):
    """Training samples from the last to the first."""

    def __init__(self, n):
        self.n = n

    def rank(self, x):
        return torch.arange(self.n).flip(0).expand(len(x), -1)


class Count(Observer):
    """Counts, and numbers the rows."""

    def observe(self, x):
        self.notes = (f"{len(x)} rows",)
        return Observation(values={"rows": len(x), "odd": float("nan")}, arrays={"number": np.arange(len(x))})


class Plain(Evaluator):
    """A predictor with further outcomes of every kind, one inside another."""

    def fit(self, train, val):
        outcome, ranker = Guess(), Backwards(len(train))
        ranker.also = {"count": Count()}
        outcome.also = {"twin": Guess(), "back": ranker}
        return outcome


class Pixels(Evaluator):
    """Keeps what it is given, and predicts from the images' first pixel."""

    needs = "images"
    seen: ClassVar = []

    def fit(self, train, val):
        self.seen[:] = [train, val]

        class Bright(Predictor):
            calls: ClassVar = []

            def predict(self, x):
                assert not torch.is_grad_enabled()
                self.calls.append(x)
                first = x[:, 0, 0, 0].sigmoid()
                return torch.stack([first, 1 - first, 0 * first, 0 * first], dim=1)

        self.seen.append(Bright())
        return self.seen[-1]


@pytest.fixture
def run(scene, tmp_path):
    def call(*plugins):
        recipe = scene.with_evaluators(*plugins)
        return evaluate(scene.context(tmp_path, recipe=recipe), scene.encoder, scene.features(tmp_path))

    return call


def test_every_outcome_lands_under_its_name(run, scene, tmp_path):
    found = run(Plain)
    test = scene.data.part("test")
    assert set(found.evaluations) == {"plain", "plain_twin"}
    assert set(found.diagnostics) == {"features", "majority", "plain_back", "plain_back_count"}
    proba = np.tile([0.1, 0.2, 0.3, 0.4], (len(test), 1)).astype(np.float32)
    groups, settings = test.groups.numpy(), scene.recipe.evaluate
    expected = score(scene.data.target, test.y.numpy(), proba, groups, settings, scene.recipe.seed)
    scores = found.evaluations["plain"]
    assert {name: scores[name] for name in expected} == expected
    assert (scores["selected"], scores["notes"][0]) == ({"depth": 3}, "a note")
    reason = "no threshold satisfies the rule better than calling every validation image positive"
    assert scores["notes"][1:] == [f"No operating point for {', '.join(scene.data.target.names)}: {reason}."]
    assert {point["reason"] for point in scores["operating_points"]["points"].values()} == {reason}
    assert set(scores["curves"]) == set(scene.data.target.names)
    assert sum(scores["reliability"]["count"]) == len(test)
    assert found.diagnostics["plain_back"]["n_ranked"] == len(scene.data.part("train"))
    seen = found.diagnostics["plain_back_count"]
    assert seen == {"rows": len(test), "odd": None, "selected": {}, "notes": [f"{len(test)} rows"]}
    json.dumps([found.evaluations, found.diagnostics], allow_nan=False)


def test_the_most_frequent_training_class_is_scored_and_what_is_below_it_is_said(run, scene):
    train, test = (scene.data.part(name).y.numpy() for name in ("train", "test"))
    frequent = np.bincount(train).argmax()

    class Always(Evaluator):
        def fit(self, train, val):
            wanted = int(np.bincount(train.y.numpy()).argmax())

            class One(Predictor):
                def predict(self, x):
                    return torch.nn.functional.one_hot(torch.full((len(x),), wanted), 4).float()

            return One()

    class Wrong(Evaluator):
        def fit(self, train, val):
            class Spread(Predictor):
                def predict(self, x):  # no sample gets the class that it has
                    return torch.nn.functional.one_hot((torch.from_numpy(test)[: len(x)] + 1) % 4, 4).float()

            return Spread()

    found = run(Always, Wrong)
    accuracy = float((test == frequent).mean())
    assert found.diagnostics["majority"] == {
        "class": scene.data.target.names[frequent],
        "accuracy": accuracy,
        "notes": [],
    }
    assert found.evaluations["always"]["accuracy"]["value"] == accuracy
    assert not any("most frequent" in note for note in found.evaluations["always"]["notes"])
    assert [note for note in found.evaluations["wrong"]["notes"] if "most frequent" in note] == [
        f"Its accuracy of 0.000 is below {accuracy:.3f}, the accuracy of predicting the most frequent training "
        f"class ('{scene.data.target.names[frequent]}')."
    ]


def test_predictions_and_arrays_are_kept_with_the_ids_of_the_test_part(run, scene, tmp_path):
    run(Plain)
    test = scene.data.part("test")
    with np.load(tmp_path / "predictions.npz") as file:
        assert set(file) == {"id", "y", "plain", "plain_twin", "val_id", "val_y", "val_plain", "val_plain_twin"}
        assert file["id"].tolist() == list(test.ids)
        assert file["plain"].shape == (len(test), 4)
        val = scene.data.part("val")
        assert file["val_id"].tolist() == list(val.ids)
        assert file["val_y"].tolist() == val.y.tolist()
        assert file["val_plain"].shape == (len(val), 4)
    with np.load(tmp_path / "diagnostics.npz") as file:
        assert set(file) == {"id", "y", "plain_back_count_number"}
        assert file["plain_back_count_number"].tolist() == list(range(len(test)))


def test_ranking_is_scored_against_the_training_labels(run, scene):
    train, test = scene.data.part("train"), scene.data.part("test")
    found = run(Plain).diagnostics["plain_back"]
    first = train.y[-1] == test.y
    assert found["recall_at_1"]["value"] == pytest.approx(first.double().mean().item())


def test_evaluator_of_images_gets_views_labels_and_a_copy_of_the_encoder(run, scene):
    run(Pixels)
    train, val, _ = Pixels.seen
    for part, name in ((train, "train"), (val, "val")):
        assert isinstance(part, Images)
        assert torch.equal(part.y, scene.data.part(name).y)
    assert (train.target.outputs, train.feature_dim) == (4, scene.encoder.feature_dim)
    rows = torch.tensor([3, 0])
    assert train.plain(rows).shape == train.augmented(0, rows).shape == (2, 3, 24, 24)
    assert torch.equal(train.augmented(1, rows), train.augmented(1, rows))
    assert not torch.equal(train.augmented(0, rows), train.augmented(1, rows))
    assert not torch.equal(train.augmented(0, rows), train.plain(rows))
    assert train.encoder is not scene.encoder
    weights = zip(train.encoder.parameters(), scene.encoder.parameters(), strict=True)
    assert all(torch.equal(a, b) and a is not b for a, b in weights)
    with train.autocast():
        assert not torch.is_autocast_enabled("cpu")


def test_predictor_of_images_meets_the_test_images_in_batches(run, scene, monkeypatch):
    monkeypatch.setattr("medssl.runs.stages.evaluation._BATCH", 5)
    found = run(Pixels)
    calls = Pixels.seen[2].calls
    count, other = (len(scene.data.part(name)) for name in ("test", "val"))
    sizes = [[5] * (n // 5) + [n % 5] * (n % 5 > 0) for n in (count, other)]
    assert [len(x) for x in calls] == [*sizes[0], *sizes[1]]
    confusion = np.array(found.evaluations["pixels"]["confusion_matrix"])
    assert confusion.sum() == count
    assert found.predictions["pixels"].shape == (count, 4)


def test_no_evaluator_can_reach_a_test_label(run, scene):
    """From what fit() and the outcome are given, following every reference, no test label and no split is found."""
    test = scene.data.part("test")
    given = []

    class Spy(Evaluator):
        def fit(self, train, val):
            given.extend([train, val])

            class Watching(Guess):
                def predict(self, x):
                    given.append(x)
                    return super().predict(x)

            return Watching()

    run(Spy)
    assert [type(item) for item in given] == [Features, Features, torch.Tensor, torch.Tensor]  # of test and validation
    tensors = [item for item in reachable(given) if isinstance(item, torch.Tensor) and item.dtype == torch.int64]
    assert not any(torch.equal(item, test.y) for item in tensors)
    assert len(tensors) == 4  # labels and groups of the training and the validation part


def reachable(start, limit=10_000):
    """Objects that can be reached from ``start`` by attributes and items, modules and classes left out."""
    seen, todo = {}, [start]
    while todo and len(seen) < limit:
        item = todo.pop()
        if id(item) in seen or isinstance(item, type | FrameType) or type(item).__name__ == "module":
            continue
        seen[id(item)] = item
        if isinstance(item, torch.Tensor):
            continue
        todo += gc.get_referents(item)
    assert len(seen) < limit
    return seen.values()


class Nothing(Evaluator):
    def fit(self, train, val):
        return object()


class SeesImages(Evaluator):
    needs = "images"

    def fit(self, train, val):
        return Count()


class Shorter(Evaluator):
    def fit(self, train, val):
        class Short(Observer):
            def observe(self, x):
                return Observation(arrays={"xy": np.zeros((3, 2))})

        return Short()


def test_broken_contracts_are_said(run):
    for plugin, words in {
        Nothing: "must be a Predictor, a Ranker or an Observer, but is an object",
        SeesImages: "works on images but returns a Count. It must return a Predictor",
        Shorter: "arrays\\['xy'\\] must have one row for each of 16 test images, but has 3",
    }.items():
        with pytest.raises(PluginError, match=words):
            run(plugin)


def test_two_outcomes_of_one_name_are_refused(run):
    class Plain_Twin(Nothing):
        def fit(self, train, val):
            return Guess()

    with pytest.raises(PluginError, match="two evaluator outcomes of this run are called 'plain_twin'"):
        run(Plain, Plain_Twin)


def test_names_of_other_arrays_are_refused(run):
    class Val_Plain(Nothing):
        def fit(self, train, val):
            return Guess()

    with pytest.raises(PluginError, match="must not be called 'val_plain'"):
        run(Val_Plain)
