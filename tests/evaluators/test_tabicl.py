"""TabICL as an evaluator: with small random weights where the package is installed, and honest errors elsewhere."""

from __future__ import annotations

import sys
from dataclasses import replace
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch

from medssl.contracts.targets import Classes
from medssl.errors import CheckpointError, OptionError, PluginError
from medssl_evaluators.tabicl import TabICL


@pytest.fixture
def stand_in(monkeypatch, tmp_path):
    """A package whose classifier answers with the mean of the first column by class, and keeps what it was given."""
    module = ModuleType("tabicl")
    module.given = {}

    class Fake:
        def __init__(self, **given):
            module.given.update(given)

        def fit(self, x, y):
            module.given["x"] = x
            self.model_, self.classes_ = SimpleNamespace(max_classes=3), np.unique(y)
            self.n_classes_ = len(self.classes_)
            if self.n_classes_ > 3:
                raise ValueError("too many classes")

        def predict_proba(self, x):
            module.given["asked"] = x
            return np.full((len(x), len(self.classes_)), 1 / len(self.classes_))

    module.TabICLClassifier = Fake
    monkeypatch.setitem(sys.modules, "tabicl", module)
    (tmp_path / "w.ckpt").write_bytes(b"weights")
    return module


def fitted(part, weights, seed=0, **options):
    return TabICL(TabICL.Config(weights=weights, **options), seed).fit(part, part)


def test_missing_weights_say_where_they_are(blobs):
    with pytest.raises(CheckpointError, match=r"needs weights\. Download .*huggingface\.co/jingang/TabICL.*--set"):
        fitted(blobs(20, 0), None)


def test_missing_package_is_named_with_the_command_that_brings_it(blobs, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "tabicl", None)  # importing it now fails
    with pytest.raises(PluginError, match=r"needs the package tabicl.*pip install medssl\[tabicl\].*'linear'"):
        fitted(blobs(20, 0), tmp_path / "w.ckpt")


def test_weights_file_that_is_not_there(blobs, stand_in, tmp_path):
    with pytest.raises(CheckpointError, match=r"absent\.ckpt does not exist\. Download"):
        fitted(blobs(20, 0), tmp_path / "absent.ckpt")


def test_nothing_is_downloaded_and_options_are_passed_on(blobs, stand_in, tmp_path):
    fitted(blobs(20, 0), tmp_path / "w.ckpt", seed=7, members=3)
    names = ("allow_auto_download", "support_many_classes", "random_state", "n_estimators", "model_path")
    assert [stand_in.given[name] for name in names] == [False, False, 7, 3, tmp_path / "w.ckpt"]


def test_wide_features_become_the_principal_components_of_the_training_part(blobs, stand_in, tmp_path):
    part = blobs(40, 0)
    predictor = fitted(part, tmp_path / "w.ckpt", components=2)
    centred = (part.x - part.x.mean(dim=0)).double()
    variances = torch.linalg.eigvalsh(centred.T @ centred / len(centred)).flip(0)[:2]
    np.testing.assert_allclose(stand_in.given["x"].var(axis=0), variances, rtol=1e-4)
    assert predictor.selected == {"components": 2}
    assert "were reduced to 2 principal components" in predictor.notes[0]
    query = blobs(5, 1).x
    predictor.predict(query)
    axes = np.linalg.lstsq(centred.numpy(), stand_in.given["x"], rcond=None)[0]
    np.testing.assert_allclose(stand_in.given["asked"], (query - part.x.mean(dim=0)).numpy() @ axes, atol=1e-3)


def test_narrow_features_stay_as_they_are(blobs, stand_in, tmp_path):
    part = blobs(40, 0)
    predictor = fitted(part, tmp_path / "w.ckpt")
    np.testing.assert_array_equal(stand_in.given["x"], part.x.numpy())
    assert (dict(predictor.selected), predictor.notes) == ({}, ())


def test_class_without_a_training_image_has_no_probability(blobs, stand_in, tmp_path):
    part = blobs(40, 0)
    part = replace(part, target=Classes((*part.target.names, "rare")))
    proba = fitted(part, tmp_path / "w.ckpt").predict(part.x[:4])
    assert (proba[:, -1] == 0).all()
    torch.testing.assert_close(proba.sum(dim=1), torch.ones(4))


def test_more_classes_than_the_weights_know_are_refused(blobs, stand_in, tmp_path):
    part = replace(blobs(40, 0), y=torch.arange(40) % 4, target=Classes(tuple("abcd")))
    with pytest.raises(OptionError, match=r"cannot tell 4 classes apart\. Its weights know 3\. Use the evaluator"):
        fitted(part, tmp_path / "w.ckpt")


def test_one_class_needs_no_weights(blobs):
    part = blobs(20, 0)
    part = replace(part, y=torch.zeros_like(part.y))
    assert (fitted(part, None).predict(part.x)[:, 0] == 1).all()


# --------------------------------------------------------------------------------------------------- the real package


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """A checkpoint of the package's form with a small random network, and no way to a hub."""
    pytest.importorskip("tabicl")
    from tabicl._model.tabicl import TabICL as Network

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    small = {"embed_dim": 16, "col_num_blocks": 1, "col_nhead": 2, "col_num_inds": 8, "row_num_blocks": 1}
    small |= {"row_nhead": 2, "row_num_cls": 2, "icl_num_blocks": 1, "icl_nhead": 2}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = Network(max_classes=3, **small)
    torch.save({"config": {"max_classes": 3, **small}, "state_dict": network.state_dict()}, tmp_path / "small.ckpt")
    return tmp_path / "small.ckpt"


@pytest.mark.slow
def test_predictions_are_those_of_the_package_and_do_not_depend_on_their_batch(blobs, weights):
    from tabicl import TabICLClassifier

    part, query = blobs(40, 0), blobs(9, 1).x
    predictor = fitted(part, weights, seed=3, members=2)
    proba = predictor.predict(query)
    own = TabICLClassifier(n_estimators=2, model_path=weights, allow_auto_download=False, random_state=3)
    expected = own.fit(part.x.numpy(), part.y.numpy()).predict_proba(query.numpy())
    np.testing.assert_allclose(proba.numpy(), expected, atol=1e-6)
    torch.testing.assert_close(predictor.predict(query[:2]), proba[:2], atol=1e-5, rtol=1e-4)
    assert torch.equal(fitted(part, weights, seed=3, members=2).predict(query), proba)


@pytest.mark.slow
def test_it_keeps_the_contract(weights):
    from medssl.conformance import run_checks

    results = run_checks("evaluator", TabICL, config=TabICL.Config(weights=weights, members=2))
    problems = {each.name for each in results if each.problem is not None}
    assert problems == {"tells toy classes apart"}  # the weights are random


@pytest.mark.slow
@pytest.mark.parametrize("content", [b"", b"version https://git-lfs", "a state dict", "other classes"])
def test_other_files_are_refused(blobs, weights, tmp_path, content):
    path = tmp_path / "other.ckpt"
    if content == "a state dict":
        torch.save({"weight": torch.zeros(3)}, path)
    elif isinstance(content, bytes):
        path.write_bytes(content)
    else:
        part = replace(blobs(40, 0), y=torch.arange(40) % 4, target=Classes(tuple("abcd")))
        with pytest.raises(OptionError, match="Its weights know 3"):
            fitted(part, weights)
        return
    with pytest.raises(CheckpointError, match=r"other\.ckpt cannot be used as weights of TabICL .*Download"):
        fitted(blobs(40, 0), path)
