"""Datasets of Hugging Face: saved, as Parquet and as a folder of images, without a network."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from PIL import Image

from medssl.contracts import Classes, Findings, Grades, Quantity, Unlabelled
from medssl.errors import DataError
from medssl_datasets.hf import HF

datasets = pytest.importorskip("datasets")


@pytest.fixture(autouse=True)
def offline(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    datasets.disable_progress_bars()


def picture(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (9, 7), dtype=np.uint8))


def table(count: int, start: int = 0, **columns: list):
    kinds = {name: values.pop(0) for name, values in columns.items()}
    rows = {"scan": [picture(start + i) for i in range(count)], **columns}
    return datasets.Dataset.from_dict(rows, datasets.Features({"scan": datasets.Image(), **kinds}))


def labels(names=("ill", "well")):
    return datasets.ClassLabel(names=list(names))


def listed(root, **options):
    dataset = HF(HF.Config(name="data", **options), root)
    return dataset, dataset.index()


def test_a_saved_dataset_with_parts_groups_and_an_unknown_label(tmp_path) -> None:
    text = datasets.Value("string")
    train = table(4, dx=[labels(), 0, 1, None, 1], patient=[text, "a", "a", "b", "c"])
    test = table(2, 50, dx=[labels(), 1, 0], patient=[text, "d", "e"])
    datasets.DatasetDict({"train": train, "test": test}).save_to_disk(tmp_path / "data")
    dataset, listing = listed(tmp_path, group_column="patient")
    assert listing.target == Classes(("ill", "well"))
    assert [sample.y for sample in listing.samples] == [0, 1, None, 1, 1, 0]
    assert [sample.part for sample in listing.samples] == ["train"] * 4 + ["test"] * 2
    assert [sample.group for sample in listing.samples][:3] == ["a", "a", "b"]
    assert (listing.default_split, listing.group_kind) == ("official", "patient")
    assert np.array_equal(dataset.read(listing.samples[5])[:, :, 0], np.asarray(picture(51)))
    assert dataset.fingerprint() == listed(tmp_path)[0].fingerprint()
    found = HF.understand(tmp_path / "data", {})
    assert found is not None
    assert found.options == {"name": str(tmp_path / "data")}


def test_a_folder_of_parquet_files(tmp_path) -> None:
    (tmp_path / "data").mkdir()
    table(3, findings=[datasets.Sequence(labels(("a", "b", "c"))), [0, 2], [], None]).to_parquet(
        tmp_path / "data" / "train-0.parquet"
    )
    dataset, listing = listed(tmp_path)
    assert listing.target == Findings(("a", "b", "c"))
    assert [sample.y for sample in listing.samples] == [(1, 0, 1), (0, 0, 0), None]
    assert dataset.read(listing.samples[0]).shape == (9, 7, 1) or dataset.read(listing.samples[0]).shape[:2] == (9, 7)


def test_a_folder_of_images(tmp_path) -> None:
    for i in range(4):
        file = tmp_path / "data" / ("x", "y")[i % 2] / f"{i}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        picture(i).save(file)
    _, listing = listed(tmp_path)
    assert listing.target == Classes(("x", "y"))
    assert sorted(sample.y for sample in listing.samples) == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("kind", "cells", "options", "target", "expected"),
    [
        ("int64", [2, 10, 0], {"target": "grades"}, Grades(("0", "2", "10")), [1, 2, 0]),
        ("float32", [1.5, float("nan"), 40.0], {}, Quantity, [1.5, None, 40.0]),
        ("string", ["no", "NA", "yes"], {}, Classes(("no", "yes")), [0, None, 1]),
        ("string", ["no", "NA", "yes"], {"label_column": "none"}, Unlabelled(), [None] * 3),
    ],
)
def test_kinds_of_labels(tmp_path, kind, cells, options, target, expected) -> None:
    table(3, label=[datasets.Value(kind), *cells]).save_to_disk(tmp_path / "data")
    _, listing = listed(tmp_path, **options)
    assert listing.target == target if not isinstance(target, type) else isinstance(listing.target, target)
    assert [sample.y for sample in listing.samples] == expected


def test_what_is_wrong_is_said(tmp_path, monkeypatch) -> None:
    table(2, dx=[labels(), 0, 1]).save_to_disk(tmp_path / "data")
    with pytest.raises(DataError, match=r"no column 'patiant'.*Columns: scan, dx"):
        listed(tmp_path, group_column="patiant")
    with pytest.raises(DataError, match="no dataset is named"):
        HF(HF.Config(), tmp_path).index()
    with pytest.raises(
        DataError, match=r"'owner/none' cannot be opened.*medssl fetch hf --set dataset.name=owner/none"
    ):
        HF(HF.Config(name="owner/none"), tmp_path).index()
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DataError, match=r'pip install "medssl\[hf\]"'):
        HF(HF.Config(name="data"), tmp_path).index()
