"""BreaKHis: cases from all the real names, two layouts, four magnifications."""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from medssl.errors import DataError, OptionError
from medssl.recipe import options
from medssl_datasets.breast import Breast, case_and_magnification

BENIGN = "benign/SOB/adenosis/SOB_B_A_14-22549AB/{m}X/SOB_B_A-14-22549AB-{m}-001.png"
MALIGNANT = "malignant/SOB/lobular_carcinoma/SOB_M_LC_14-13412/{m}X/SOB_M_LC-14-13412-{m}-013.png"
OFFICIAL = "BreaKHis_v1/histology_slides/breast"


def breast(root: Path, **values: object) -> Breast:
    return Breast(options.build(Breast.Config, values, "dataset"), root)


@pytest.fixture
def official(tmp_path, write):
    return write(tmp_path, [f"{OFFICIAL}/{name.format(m=m)}" for name in (BENIGN, MALIGNANT) for m in (40, 100, 400)])


@pytest.fixture
def kaggle(tmp_path, write):
    files = [f"{part}/{Path(name.format(m=400)).parts[0]}/{Path(name.format(m=400)).name}"
             for part in ("train", "test") for name in (BENIGN, MALIGNANT)]  # fmt: skip
    return write(tmp_path / "BreaKHis 400X", files).parent


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("SOB_B_A-14-22549AB-400-001.png", ("22549", "400X")),
        ("SOB_B_A-14-22549CD-40-001.png", ("22549", "40X")),
        ("SOB_B_A-14-22549G-100-010.png", ("22549", "100X")),
        ("SOB_M_DC-14-13412-200-001.png", ("13412", "200X")),
        ("SOB_M_LC-14-13412-400-001.png", ("13412", "400X")),
        ("SOB_M_MC-13-2773-400-001.png", ("2773", "400X")),
        ("tile_001.png", None),
        ("SOB_M_MC-13-2773-500-001.png", None),
    ],
)
def test_case_and_magnification_are_read_from_the_name(name, expected):
    assert case_and_magnification(name) == expected


@pytest.mark.parametrize(("magnification", "counts"), [("40X", (625, 1370)), ("400X", (588, 1232))])
def test_all_official_names_have_a_case_that_keeps_slides_together(real_data, magnification, counts):
    with (real_data("names") / f"breast_{magnification}.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    keys = {row["filename"]: case_and_magnification(row["filename"]) for row in rows}
    assert None not in keys.values()
    assert {key[1] for key in keys.values()} == {magnification}
    assert tuple(sorted(Counter(row["class"] for row in rows).values())) == counts
    slides, classes = defaultdict(set), defaultdict(set)
    for row in rows:
        case = keys[row["filename"]][0]
        assert case == row["slide_id"].split("-")[1].rstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
        slides[case].add((row["subtype"], row["slide_id"]))
        classes[case].add(row["class"])
    assert len(slides) == 70
    assert sum(map(len, slides.values())) == 82
    assert len(slides["13412"]) == 2
    assert len(slides["22549"]) == 3
    assert all(len(seen) == 1 for seen in classes.values())


def test_the_real_names_fill_the_official_tree(real_data, tmp_path, warned):
    with (real_data("names") / "breast_400X.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        folder = tmp_path / OFFICIAL / row["class"] / "SOB" / row["subtype"] / row["slide_folder"] / "400X"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / row["filename"]).touch()
    samples = breast(tmp_path).index().samples
    assert Counter(sample.y for sample in samples) == {0: 588, 1: 1232}
    assert len({sample.group for sample in samples}) == 70
    assert not warned()


@pytest.mark.parametrize("magnification", [40, 100, 400])
def test_the_official_tree_gives_one_magnification(official, warned, magnification):
    dataset = breast(official, magnification=f"{magnification}X")
    listing = dataset.index()
    samples = listing.samples
    assert listing.chosen == f"{magnification}X"
    assert [sample.id for sample in samples] == [BENIGN.format(m=magnification), MALIGNANT.format(m=magnification)]
    assert [(sample.y, sample.group, sample.part) for sample in samples] == [(0, "22549", None), (1, "13412", None)]
    assert dataset.read(samples[0]).shape == (4, 3, 3)
    assert "benign 1 of" in warned()


def test_the_kaggle_tree_has_parts_but_is_split_by_case(kaggle):
    dataset = breast(kaggle)
    assert Counter((s.part, s.y) for s in dataset.index().samples) == dict.fromkeys(
        [("train", 0), ("train", 1), ("test", 0), ("test", 1)], 1
    )
    assert dataset.index().default_split == "grouped"


def test_a_magnification_that_is_not_there_is_an_error(kaggle):
    with pytest.raises(DataError, match="has no image at 200X"):
        breast(kaggle, magnification="200X").index()


def test_an_unknown_magnification_is_refused_at_once(tmp_path):
    with pytest.raises(OptionError):
        breast(tmp_path, magnification="500X")


def test_files_without_an_official_name_are_left_out_and_listed(official, write, warned):
    write(official / OFFICIAL, ["benign/mine.png"])
    assert len(breast(official).index().samples) == 2
    assert "benign/mine.png" in warned()


def test_a_class_without_images_at_this_magnification_is_named(official):
    (official / OFFICIAL / MALIGNANT.format(m=400)).unlink()
    with pytest.raises(DataError, match="no images of the class malignant"):
        breast(official).index()
