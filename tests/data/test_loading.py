"""What the stages are given: parts, their labels, and what the result says of the data."""

from __future__ import annotations

import importlib.resources
import json

import jsonschema
import numpy as np
import pytest
from PIL import Image

from medssl.catalog import load_catalog
from medssl.data.loading import fingerprint, load_data, open_dataset
from medssl.errors import OptionError
from medssl.io.identities import private_id
from medssl.recipe import resolve


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Sixty cats and forty dogs of ten patients each, four more without a label."""
    root = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for name, count in (("cat", 60), ("dog", 40), ("more", 4)):
        for i in range(count):
            file = root / name / f"p{name}{i % 10}-{i}.png"
            file.parent.mkdir(exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (20, 20), np.uint8)).save(file)
    return root


@pytest.fixture
def load(folder, tmp_path_factory, monkeypatch):
    monkeypatch.setenv("MEDSSL_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))

    def data(protocol="random", method="random", **split):
        dataset = {"plugin": "folder", "unlabelled": "more", "group_pattern": r"(p\w+\d)-"}
        settings = {"split": {"protocol": protocol, **split}, "views": {"image_size": 16}}
        catalog = load_catalog()
        recipe = resolve(catalog, [{"method": method, "dataset": dataset, **settings}])
        loaded = load_data(recipe.data, open_dataset(recipe.dataset, catalog, folder))
        loaded.key = fingerprint(recipe, loaded)
        return loaded

    return data


def test_the_training_part_is_pre_trained_on_with_the_images_whose_labels_are_hidden(load):
    data = load(label_fraction=0.25)
    part = data.pretraining_part()
    assert part.ids == data.split.train
    assert (part.y >= 0).sum() == len(data.part("train")) < len(part)


def test_a_split_of_its_own_for_pre_training_leaks_and_the_result_says_so(load):
    honest, leaking = load(), load(pretrain_seed=1)
    assert leaking.split.sha256 == honest.split.sha256
    assert leaking.key != honest.key
    assert leaking.pretraining_part().ids == load(seed=1).split.train
    leaked = set(leaking.pretrained_on) & set(honest.split.test)
    assert leaked
    expected = f"leak: {len(leaked)} of {len(honest.split.test)} test images were used for pre-training"
    assert [w for w in leaking.describe()["warnings"] if w.startswith("leak")] == [
        f"{expected}, as requested with split.pretrain_seed"
    ]
    assert not any(w.startswith("leak") for w in honest.describe()["warnings"])


def test_no_method_gets_the_labels_of_a_leaking_split(load):
    with pytest.raises(OptionError, match=r"supervised learns from labels.*split.pretrain_seed"):
        load(method="supervised", pretrain_seed=1)


def labels(part):
    return dict(zip(part.ids, part.y.tolist(), strict=True))


def test_hidden_labels_leave_the_images_and_the_split_as_they_are(load):
    full, few = load(), load(label_fraction=0.1)
    assert few.split.sha256 == full.split.sha256
    for name in ("train", "val", "test"):
        assert few.part(name, labelled=False).ids == full.part(name, labelled=False).ids
    shown = labels(few.part("train"))
    assert sorted(shown.values()).count(0) == 4  # a tenth of 42
    assert sorted(shown.values()).count(1) == 3  # of 28
    assert labels(few.part("train", labelled=False)) == {
        name: shown.get(name, -1) for name in full.part("train", labelled=False).ids
    }
    assert sorted(labels(few.part("val")).values()) == [0, 1]


def test_the_test_part_keeps_all_its_labels(load):
    assert labels(load(label_fraction=0.01).part("test")) == labels(load().part("test"))
    assert len(load().part("test")) == 20


def test_more_labels_contain_fewer_and_another_seed_other_ones(load):
    few, more, other = (
        set(load(label_fraction=share, label_seed=seed).part("train").ids)
        for share, seed in ((0.1, 0), (0.3, 0), (0.1, 1))
    )
    assert few < more
    assert few != other


def test_whole_groups_keep_their_labels_where_the_split_is_grouped(load):
    data = load("grouped", label_fraction=0.3)
    train = data.part("train", labelled=False)
    shown = {group for group, label in zip(train.groups.tolist(), train.y.tolist(), strict=True) if label >= 0}
    labelled = data.part("train")
    everything = load("grouped").part("train")
    sizes = {name.rpartition("-")[0]: 0 for name in everything.ids}
    for name in everything.ids:
        sizes[name.rpartition("-")[0]] += 1
    for name in {name.rpartition("-")[0] for name in labelled.ids}:
        assert sum(each.startswith(f"{name}-") for each in labelled.ids) == sizes[name]
    assert len(shown) == len({name.rpartition("-")[0] for name in labelled.ids})


def test_the_result_says_which_labels_were_used(load):
    described = load(label_fraction=0.1, label_seed=3).describe()
    assert described["labels"] == {"fraction": 0.1, "seed": 3, "train": 7, "val": 2}
    why = "each class keeps at least one"
    assert [text for text in load(label_fraction=0.01).describe()["warnings"] if "label" in text] == [
        f"label fraction: 2 of 70 training labels are used (2.9% instead of 1.0%), because {why}",
        f"label fraction: 2 of 10 validation labels are used (20.0% instead of 1.0%), because {why}",
    ]
    assert load().describe()["labels"] == {"fraction": 1.0, "seed": 0, "train": 70, "val": 10}
    assert not any("label fraction" in warning for warning in load().describe()["warnings"])


@pytest.mark.parametrize(
    ("protocol", "fold"),
    [
        ("random", None),
        ("kfold", {"index": 2, "count": 5, "left_out": None}),
        ("loso", {"index": 2, "count": 20, "left_out": "pcat2"}),
    ],
)
def test_the_data_section_keeps_the_schema_and_names_the_fold(load, protocol, fold):
    described = load(protocol, fold=fold and fold["index"]).describe()
    left_out = fold and fold["left_out"]
    assert described["fold"] == (fold and {**fold, "left_out": left_out and private_id("group", left_out)})
    schema = json.loads((importlib.resources.files("medssl.results") / "result.schema.json").read_text())
    jsonschema.validate(described, {**schema["properties"]["data"], "$defs": schema["$defs"]})


def test_findings_of_the_audit_stand_among_the_warnings(load, folder):
    copy = folder / "dog" / "pdog9-copy.png"
    try:
        copy.write_bytes((folder / "cat" / "pcat0-0.png").read_bytes())
        data = load()
    finally:
        copy.unlink()
    warnings = data.describe()["warnings"]
    assert "audit: 1 set of identical images (2 images)" in warnings
    names = [private_id("image", name) for name in ("cat/pcat0-0.png", "dog/pdog9-copy.png")]
    assert any(f"{names[0]} (cat) and {names[1]} (dog)" in warning for warning in warnings)
