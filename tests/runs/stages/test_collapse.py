"""A collapse is called by name, when it happens and in the result; sound and untrained encoders are left in peace."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest
import torch
from torch import nn

from medssl.contracts import Method
from medssl.runs.listener import Listener
from medssl.runs.stages.collapse import CollapseWatch, measure_features
from medssl.runs.stages.pretraining import pretrain
from medssl.tools import alignment, effective_rank, feature_std, uniformity
from medssl.train.loop.records import EpochRecord
from medssl_methods.simsiam import SimSiam


class Ear(Listener):
    """Remembers what it hears."""

    def __init__(self):
        self.notes, self.epochs = [], []

    def note(self, text):
        self.notes.append(text)

    def epoch(self, record):
        self.epochs.append(record)


class Constant(Method):
    """Scales the encoder's normalisation layers down to nothing: every image gets the same features."""

    def __init__(self, config, encoder, task):
        super().__init__(config, encoder, task)
        self.scales = [m.weight for m in encoder.modules() if isinstance(m, nn.BatchNorm2d)]

    def loss(self, batch, encode):
        encode(batch.views)
        return torch.cat(self.scales).square().sum()


class Labelled(Constant):
    uses_labels = True


class Untrained(Constant):
    trains = False


class Contrast(Method):
    """Pulls the views of an image together and pushes images apart."""

    def loss(self, batch, encode):
        x, y = (nn.functional.normalize(z, dim=1) for z in encode(batch.views))
        return nn.functional.cross_entropy(x @ y.T / 0.2, torch.arange(len(x)))


def record(epoch):
    return EpochRecord(
        epoch=epoch,
        loss=0.0,
        learning_rate=0.1,
        images=1,
        seconds=1.0,
        images_per_second=1.0,
        feature_std=1.0,
        effective_rank=9.0,
        validation={},
    )


SOUND = torch.randn(30, 16, generator=torch.Generator().manual_seed(0))
COLLAPSED = 1 + 1e-3 * SOUND


def measure(scene, recipe, x, ear):
    part = scene.data.part("train")
    return measure_features(scene.context(recipe=recipe, listener=ear), scene.encoder, (part, x))


def called(scene, seen, steps=50):
    """What is heard when every second of the epochs is validated."""
    ear = Ear()
    watch = CollapseWatch(scene.context(listener=ear), steps)
    for i, x in enumerate(seen):
        watch.epoch(record(2 * i))
        watch.look(x)
        watch.epoch(record(2 * i + 1))
    assert len(ear.epochs) == 2 * len(seen)
    return ear.notes


def test_collapse_is_called_once_when_two_validations_in_a_row_show_it(scene):
    (note,) = called(scene, [SOUND, COLLAPSED, SOUND, COLLAPSED, COLLAPSED, COLLAPSED])
    assert note.startswith("collapsed: after epoch 10 the features use 1.0 dimensions at a spread of 0.001")
    assert "try " in note


def test_sound_features_and_single_dips_are_not_called(scene):
    assert called(scene, [SOUND, COLLAPSED, SOUND, COLLAPSED]) == []


def test_nothing_is_called_in_the_first_hundred_steps(scene):
    assert called(scene, [COLLAPSED] * 4, steps=12) == []
    assert called(scene, [COLLAPSED] * 6, steps=12)[0].startswith("collapsed: after epoch 12 ")


def test_method_that_collapses_is_called_while_it_trains(scene, tmp_path, monkeypatch):
    monkeypatch.setattr("medssl.runs.stages.collapse._SETTLED", 9)
    ear = Ear()
    recipe = scene.with_method(Constant, epochs=4, learning_rate=0.05, validate_every=1)
    trained = pretrain(scene.context(tmp_path, recipe=recipe, listener=ear))
    assert len(ear.epochs) == len(trained.history) == 4
    assert [note[:10] for note in ear.notes] == ["collapsed:"]
    ear.notes.clear()
    recipe = scene.with_method(Contrast, epochs=4, learning_rate=0.05, validate_every=1)
    (tmp_path / "sound").mkdir()
    pretrain(scene.context(tmp_path / "sound", recipe=recipe, listener=ear))
    assert ear.notes == []


def test_measures_are_those_of_the_plain_features_and_of_two_views(scene, tmp_path):
    part, x = scene.features(tmp_path)["train"]
    found = measure(scene, scene.recipe, x, Ear())
    assert found["images"] == len(part)
    assert found["feature_dim"] == x.shape[1]
    assert found["effective_rank"] == pytest.approx(effective_rank(x), rel=1e-5)
    assert found["feature_std"] == pytest.approx(feature_std(x), rel=1e-5)
    assert found["uniformity"] == pytest.approx(uniformity(x), rel=1e-4)
    assert 0 < found["alignment"] < 4
    assert found["collapsed"] is None


def test_alignment_is_of_random_views(scene, tmp_path, monkeypatch):
    _, x = scene.features(tmp_path)["train"]
    shared = []
    monkeypatch.setattr(
        "medssl.runs.stages.collapse.alignment", lambda one, other: shared.extend([one, other]) or alignment(one, other)
    )
    found = measure(scene, scene.recipe, x, Ear())
    assert not torch.equal(*shared)
    assert found["alignment"] == alignment(*shared)


def test_at_most_a_thousand_images_are_measured(scene, tmp_path, monkeypatch):
    monkeypatch.setattr("medssl.runs.stages.collapse._IMAGES", 10)
    assert measure(scene, scene.recipe, scene.features(tmp_path)["train"][1], Ear())["images"] == 10


@pytest.mark.parametrize(
    ("method", "x", "name"),
    [
        (Contrast, COLLAPSED, "complete"),
        (Labelled, COLLAPSED, "complete"),
        (Untrained, COLLAPSED, None),
        (Contrast, SOUND[:, :1] * torch.ones(1, 16), "dimensional"),
        (Labelled, SOUND[:, :1] * torch.ones(1, 16), None),
        (Contrast, SOUND, None),
    ],
)
def test_collapse_is_named_and_warned_of(scene, caplog, monkeypatch, method, x, name):
    monkeypatch.setattr("medssl.runs.stages.collapse._SETTLED", 1)
    ear, part = Ear(), scene.data.part("train")
    x = x.repeat(len(part) // len(x) + 1, 1)[: len(part)]
    with caplog.at_level(logging.WARNING, logger="medssl"):
        assert measure(scene, scene.with_method(method), x, ear)["collapsed"] == name
    assert [note.split(":")[0] for note in ear.notes] == ["collapsed"] * bool(name)
    assert [r.getMessage() for r in caplog.records] == ear.notes


class WithoutStopGradient(SimSiam):
    def loss(self, batch, encode):
        z0, z1 = (self.projector(x) for x in encode(batch.views))
        p0, p1 = self.predictor(z0), self.predictor(z1)
        return (self.criterion(p0, z1) + self.criterion(p1, z0)) / 2


@pytest.mark.slow
@pytest.mark.parametrize(("method", "collapses"), [(SimSiam, False), (WithoutStopGradient, True)])
def test_simsiam_is_sound_and_collapses_without_its_stop_gradient(scene, tmp_path, method, collapses):
    """Figure 2 of Chen & He 2021, in small."""
    ear = Ear()
    recipe = scene.with_method(method, epochs=90, learning_rate=0.3, validate_every=10)
    encoder = replace(recipe.encoder, config=replace(recipe.encoder.config, backbone="resnet10t"))
    scene = replace(scene, recipe=replace(recipe, training=replace(recipe.training, encoder=encoder)))
    scene.encoder = pretrain(scene.context(tmp_path, listener=ear)).encoder
    found = measure(scene, scene.recipe, scene.features(tmp_path)["train"][1], ear)
    assert bool(found["collapsed"]) is collapses
    assert bool(ear.notes) is collapses
