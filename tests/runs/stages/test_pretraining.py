"""Pre-training as a stage of a run: the images of a step, and what is said about the encoder file."""

from __future__ import annotations

from dataclasses import replace

import pytest

import medssl
from medssl.data.loading import load_data
from medssl.errors import TrainingError
from medssl.runs.listener import Listener
from medssl.runs.stages import pretraining
from medssl.runs.stages.pretraining import pretrain
from medssl_methods.fixmatch import FixMatch
from medssl_methods.supervised import Supervised

SMALL = {
    "dataset": {"patients_per_class": 4, "images_per_patient": 2, "size": 32},
    "views": {"image_size": 32},
    "train": {"batch_size": 4},
    "evaluators": "knn",
    "evaluate": {"bootstrap": 0, "baseline": False},
}


class Notes(Listener):
    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)


@pytest.mark.slow
@pytest.mark.parametrize(("stem", "said"), [("auto", True), ("standard", False)])
def test_a_small_stem_is_said(tmp_path, monkeypatch, stem, said):
    monkeypatch.setenv("MEDSSL_CACHE", str(tmp_path / "cache"))
    listener, encoder = Notes(), {"backbone": "resnet10t" if stem == "standard" else "resnet18", "stem": stem}
    place = medssl.Place(output=tmp_path)
    medssl.run("random", "phantom", place=place, listener=listener, encoder=encoder, **SMALL)
    assert any("has a small stem" in note and "encoder.stem=standard" in note for note in listener.notes) == said


# ------------------------------------------------------------------------------------------------------- few labels


def with_labels(scene, plugin, fraction):
    """The scene with fewer labels, and the recipe of a method."""
    recipe = scene.with_method(plugin)
    split = replace(recipe.split, label_fraction=fraction)
    recipe = replace(recipe, data=replace(recipe.data, split=split))
    return replace(scene, data=load_data(recipe.data, scene.data.dataset)), recipe


@pytest.mark.parametrize(("plugin", "known"), [(Supervised, None), (FixMatch, 2)])
def test_few_labels_are_in_every_batch_of_a_method_that_learns_from_them(scene, tmp_path, monkeypatch, plugin, known):
    batches = []

    class Watched(pretraining.Trainer):
        def _load(self, drawn, step):
            batches.append(super()._load(drawn, step))
            return batches[-1]

    monkeypatch.setattr(pretraining, "Trainer", Watched)
    scene, recipe = with_labels(scene, plugin, 0.2)
    pretrain(scene.context(tmp_path, recipe=recipe))
    part = scene.data.pretraining_part()
    labelled = int((part.y >= 0).sum())
    assert 0 < labelled < len(part) / 2
    assert len(batches) == 2 * (len(part) // 16)
    for batch in batches:
        assert bool((batch.y[-(known or 16) :] >= 0).all())
        assert len(batch.index) == (16 if known else min(16, labelled))


def test_one_labelled_image_is_not_enough(scene, tmp_path):
    scene, recipe = with_labels(scene, Supervised, 1.0)
    scene.data._hidden = frozenset(scene.data.split.train[1:])
    with pytest.raises(TrainingError, match=r"toy learns from labels.*has 1 labelled image\..*label_fraction"):
        pretrain(scene.context(tmp_path, recipe=recipe))
