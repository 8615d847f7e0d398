"""Folders as people have them: parts in any spelling, wrappers, folds, masks, junk, archives. Each test is one kind."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from medssl.contracts import Sample
from medssl.errors import DataError
from medssl.recipe import options
from medssl_datasets.folder import Folder


def build(root: Path, **values: object) -> Folder:
    return Folder(options.build(Folder.Config, values, "dataset"), root)


def found(root: Path, **values: object) -> dict[str, tuple[str | None, str | None]]:
    """Return part and class of each image by its path."""
    listing = build(root, **values).index()

    def of(sample: Sample) -> tuple[str | None, str | None]:
        return sample.part, None if sample.y is None else listing.target.text(sample.y)

    return {sample.id: of(sample) for sample in listing.samples}


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [
        ("Training", "Validation", "Testing"),
        ("TRAIN", "VALID", "TEST"),
        ("training_set", "validation_set", "test_set"),
        ("train-images", "dev", "test images"),
        ("trainset", "valset", "testset"),
        ("Train_data", "Val_data", "Test_data"),
    ],
)
def test_parts_in_any_usual_spelling(tmp_path, write, warned, train, val, test):
    write(tmp_path, [f"{part}/{name}/1.png" for part in (train, val, test) for name in "ab"])
    assert found(tmp_path) == {
        f"{folder}/{name}/1.png": (part, name)
        for folder, part in ((train, "train"), (val, "val"), (test, "test"))
        for name in "ab"
    }
    assert f"{train} is the train part" in warned()


@pytest.mark.parametrize("beside", ["sample_images/1.png", "external/a/1.png", "fold1/a/1.png"])
def test_a_folder_beside_the_parts_is_left_out_and_named(tmp_path, write, warned, beside):
    write(tmp_path, ["train/a/1.png", "train/b/1.png", "test/a/2.png", "test/b/2.png", beside])
    assert len(found(tmp_path)) == 4
    assert f"{beside.partition('/')[0]} in {tmp_path} is left out" in warned()


def test_parts_may_lie_in_the_class_folders(tmp_path, write):
    write(tmp_path, [f"{name}/{part}/1.png" for name in "ab" for part in ("train", "test")])
    assert found(tmp_path) == {f"{n}/{p}/1.png": (p, n) for n in "ab" for p in ("train", "test")}


def test_parts_may_have_folders_of_images_around_the_classes(tmp_path, write):
    write(tmp_path, ["Data/train/images/a/1.png", "Data/train/images/b/1.png", "Data/test/images/a/2.png"])
    assert set(found(tmp_path).values()) == {("train", "a"), ("train", "b"), ("test", "a")}


def test_unlabelled_test_images_beside_labelled_training_images(tmp_path, write):
    write(tmp_path, ["train/a/1.png", "train/b/1.png", "test/1.png"])
    assert found(tmp_path)["test/1.png"] == ("test", None)


@pytest.mark.parametrize("name", ["fold1", "Fold 1", "fold_1", "split-1"])
def test_folds_are_put_together(tmp_path, write, warned, name):
    names = [name, name.replace("1", "2")]
    write(tmp_path, [f"{fold}/{label}/{fold}.png" for fold in names for label in "ab"])
    assert set(found(tmp_path).values()) == {(None, "a"), (None, "b")}
    assert "are folds of a split" in warned()


def test_folds_with_their_own_parts_hold_the_same_images_and_are_refused(tmp_path, write):
    write(tmp_path, [f"fold{i}/{part}/{name}/1.png" for i in (1, 2) for part in ("train", "test") for name in "ab"])
    with pytest.raises(DataError, match=r"fold1, fold2 .* Choose one of them.*--data-dir .*fold1"):
        build(tmp_path).index()


@pytest.mark.parametrize("inner", ["", "images/"])
def test_a_lone_folder_around_everything_is_entered(tmp_path, write, inner):
    write(tmp_path, [f"archive/Dataset v2/{inner}{name}/1.png" for name in "ab"])
    assert {label for _, label in found(tmp_path).values()} == {"a", "b"}


MASKS = [
    ["a/images/1.png", "a/masks/1.png", "b/images/2.png", "b/masks/2.png"],
    ["images/a/1.png", "images/b/2.png", "masks/a/1.png", "masks/b/2.png"],
    ["a/1.png", "a/1_mask.png", "b/2.png", "b/2_mask.png"],
    ["a/1.png", "a/1_mask.png", "a/1_mask_1.png", "b/2.png", "b/2_seg.png"],
    ["a/img/1.png", "a/img/1-segmentation.png", "b/img/2.png", "b/img/2_gt.png"],
    ["a/Images/1.png", "a/GroundTruth/1_GT.png", "b/Images/2.png", "b/GroundTruth/2_GT.png"],
    ["train/a/1.png", "train/b/2.png", "train/b/2_mask.png", "test/a/3.png", "test/a/3_mask.png", "test/b/3.png"],
]


@pytest.mark.parametrize("names", MASKS)
def test_masks_are_left_out_and_counted(tmp_path, write, warned, names):
    samples = found(write(tmp_path, names))
    assert not [name for name in samples if any(word in name.lower() for word in ("mask", "seg", "gt", "truth"))]
    assert {label for _, label in samples.values()} == {"a", "b"}
    assert f"{len(names) - len(samples)} masks are left out" in warned()
    assert len(found(tmp_path, masks="keep")) >= len(samples)


@pytest.mark.parametrize(
    "names", [["mask/1.png", "no mask/2.png"], ["a/x_mask.png", "b/y_mask.png"], ["seg/1.png", "b/2.png"]]
)
def test_what_is_only_named_like_a_mask_is_kept(tmp_path, write, names):
    assert len(found(write(tmp_path, names))) == 2


def test_files_of_operating_systems_are_ignored(tmp_path, write, warned):
    write(
        tmp_path,
        ["a/1.png", "b/1.png", "__MACOSX/a/._1.png", "a/.ipynb_checkpoints/1.png", "b/@eaDir/1.png", "a/._1.png"],
    )
    for name in (".DS_Store", "a/Thumbs.db", "b/desktop.ini"):
        (tmp_path / name).write_bytes(b"x")
    assert sorted(found(tmp_path)) == ["a/1.png", "b/1.png"]
    assert warned() == ""


def test_files_that_are_no_images_are_counted_by_kind(tmp_path, write, warned):
    write(tmp_path, ["a/1.png", "b/1.png"])
    for number in range(3):
        (tmp_path / f"a/g{number}.gif").write_bytes(b"GIF89a")
        (tmp_path / f"b/odd{number}").write_bytes(b"nothing that is known")
    (tmp_path / "a/notes.txt").touch()
    assert len(found(tmp_path)) == 2
    assert "3 .gif files (GIF), 3 files without a suffix" in warned()
    assert "notes" not in warned()


@pytest.mark.parametrize("name", ["images.zip", "b.tar.gz", "all.7z"])
def test_archives_are_named_and_not_opened(tmp_path, write, warned, name):
    write(tmp_path, ["a/1.png", "b/1.png"])
    (tmp_path / name).write_bytes(b"PK\x03\x04")
    assert len(found(tmp_path)) == 2
    assert f"archives are not opened: {name}" in warned()


def test_an_archive_alone_is_named(tmp_path):
    (tmp_path / "d.zip").write_bytes(b"PK\x03\x04")
    with pytest.raises(DataError, match=r"no images are found.*Unpack d.zip first"):
        build(tmp_path).index()


def test_one_class_in_several_spellings_is_one_class(tmp_path, write, warned):
    write(tmp_path, ["train/No_Tumor/1.png", "train/tumor/1.png", "test/no tumor/1.png", "test/Tumor/1.png"])
    assert len({label for _, label in found(tmp_path).values()}) == 2
    assert "differ only in letter case or spaces are one class" in warned()


def test_folders_that_repeat_below_each_class_are_doubted(tmp_path, write, warned):
    write(tmp_path, [f"{site}/{name}/1.png" for site in ("north", "south") for name in ("benign", "malignant")])
    assert {label for _, label in found(tmp_path).values()} == {"north", "south"}
    assert "each of north, south holds the folders benign, malignant" in warned()
    chosen = found(tmp_path, label_pattern="([^/]+)/[^/]+$", site_pattern="^([^/]+)/")
    assert {label for _, label in chosen.values()} == {"benign", "malignant"}
    listing = build(tmp_path, label_pattern="([^/]+)/[^/]+$", site_pattern="^([^/]+)/").index()
    assert {sample.site for sample in listing.samples} == {"north", "south"}


def test_images_in_no_folder_have_no_labels(tmp_path, write):
    listing = build(write(tmp_path, ["1.png", "2.png"])).index()
    assert (listing.target.kind, [s.y for s in listing.samples]) == ("none", [None, None])


def test_images_beside_the_class_folders_are_named(tmp_path, write, warned):
    assert len(found(write(tmp_path, ["a/1.png", "b/1.png", "overview.png"]))) == 2
    assert "left out: 1 image beside the folders, in none of them, for instance overview.png" in warned()


def test_lists_are_parts(tmp_path, write):
    write(tmp_path, [f"{name}/{name}{i}.png" for name in "ab" for i in range(3)])
    (tmp_path / "train_val_list.txt").write_text("a0.png\nb0.png\na1.png\nb1.png\n")
    (tmp_path / "test_list.txt").write_text("a/a2\r\nb2\r\n")
    samples = found(tmp_path, part_lists=["train_val_list.txt", "test_list.txt"])
    assert [part for part, _ in samples.values()] == ["train", "train", "test"] * 2
    (tmp_path / "test_list.txt").write_text("a0.png\n")
    with pytest.raises(DataError, match=r"1 images are in two lists of parts: a/a0.png"):
        build(tmp_path, part_lists=["train_val_list.txt", "test_list.txt"]).index()


def test_names_that_are_no_utf8_get_a_plain_id_and_are_read(tmp_path):
    for folder in (b"gut", b"b\xf6sartig"):
        (Path(tmp_path) / folder.decode(errors="surrogateescape")).mkdir()
        Image.new("L", (4, 3)).save(tmp_path / f"{folder.decode(errors='surrogateescape')}/m\udcfcller.png")
    dataset = build(tmp_path)
    listing = dataset.index()
    assert [sample.id for sample in listing.samples] == ["b%F6sartig/m%FCller.png", "gut/m%FCller.png"]
    assert listing.target.names == ("b\u00f6sartig", "gut")
    assert [dataset.read(sample).shape for sample in listing.samples] == [(3, 4, 1)] * 2
    assert all(dataset.path(sample).is_file() for sample in listing.samples)


def test_classes_are_chosen(tmp_path, write, warned):
    names = [
        f"{label}/{i}.png" for label, count in (("nv", 4), ("mel", 3), ("bcc", 3), ("df", 1)) for i in range(count)
    ]
    write(tmp_path, names)
    merged = found(tmp_path, rename=["mel|bcc -> malignant"], least=2)
    assert sorted({label for _, label in merged.values()}) == ["malignant", "nv"]
    assert "1 image left out with the class: df (1)" in warned()
    assert {label for _, label in found(tmp_path, leave_out=["df", "bcc"]).values()} == {"nv", "mel"}
    listing = build(tmp_path, against_rest="mel").index()
    assert listing.target.names == ("not mel", "mel")
    assert sum(sample.y == 1 for sample in listing.samples) == 3
