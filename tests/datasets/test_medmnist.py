"""MedMNIST: twelve sets in .npz files, four sizes, and the one with many findings."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import get_args, get_type_hints

import numpy as np
import pytest

from medssl.catalog import load_catalog
from medssl.contracts import Findings, Grades
from medssl.errors import DataError, OptionError
from medssl.recipe import options
from medssl_datasets import medmnist
from medssl_datasets._medmnist import LABELS, MODALITY
from medssl_datasets.medmnist import MedMNIST

COUNTS = {"train": 5, "val": 3, "test": 4}


@pytest.fixture(scope="module")
def facts():
    return load_catalog().entry("dataset", "medmnist")


def build(root: Path, facts=None, **values: object) -> MedMNIST:
    return MedMNIST(options.build(MedMNIST.Config, values, "dataset"), root, facts)


def make(file: Path, side: int = 28, channels: int = 1, columns: int = 1) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    shape = (side, side) if channels == 1 else (side, side, channels)
    arrays = {f"{part}_images": rng.integers(0, 256, (n, *shape), dtype=np.uint8) for part, n in COUNTS.items()}
    arrays |= {f"{part}_labels": rng.integers(0, 2, (n, columns), dtype=np.uint8) for part, n in COUNTS.items()}
    file.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(file, **arrays)
    return arrays


def test_class_names_and_files_are_those_of_the_catalogue(facts):
    assert set(facts["sets"]) == set(LABELS) == set(MODALITY)
    for name, known in facts["sets"].items():
        assert LABELS[name] == tuple(known["labels"][number] for number in sorted(known["labels"])), name
        for size, source in known["files"].items():
            values = {"name": name, "size": int(size)} | ({"finding": "mass"} if name == "chestmnist" else {})
            dataset = build(Path(), facts, **values)
            assert source["url"].endswith("/" + dataset.file.name)


def test_augmentations_are_those_of_the_catalogue():
    assert set(MODALITY.values()) <= set(load_catalog().augmentation_names())


def test_every_set_can_be_chosen():
    assert set(get_args(get_type_hints(MedMNIST.Config)["name"])) == set(LABELS)


def test_the_fourteen_findings_and_the_grades_are_targets_of_their_own(tmp_path):
    arrays = make(tmp_path / "chestmnist.npz", columns=14)
    listing = build(tmp_path, name="chestmnist").index()
    assert listing.target == Findings(LABELS["chestmnist"])
    values = [sample.y for sample in listing.samples if sample.part == "test"]
    assert values == [tuple(row) for row in arrays["test_labels"].tolist()]
    make(tmp_path / "retinamnist.npz")
    assert build(tmp_path, name="retinamnist").index().target == Grades(LABELS["retinamnist"])


@pytest.mark.parametrize(("size", "file"), [(28, "pneumoniamnist.npz"), (64, "pneumoniamnist_64.npz")])
def test_images_labels_and_parts_are_those_of_the_file(tmp_path, size, file):
    arrays = make(tmp_path / file, side=size)
    dataset = build(tmp_path, size=size)
    samples = dataset.index().samples
    assert Counter(sample.part for sample in samples) == COUNTS
    assert samples[0].id == "train/000000"
    for sample in samples:
        number = int(sample.id.partition("/")[2])
        assert sample.y == arrays[f"{sample.part}_labels"][number, 0]
        image = dataset.read(sample)
        assert image.shape == (size, size, 1)
        assert np.array_equal(image[..., 0], arrays[f"{sample.part}_images"][number])


def test_colour_stays_colour(tmp_path):
    arrays = make(tmp_path / "pathmnist.npz", channels=3)
    dataset = build(tmp_path, name="pathmnist")
    assert np.array_equal(dataset.read(dataset.index().samples[1]), arrays["train_images"][1])


def test_reading_from_several_threads_gives_the_same(tmp_path):
    arrays = make(tmp_path / "pneumoniamnist.npz")
    dataset = build(tmp_path)
    samples = dataset.index().samples * 5
    with ThreadPoolExecutor(8) as pool:
        images = list(pool.map(dataset.read, samples))
    expected = np.concatenate([arrays[f"{part}_images"] for part in COUNTS] * 5)
    assert np.array_equal(np.stack(images)[..., 0], expected)


def test_one_finding_makes_two_classes(tmp_path):
    arrays = make(tmp_path / "chestmnist.npz", columns=14)
    dataset = build(tmp_path, name="chestmnist", finding="mass")
    assert dataset.index().target.names == ("no mass", "mass")
    labels = [sample.y for sample in dataset.index().samples if sample.part == "test"]
    assert labels == arrays["test_labels"][:, LABELS["chestmnist"].index("mass")].tolist()


def test_a_finding_that_a_set_does_not_have_is_refused(tmp_path):
    with pytest.raises(OptionError, match="Did you mean 'effusion'"):
        build(tmp_path, name="chestmnist", finding="efusion")
    with pytest.raises(OptionError, match="is not possible for octmnist"):
        build(tmp_path, name="octmnist", finding="mass")


def test_an_unknown_set_or_size_is_refused(tmp_path):
    with pytest.raises(OptionError):
        build(tmp_path, name="pneumonia")
    with pytest.raises(OptionError):
        build(tmp_path, size=32)


def test_a_missing_file_is_explained(tmp_path, facts):
    with pytest.raises(DataError, match=r"octmnist_64.npz does not exist.*size=64.*e229e9440236b774d9f0dfef9d07"):
        build(tmp_path, facts, name="octmnist", size=64).index()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut short", b"\x93NUMPY"])
def test_a_damaged_file_is_named(tmp_path, content):
    (tmp_path / "pneumoniamnist.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"pneumoniamnist.npz is damaged or not a file of MedMNIST"):
        build(tmp_path).index()


def test_an_archive_without_the_arrays_is_named(tmp_path):
    np.savez(tmp_path / "pneumoniamnist.npz", other=np.zeros(3))
    with pytest.raises(DataError, match="train_labels"):
        build(tmp_path).index()


def test_more_labels_than_images_is_damage(tmp_path):
    """Found by a fuzz test."""
    arrays = make(tmp_path / "pneumoniamnist.npz")
    np.savez(tmp_path / "pneumoniamnist.npz", **{**arrays, "test_images": arrays["test_images"][:1]})
    dataset = build(tmp_path)
    last = [sample for sample in dataset.index().samples if sample.part == "test"][-1]
    with pytest.raises(DataError, match="it has 1 images of the part test, but more labels"):
        dataset.read(last)


def test_counts_that_differ_are_a_warning(tmp_path, facts, warned):
    make(tmp_path / "pneumoniamnist.npz")
    build(tmp_path, facts).index()
    assert "'train': 4708" in warned()


def test_the_fingerprint_follows_the_content(tmp_path):
    file = tmp_path / "pneumoniamnist.npz"
    make(file)
    before = build(tmp_path).fingerprint()
    assert before == hashlib.sha256(file.read_bytes()).hexdigest()
    file.write_bytes(file.read_bytes() + b"x")
    assert build(tmp_path).fingerprint() != before


def test_an_untouched_file_is_hashed_once(tmp_path, monkeypatch):
    file = tmp_path / "pneumoniamnist.npz"
    make(file)
    before = build(tmp_path).fingerprint()
    monkeypatch.setattr(medmnist.hashlib, "file_digest", None)
    assert build(tmp_path).fingerprint() == before
    os.utime(file, ns=(1, 1))
    with pytest.raises(TypeError):
        build(tmp_path).fingerprint()


def test_fetch_asks_for_the_right_file_once(tmp_path, facts, monkeypatch):
    asked = []

    def download(source, directory):
        asked.append(source)
        make(directory / source.file)

    monkeypatch.setattr(medmnist, "download", download)
    dataset = build(tmp_path / "new", facts, name="dermamnist", size=128)
    dataset.fetch()
    dataset.fetch()
    (source,) = asked
    assert source.url == "https://zenodo.org/records/10519652/files/dermamnist_128.npz"
    assert source.md5 == "2defd784463fa5243564e855ed717de1"
    assert source.licence == "CC BY-NC 4.0"


def test_the_real_file(real_data, facts, warned):
    dataset = build(real_data("medmnist"), facts)
    samples = dataset.index().samples
    assert Counter(sample.part for sample in samples) == {"train": 4708, "val": 524, "test": 624}
    assert Counter(sample.y for sample in samples) == {0: 1583, 1: 4273}
    assert dataset.read(samples[-1]).shape == (28, 28, 1)
    assert not warned()
