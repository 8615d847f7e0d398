"""One folder per class: classes, parts, groups, and what users get wrong."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from medssl.errors import DataError, OptionError
from medssl.recipe import options
from medssl_datasets.folder import Folder


def build(root: Path, **values: object) -> Folder:
    return Folder(options.build(Folder.Config, values, "dataset"), root)


def by_id(dataset: Folder) -> dict:
    return {sample.id: sample for sample in dataset.index().samples}


# ------------------------------------------------------------------------------------------------------------ classes


def test_classes_are_the_folder_names_sorted(tmp_path, write):
    write(tmp_path, ["normal/1.png", "benign/benign (1).png", "benign/benign (10).png", "benign/deep/er/2.png"])
    write(tmp_path, [".cache/1.png", "__MACOSX/benign/1.png"])
    (tmp_path / "Thumbs.db").touch()
    dataset = build(tmp_path)
    samples = dataset.index().samples
    assert dataset.index().target.names == (
        "benign",
        "normal",
    )
    assert [(sample.id, sample.y) for sample in samples] == [
        ("benign/benign (1).png", 0),
        ("benign/benign (10).png", 0),
        ("benign/deep/er/2.png", 0),
        ("normal/1.png", 1),
    ]
    assert dataset.path(samples[0]) == tmp_path / "benign/benign (1).png"
    assert dataset.read(samples[0]).shape == (4, 3, 3)
    assert (dataset.index().default_split, dataset.index().group_kind, dataset.augmentation) == (
        "random",
        None,
        "natural",
    )


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(DataError, match=r"gone is not a folder"):
        build(tmp_path / "gone").index()


def test_empty_class_folders_are_named_all_at_once(tmp_path, write):
    write(tmp_path, ["a/1.png"])
    for name in ("b", "c"):
        (tmp_path / name).mkdir()
    (tmp_path / "b/readme.txt").touch()
    (tmp_path / "d").mkdir()
    with pytest.raises(DataError, match="no images in c, d below"):
        build(tmp_path).index()


def test_a_folder_around_the_class_folders_is_entered(tmp_path, write, warned):
    dataset = build(write(tmp_path, ["set/a/1.png", "set/b/1.png"]))
    assert dataset.index().target.names == ("a", "b")
    assert "the images lie in the folder set" in warned()


def test_excluded_images_are_left_out(tmp_path, write):
    write(tmp_path, ["a/a (1).png", "a/a (1)_mask.png", "b/b (1).png", "b/b (1)_mask.png"])
    assert list(by_id(build(tmp_path, exclude="_mask"))) == ["a/a (1).png", "b/b (1).png"]


# -------------------------------------------------------------------------------------------------------------- parts


def test_parts_are_recognised_when_all_top_folders_are_parts(tmp_path, write):
    write(tmp_path, ["train/a/1.png", "train/b/1.png", "valid/a/2.png", "Test/b/3.png"])
    dataset = build(tmp_path)
    found = {name: (sample.part, sample.y) for name, sample in by_id(dataset).items()}
    assert found == {
        "train/a/1.png": ("train", 0),
        "train/b/1.png": ("train", 1),
        "valid/a/2.png": ("val", 0),
        "Test/b/3.png": ("test", 1),
    }
    assert dataset.index().target.names == (
        "a",
        "b",
    )
    assert dataset.index().default_split == "official"


def test_one_part_beside_other_folders_is_an_error(tmp_path, write):
    with pytest.raises(DataError, match=r"holds train, which is named like a part of a split, and other.*--data-dir"):
        build(write(tmp_path, ["train/a/1.png", "other/a/1.png"])).index()


def test_parts_without_class_folders_have_no_labels(tmp_path, write):
    listing = build(write(tmp_path, ["train/1.png", "test/1.png"])).index()
    assert (listing.target.kind, {(s.part, s.y) for s in listing.samples}) == (
        "none",
        {("train", None), ("test", None)},
    )


# --------------------------------------------------------------------------------------------------------- unlabelled


def test_unlabelled_images_have_no_label(tmp_path, write):
    dataset = build(write(tmp_path, ["a/1.png", "b/1.png", "more/1.png", "more/x/2.png"]), unlabelled="more")
    assert {name: sample.y for name, sample in by_id(dataset).items()} == {
        "a/1.png": 0,
        "b/1.png": 1,
        "more/1.png": None,
        "more/x/2.png": None,
    }
    assert dataset.index().target.names == (
        "a",
        "b",
    )


def test_unlabelled_images_may_lie_beside_parts_and_in_them(tmp_path, write):
    write(tmp_path, ["train/a/1.png", "train/more/2.png", "test/a/3.png", "more/4.png"])
    found = by_id(build(tmp_path, unlabelled="more"))
    assert {name: (sample.part, sample.y) for name, sample in found.items()} == {
        "train/a/1.png": ("train", 0),
        "train/more/2.png": ("train", None),
        "test/a/3.png": ("test", 0),
        "more/4.png": (None, None),
    }


def test_an_unlabelled_folder_that_is_not_there_is_an_error(tmp_path, write):
    with pytest.raises(DataError, match=r"no folder 'unlabeled'.*Did you mean 'unlabelled'"):
        build(write(tmp_path, ["a/1.png", "unlabelled/1.png"]), unlabelled="unlabeled").index()


# ------------------------------------------------------------------------------------------------------------- groups

CELLS = ["Parasitized/C100P61ThinF_IMG_1_cell_168.png", "Uninfected/C37BP2_thinF_IMG_2_cell_9.png"]


@pytest.mark.parametrize("pattern", [r"/(C\d+)", r"(cell|IMG).*(?P<group>\d)|/(?P<x>y)"])
def test_groups_come_from_the_pattern(tmp_path, write, pattern):
    dataset = build(write(tmp_path, CELLS), group_pattern=pattern)
    groups = [sample.group for sample in dataset.index().samples]
    assert groups == (["C100", "C37"] if pattern.startswith("/") else ["8", "9"])
    assert (dataset.index().default_split, dataset.index().group_kind) == ("grouped", "group")


def test_a_pattern_that_fits_nothing_shows_examples(tmp_path, write):
    with pytest.raises(DataError, match=r"matches no image. The paths are like Parasitized/C100P61"):
        build(write(tmp_path, CELLS), group_pattern=r"patient_(\d+)").index()


def test_images_that_the_pattern_does_not_fit_are_listed(tmp_path, write, warned):
    found = by_id(build(write(tmp_path, CELLS), group_pattern=r"(C\d+)P"))
    assert [sample.group for sample in found.values()] == ["C100", None]
    assert f"1 images no group: {CELLS[1]}" in warned()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"group_pattern": "(C"}, "not a valid regular expression"),
        ({"exclude": "*"}, "not a valid regular expression"),
        ({"group_pattern": r"C\d+"}, "0 pairs of parentheses"),
        ({"group_pattern": r"(C)(\d+)"}, "2 pairs of parentheses"),
        ({"group_pattern": r"(C)", "groups": "groups.csv"}, "Leave one out"),
    ],
)
def test_bad_options_are_refused_before_any_file_is_touched(tmp_path, values, message):
    with pytest.raises(OptionError, match=message):
        build(tmp_path / "gone", **values)


def test_an_empty_cell_says_that_an_image_has_no_group(tmp_path, write, warned):
    root = write(tmp_path / "set", ["a/1.png", "a/2.png", "b/1.png"])
    (root / "groups.csv").write_text("path,group\na/1.png,p1\na/2.png,\n")
    assert [sample.group for sample in build(root, groups="groups.csv").index().samples] == ["p1", None, None]
    assert "1 images no group: b/1.png" in warned()


@pytest.mark.parametrize(
    "rows", ["a/1.png,p1\nb/1.png,p2", "./a/1.png,p1\nb\\1.png,p2", "set/a/1.png,p1\nset/b/1.png,p2"]
)
def test_groups_come_from_a_table_beside_or_below(tmp_path, write, rows):
    root = write(tmp_path / "set", ["a/1.png", "b/1.png"])
    table = (tmp_path if rows.startswith("set") else root) / "groups.csv"
    table.write_text(f"path,group\n{rows}\n")
    values = {"groups": str(table)} if rows.startswith("set") else {"groups": "groups.csv"}
    assert [sample.group for sample in build(root, **values).index().samples] == ["p1", "p2"]


def test_a_table_that_knows_no_image_or_is_missing_is_an_error(tmp_path, write):
    write(tmp_path, ["a/1.png", "b/1.png"])
    with pytest.raises(DataError, match=r"the table groups.csv is neither"):
        build(tmp_path, groups="groups.csv").index()
    (tmp_path / "groups.csv").write_text("path,group\nc/1.png,p\n")
    with pytest.raises(DataError, match=r"groups.csv matches no image"):
        build(tmp_path, groups="groups.csv").index()
    (tmp_path / "groups.csv").write_text("path,patient\na/1.png,p\n")
    with pytest.raises(DataError, match="no column 'group'"):
        build(tmp_path, groups="groups.csv").index()


# --------------------------------------------------------------------------------------------------------- real images


def test_breast_ultrasound(real_data):
    dataset = build(real_data("busi") / "Dataset_BUSI_with_GT")
    samples = dataset.index().samples
    assert dataset.index().target.names == (
        "benign",
        "malignant",
        "normal",
    )
    assert Counter(sample.y for sample in samples) == {0: 437, 1: 210, 2: 133}
    assert samples[0].id == "benign/benign (1).png"


def test_malaria_has_two_hundred_patients(real_data, warned):
    samples = build(real_data("malaria") / "cell_images", group_pattern=r"/(C\d+)").index().samples
    assert len(samples) == 3998
    assert len({sample.group for sample in samples}) == 200
    assert not warned()


def test_lung_tiles_take_their_groups_from_the_table(real_data, warned):
    folder = real_data("lc25000_lung")
    samples = build(folder / "lung_image_sets", groups=str(folder / "groups.csv")).index().samples
    assert len(samples) == 3698
    assert len({sample.group for sample in samples}) == 740
    assert not warned()
