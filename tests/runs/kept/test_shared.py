"""Features of a frozen encoder are computed once for a set of images."""

from __future__ import annotations

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

from medssl.catalog import load_catalog
from medssl.runs.kept import shared
from medssl.runs.listener import Listener
from medssl.runs.pipeline import Place, execute
from medssl.runs.stages.features import features_of
from medssl.study.grid import expand
from medssl.study.plan import plan_of
from medssl.train.encoder.building import Encoder
from medssl_methods.random import Random


@pytest.fixture
def frozen(scene, tmp_path, monkeypatch):
    """A run that trains nothing, an encoder with given weights, and the number of images it encodes."""
    monkeypatch.setenv("MEDSSL_CACHE", str(tmp_path))
    counted = []
    extract = shared.extract

    def counting(encoder, views, n, **options):
        counted.append(n)
        return extract(encoder, views, n, **options)

    monkeypatch.setattr(shared, "extract", counting)
    monkeypatch.setattr(scene.encoder, "origin", {"source": "weights.pth", "sha256": "0" * 64})
    return scene.context(tmp_path / "run", recipe=scene.with_method(Random)), scene.encoder, counted


def test_a_second_run_computes_only_what_is_missing(frozen):
    context, encoder, counted = frozen
    part = context.data.part("train")
    half = part.take(np.arange(0, len(part), 2))
    first = features_of(context, encoder, half)
    whole = features_of(context, encoder, part)
    again = features_of(context, encoder, part)
    assert counted == [len(half), len(part) - len(half)]
    assert torch.equal(whole, again)
    torch.testing.assert_close(whole[::2], first)


def test_shared_features_are_those_of_the_encoder(frozen):
    context, encoder, _ = frozen
    part = context.data.part("test")
    found = features_of(context, encoder, part)
    expected = shared.extract(encoder, context.plain(part), len(part), precision=context.machine.precision)
    assert torch.equal(found, expected)


def test_other_weights_have_other_features(frozen, monkeypatch):
    context, encoder, counted = frozen
    part = context.data.part("test")
    features_of(context, encoder, part)
    monkeypatch.setattr(encoder, "origin", {"source": "weights.pth", "sha256": "1" * 64})
    features_of(context, encoder, part)
    assert counted == [len(part), len(part)]


def test_damaged_file_is_computed_again(frozen, tmp_path):
    context, encoder, counted = frozen
    part = context.data.part("test")
    before = features_of(context, encoder, part)
    (file,) = (tmp_path / "features").glob("*.npz")
    file.write_bytes(file.read_bytes()[:50])
    assert torch.equal(features_of(context, encoder, part), before)
    assert counted == [len(part), len(part)]


def test_random_weights_are_not_shared(frozen, monkeypatch, tmp_path):
    context, encoder, _ = frozen
    monkeypatch.setattr(encoder, "origin", {})
    features_of(context, encoder, context.data.part("test"))
    assert not (tmp_path / "features").exists()


@pytest.mark.slow
def test_the_cells_of_a_study_encode_each_image_once(tmp_path, monkeypatch):
    """Three seeds and two label fractions, as `medssl bench` expands them: six cells, one pass over the images."""
    monkeypatch.setenv("MEDSSL_CACHE", str(tmp_path / "cache"))
    rng, images = np.random.default_rng(0), 60
    for number in range(images):
        file = tmp_path / "pictures" / f"class{number % 2}" / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 200, (32, 32)).astype(np.uint8) + 40 * (number % 2)).save(file)
    save_file(timm.create_model("test_resnet").state_dict(), tmp_path / "weights.safetensors")
    encoded, forward = [], Encoder.forward

    def counting(self, x):
        encoded.append(len(x))
        return forward(self, x)

    monkeypatch.setattr(Encoder, "forward", counting)
    plan = plan_of(
        methods=["none"],
        datasets=["folder"],
        encoders=[{"plugin": "timm", "backbone": "test_resnet", "weights": str(tmp_path / "weights.safetensors")}],
        evaluators=["knn"],
        seeds=3,
        label_fractions=[0.4, 1.0],
    )
    catalog, settings = load_catalog(), [{"views": {"image_size": 32}, "evaluate": {"bootstrap": 20}}]
    cells = expand(plan, settings, catalog, tmp_path / "pictures")
    place = Place(data_dir=tmp_path / "pictures", output=tmp_path / "runs", device="cpu")
    for cell in cells:
        execute(cell.recipe, catalog=catalog, place=place, listener=Listener())
    assert len({cell.recipe.hash for cell in cells}) == len(list((tmp_path / "runs").glob("*/result.json"))) == 6
    assert sum(encoded) == images  # nothing but the features is encoded
