"""What the pre-training says about the encoder file that it writes."""

from __future__ import annotations

import pytest

import medssl
from medssl.runs.listener import Listener

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
