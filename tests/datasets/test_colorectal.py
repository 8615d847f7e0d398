"""Kather 2016: slides from the official names, and the partial copy."""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from medssl.errors import DataError
from medssl_datasets.colorectal import Colorectal, slide

CLASSES = Colorectal.classes


def colorectal(root: Path, **facts: object) -> Colorectal:
    return Colorectal(Colorectal.Config(), root, facts)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("10009_CRC-Prim-HE-03_009.tif_Row_301_Col_151.tif", "CRC-Prim-HE-03"),
        ("10647_CRC-Prim-HE-10c.tif_Row_1_Col_1.tif", "CRC-Prim-HE-10"),
        ("14AF3_CRC-Prim-HE-01b.tif_Row_301_Col_301.tif", "CRC-Prim-HE-01"),
        ("12D1A_CRC-Prim-HE-01.tif_Row_1_Col_1.tif", "CRC-Prim-HE-01"),
        ("128B7_CRC-Prim-HE-07_001_copy.tif_Row_1_Col_151.tif", "CRC-Prim-HE-07"),
        ("image_0_label_0.png", None),
        ("0_tumor_example.png", None),
    ],
)
def test_the_slide_is_read_from_the_name(name, expected):
    assert slide(name) == expected


def test_slides_of_all_official_names(real_data):
    with (real_data("names") / "colorectal.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    found = {row["path"]: slide(row["path"]) for row in rows}
    assert found == {row["path"]: row["slide_id"] for row in rows}
    tiles = Counter(found.values())
    assert [tiles[f"CRC-Prim-HE-{n:02d}"] for n in range(1, 11)] == [401, 284, 740, 381, 661, 1061, 503, 389, 342, 238]
    slides = defaultdict(set)
    for row in rows:
        slides[row["class"]].add(found[row["path"]])
    assert [len(slides[name]) for name in CLASSES] == [10, 10, 10, 10, 10, 8, 6, 2], "why the default is random"


def test_official_names_give_labels_and_slides(tmp_path, write, warned):
    tree = tmp_path / "Kather_texture_2016_image_tiles_5000"
    names = [f"{name}/{k:05X}_CRC-Prim-HE-0{k}_00{k}.tif_Row_1_Col_1.tif" for name in CLASSES for k in (2, 1)]
    write(tree, [*names, "extra/x.tif"])
    dataset = colorectal(tmp_path, counts=dict.fromkeys(CLASSES, 2))
    samples = dataset.index().samples
    assert [sample.id for sample in samples] == sorted(names)
    assert all(dataset.index().target.names[sample.y] == sample.id.partition("/")[0] for sample in samples)
    assert {sample.group for sample in samples} == {"CRC-Prim-HE-01", "CRC-Prim-HE-02"}
    assert all(sample.part is None for sample in samples)
    assert dataset.index().group_kind == "slide"
    assert "ignored: extra" in warned()
    assert "not the complete published dataset" not in warned()


def test_the_root_may_be_the_tree_itself(tmp_path, write):
    write(tmp_path, [f"{name}/1.png" for name in CLASSES])
    dataset = colorectal(tmp_path)
    assert len(dataset.index().samples) == 8
    assert dataset.index().group_kind is None, "no name tells the slide"


def test_a_missing_class_is_an_error(tmp_path, write):
    write(tmp_path, [f"{name}/1.png" for name in CLASSES[1:]])
    with pytest.raises(DataError, match="lacks the folder 01_TUMOR"):
        colorectal(tmp_path).index()


def test_the_partial_copy_works_with_a_warning(real_data, warned):
    dataset = colorectal(real_data("colorectal"), counts=dict.fromkeys(CLASSES, 625))
    samples = dataset.index().samples
    assert list(Counter(sample.y for sample in samples).values()) == [19, 9, 14, 13, 13, 11, 19, 10]
    assert len(samples) == 108
    assert "01_TUMOR 19 of 625" in warned()
    assert {dataset.read(sample).shape for sample in samples[:20]} <= {(224, 224, 3), (150, 150, 3)}
