"""The audit: copies, contradictions and leaks, planted and real."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from medssl.catalog import load_catalog
from medssl.contracts import Classes, Dataset, Listing, Sample
from medssl.data.audit import duplicates
from medssl.data.audit.findings import audit
from medssl.data.split.splits import make_split
from medssl.data.store.store import open_store
from medssl.io.identities import revealed
from medssl.recipe import choose
from medssl.recipe.settings import SplitSettings


class Pictures(Dataset):
    """Arrays by id; ``parts`` are official, so that a test says what is where."""

    def __init__(self, root):
        super().__init__(None, root)
        self.arrays, self.facts_of = {}, []

    def add(self, name, pixels, label, part, group=None):
        self.arrays[name] = pixels
        self.facts_of.append(Sample(id=name, y=label, group=group, part=part))

    def index(self):
        return Listing(samples=self.facts_of, target=Classes(("cat", "dog")), group_kind="patient")

    def read(self, sample):
        return self.arrays[sample.id]


def texture(seed, size=80):
    rng = np.random.default_rng(seed)
    x = sum(gaussian_filter(rng.standard_normal((size, size)), s) * s for s in (1.5, 5, 12))
    return np.uint8(np.clip(128 + 40 * x / x.std(), 0, 255))[..., None]


@pytest.fixture
def pictures(tmp_path):
    """Six different pictures of each class in every part."""
    dataset = Pictures(tmp_path)
    for number, part in enumerate(("train", "val", "test")):
        for label in (0, 1):
            for i in range(6):
                dataset.add(f"{part}/{label}/{i}", texture(100 * number + 10 * label + i), label, part)
    return dataset


@pytest.fixture
def check(tmp_path):
    def run(dataset, settings=None, protocol="official"):
        listing = dataset.index()
        store = open_store(dataset, listing.samples, view_size=64, cache=tmp_path)
        split = make_split(listing, settings or SplitSettings(), protocol)
        return audit(listing, store, split, cache=tmp_path)

    return run


def nearly(pixels):
    """The picture after a gain, an offset and some noise."""
    noise = np.random.default_rng(0).normal(0, 2, pixels.shape)
    return np.uint8(np.clip(20 + 0.8 * pixels + noise, 0, 255))


def test_different_pictures_leave_nothing_to_say(pictures, check):
    found = check(pictures)
    assert found.warnings == ()
    values = found.to_dict()
    assert values["equal"] == values["near"] == []
    assert values["parts"]["val"] == {"cat": 6, "dog": 6}
    assert values["sizes"] == {
        "height": {"min": 80, "median": 80.0, "max": 80},
        "width": {"min": 80, "median": 80.0, "max": 80},
        "shapes": 1,
        "channels": 1,
        "dtype": "uint8",
        "reduced": False,
    }
    assert values["groups"] is None
    assert json.loads(json.dumps(values)) == values


def named(warnings):
    """Look up the private names in warnings."""
    pattern = re.compile(r"[a-z]+-[0-9a-f]{12}")
    return tuple(pattern.sub(lambda found: revealed(found[0])[1], text) for text in warnings)


def test_a_test_image_that_was_trained_on_is_named(pictures, check):
    pictures.add("test/0/copy", pictures.arrays["train/0/3"], 0, "test")
    found = check(pictures)
    assert named(found.warnings) == (
        "audit: 1 set of identical images (2 images)",
        "audit: 1 of 13 test images is identical to a training or validation image, for instance test/0/copy and "
        "train/0/3",
    )
    assert found.to_dict()["seen_before"] == {
        "test": {"images": 13, "equal": 1, "near": 0, "either": 1},
        "val": {"images": 12, "equal": 0, "near": 0, "either": 0},
    }


def test_an_image_with_an_exact_and_a_near_copy_is_counted_once(pictures, check):
    pictures.add("test/0/copy", pictures.arrays["train/0/3"], 0, "test")
    pictures.add("train/0/nearly", nearly(pictures.arrays["train/0/3"]), 0, "train")
    assert check(pictures).seen_before["test"] == {"images": 13, "equal": 1, "near": 1, "either": 1}


def test_copies_inside_one_part_are_no_leak(pictures, check):
    pictures.add("test/0/copy", pictures.arrays["test/0/3"], 0, "test")
    assert check(pictures).warnings == ("audit: 1 set of identical images (2 images)",)


def test_copies_that_are_not_exact_and_turned_ones_are_named_too(pictures, check):
    pictures.add("test/0/a", nearly(pictures.arrays["train/0/1"]), 0, "test")
    pictures.add("test/0/b", nearly(pictures.arrays["val/0/2"])[::-1], 0, "test")
    pictures.add("val/0/c", nearly(pictures.arrays["train/0/4"]), 0, "val")
    found = check(pictures)
    assert named(found.warnings) == (
        "audit: 2 of 14 test images are nearly identical to a training or validation image, for instance test/0/a "
        "and train/0/1",
        "audit: 1 of 13 validation images is nearly identical to a training image, for instance val/0/c and train/0/4",
    )
    turned = {pair["images"][0]["id"]: pair["turned"] for pair in found.to_dict(names=True)["near"]}
    assert turned == {"train/0/1": False, "val/0/2": True, "train/0/4": False}


def test_a_picture_with_two_labels_and_one_of_two_patients_are_named(pictures, check):
    pictures.facts_of = [replace(s, group=f"p-{s.id}") for s in pictures.facts_of]
    pictures.add("train/1/twin", pictures.arrays["train/0/0"], 1, "train", "p-other")
    pictures.add("train/1/near", nearly(pictures.arrays["train/0/5"]), 1, "train", "p-train/0/5")
    warnings = named(check(pictures).warnings)
    assert warnings == (
        "audit: 1 set of identical images (2 images)",
        "audit: 1 set of identical images with several labels: train/0/0 (cat) and train/1/twin (dog)",
        "audit: 1 set of identical images of several patients: train/0/0 (p-train/0/0) and train/1/twin (p-other)",
        "audit: 1 pair of nearly identical images with two labels: train/0/5 (cat) and train/1/near (dog)",
    )


def test_equal_bytes_of_another_shape_are_another_picture(pictures, check):
    pictures.add("train/0/wide", np.ascontiguousarray(pictures.arrays["train/0/0"].reshape(40, 160, 1)), 0, "train")
    assert check(pictures).warnings == ()


def test_an_unlabelled_copy_of_a_test_image_is_a_leak_but_no_contradiction(pictures, check):
    pictures.add("more/0", pictures.arrays["test/1/2"], None, "train")
    warnings = named(check(pictures).warnings)
    assert "test/1/2 and more/0" in warnings[1]
    assert not any("labels" in warning for warning in warnings)


def test_groups_are_counted_by_part_and_class(pictures, check):
    pictures.facts_of = [replace(s, group=None if s.id[-1] == "5" else f"p{s.id[-1]}") for s in pictures.facts_of]
    groups = check(pictures).to_dict()["groups"]
    assert groups == {
        "kind": "patient",
        "count": 5,
        "images": {"min": 6, "median": 6.0, "max": 6},
        "images_without": 6,
        "with_several_labels": 5,
        "per_part": {"train": 5, "val": 5, "test": 5},
        "per_stratum": {"cat": 5, "dog": 5},
        "in_two_parts": {"train, val": 5, "train, test": 5, "val, test": 5},
    }


def test_the_same_copies_are_a_leak_under_one_split_and_a_remark_under_another(pictures, check):
    for label in (0, 1):
        for i in range(6):
            pictures.add(f"copy/{label}/{i}", pictures.arrays[f"train/{label}/{i}"], label, "train", f"{label}-{i}")
    pictures.facts_of = [
        replace(s, group=f"{s.id[-3]}-{s.id[-1]}") if s.id.startswith("train") else s for s in pictures.facts_of
    ]
    leaking = check(pictures, SplitSettings(fractions=(0.4, 0.3, 0.3)), "random").warnings
    assert any("test images" in warning for warning in leaking)
    assert check(pictures, SplitSettings(fractions=(0.4, 0.3, 0.3)), "grouped").warnings == (
        "audit: 12 sets of identical images (24 images)",
    )


# ---------------------------------------------------------------------------------------------------------- remembered


def test_copies_and_the_groups_they_belong_to_become_one_group(tmp_path, check):
    a, b, c, d = (texture(i) for i in range(4))
    dataset = Pictures(tmp_path)
    for name, pixels, group in (
        ("1", a, "kim"),
        ("2", a, None),  # a copy of kim's
        ("3", b, "kim"),
        ("4", nearly(b), "lee"),  # nearly a copy of kim's, so all of lee's images go with it
        ("5", c, "lee"),
        ("6", d, None),
        ("7", nearly(d), None),
        ("8", texture(4), None),
        ("9", texture(5), "moe"),
    ):
        dataset.add(name, pixels, int(name) % 2, "train" if name < "6" else "test", group)
    assert check(dataset).joined_groups == {**dict.fromkeys("12345", "kim"), "6": "6", "7": "6", "9": "moe"}


def test_findings_are_remembered_with_the_store_and_made_anew_with_it(pictures, check, tmp_path, monkeypatch):
    pictures.add("test/0/copy", pictures.arrays["train/0/3"], 0, "test")
    monkeypatch.setattr(Pictures, "fingerprint", lambda self: str(len(self.arrays)))
    first = check(pictures).warnings
    monkeypatch.setattr(duplicates, "_equal", lambda store: pytest.fail("compared again"))
    assert check(pictures).warnings == first
    (file,) = (tmp_path / "audits").iterdir()
    file.write_text("{")
    with pytest.raises(pytest.fail.Exception, match="compared again"):
        check(pictures)
    monkeypatch.undo()
    monkeypatch.setattr(Pictures, "fingerprint", lambda self: str(len(self.arrays)))
    assert check(pictures).warnings == first


def test_a_rebuilt_store_is_compared_again(pictures, check, tmp_path):
    """Images without a fingerprint are decoded at each start: what was found in other pixels must not be believed."""
    check(pictures)
    pictures.arrays["test/0/0"] = pictures.arrays["train/0/0"]
    assert "identical" in check(pictures).warnings[0]


def test_near_copies_of_equal_images_are_named_for_each_of_them(pictures, check):
    for name in ("test/0/copy", "train/1/copy"):
        pictures.add(name, pictures.arrays["train/0/3"], 0, name.partition("/")[0])
    for name in ("test/0/near", "test/1/near"):
        pictures.add(name, nearly(pictures.arrays["train/0/3"]), 0, "test")
    found = check(pictures)
    assert sorted(map(len, found.duplicates.equal)) == [2, 3]
    one, other = found.duplicates.equal
    assert [pair[:2] for pair in found.duplicates.near] == sorted(tuple(sorted((i, j))) for i in one for j in other)


def test_a_cache_that_cannot_be_written_costs_no_more_than_time(pictures, check, tmp_path):
    (tmp_path / "audits").write_text("in the way")
    pictures.add("test/0/copy", pictures.arrays["train/0/3"], 0, "test")
    assert len(check(pictures).warnings) == 2


# ---------------------------------------------------------------------------------------------------------- real images


@pytest.fixture
def look(tmp_path):
    """Audit one of the real datasets."""

    def run(name, root, protocol=None, **options):
        catalog = load_catalog()
        choice = choose("dataset", name, options, catalog)
        dataset = choice.plugin(choice.config, root, catalog.entry("dataset", name))
        listing = dataset.index()
        split = make_split(listing, SplitSettings(), protocol or listing.default_split)
        store = open_store(dataset, listing.samples, view_size=64, cache=tmp_path)
        return SimpleNamespace(split=split, audit=audit(listing, store, split, cache=tmp_path))

    return run


@pytest.mark.slow
def test_the_two_labels_of_one_breast_ultrasound_image_are_found(real_data, look):
    found = look("folder", real_data("busi") / "Dataset_BUSI_with_GT").audit
    (pair,) = found.to_dict()["equal"]
    assert {(revealed(image["id"])[1], image["label"]) for image in pair} == {
        ("benign/benign (433).png", "benign"),
        ("malignant/malignant (145).png", "malignant"),
    }
    assert any("1 set of identical images with several labels" in warning for warning in found.warnings)
    near = {tuple(revealed(image["id"])[1] for image in pair["images"]) for pair in found.to_dict()["near"]}
    assert ("benign/benign (233).png", "benign/benign (299).png") in near  # two frames of one recording
    assert 100 < len(near) < 160


@pytest.mark.slow
def test_thirty_sets_of_identical_radiographs_are_found_and_no_child_is_taken_for_another(real_data, look):
    found = look("pneumonia", real_data("pneumonia")).audit
    values = found.to_dict()
    assert len(values["equal"]) == 30
    assert all(len({(image["part"], image["label"]) for image in images}) == 1 for images in values["equal"])
    assert values["near"] == []
    assert values["seen_before"]["test"] == {"images": 624, "equal": 0, "near": 0, "either": 0}
    assert "audit: 30 sets of identical images (62 images)" in found.warnings


@pytest.mark.slow
def test_copies_of_one_tile_on_both_sides_are_found_with_and_without_the_table_of_groups(real_data, look):
    folder = real_data("lc25000_lung")
    known = look("csv", folder, "random")
    groups = known.audit.to_dict()["groups"]
    assert groups["count"] == 740
    assert groups["in_two_parts"]["train, test"] > 400
    assert any("test images share a group with a training image" in warning for warning in known.split.warnings)
    assert len(known.audit.to_dict()["equal"]) == 36
    unknown = look("folder", folder / "lung_image_sets", "random").audit
    seen = unknown.to_dict()["seen_before"]["test"]
    assert seen["equal"] >= 5
    assert seen["near"] >= 25
    assert any("test images are identical to a training or validation image" in text for text in unknown.warnings)
    tile_of = {s.id.removeprefix("lung_image_sets/"): s.group for s in known.audit.samples}
    pairs = Counter(len({tile_of[revealed(i["id"])[1]] for i in pair["images"]}) for pair in unknown.to_dict()["near"])
    assert pairs[1] > 100
    assert pairs[2] == 0


@pytest.mark.slow
def test_no_blood_cell_is_taken_for_another(real_data, look):
    found = look("csv", real_data("malaria"), group_column="slide_patient").audit
    assert all(warning.startswith("confounding: ") for warning in found.warnings)  # the colours tell the stain
