"""Kermany 2018: patients from three generations of names, and the parts."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

import pytest

from medssl.errors import DataError
from medssl_datasets.pneumonia import Pneumonia, patient

NORMAL = ["IM-0001-0001.jpeg", "NORMAL2-IM-0001-0001.jpeg", "NORMAL2-IM-0001-0001-0002.jpeg"]
ILL = ["person1_bacteria_1.jpeg", "person1_virus_6.jpeg", "person447_virus_921_1.jpeg"]


def pneumonia(root: Path, **facts: object) -> Pneumonia:
    return Pneumonia(Pneumonia.Config(), root, facts)


def names(*folders: str, prefix: str = "chest_xray") -> list[str]:
    return [
        f"{prefix}/{folder}/{label}/{name}"
        for folder in folders
        for label, images in (("NORMAL", NORMAL), ("PNEUMONIA", ILL))
        for name in images
    ]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("person1000_bacteria_2931.jpeg", "person1000_bacteria"),
        ("person1000_virus_1681.jpeg", "person1000_virus"),
        ("person447_virus_921_1.jpeg", "person447_virus"),
        ("IM-0115-0001.jpeg", "IM-0115"),
        ("IM-0433-0001-0002.jpeg", "IM-0433"),
        ("NORMAL2-IM-0851-0001.jpeg", "NORMAL2-IM-0851"),
        ("NORMAL-1049278-0001.jpeg", "1049278"),
        ("BACTERIA-1008087-0001.jpeg", "1008087"),
        ("VIRUS-1008087-0003.jpeg", "1008087"),
        ("scan_17.jpeg", None),
        ("NORMAL.jpeg", None),
    ],
)
def test_the_patient_is_read_from_the_name(name, expected):
    assert patient(name) == expected


def test_version_two_has_its_own_parts(tmp_path, write):
    write(tmp_path, names("train", "test"))
    dataset = pneumonia(tmp_path)
    samples = dataset.index().samples
    assert len(samples) == 12
    assert {(s.part, s.id.partition("/")[0]) for s in samples} == {("train", "train"), ("test", "test")}
    assert all(dataset.index().target.names[s.y] == s.id.split("/")[1] for s in samples)
    assert [s.id for s in samples] == sorted(s.id for s in samples)
    assert dataset.index().group_kind == "patient"
    assert dataset.read(samples[0]).shape == (4, 3, 3)


def test_the_sixteen_of_the_kaggle_copy_go_back_to_train(tmp_path, write):
    write(tmp_path, names("train", "test", "val"))
    parts = Counter((s.id.partition("/")[0], s.part) for s in pneumonia(tmp_path).index().samples)
    assert parts == {("train", "train"): 6, ("val", "train"): 6, ("test", "test"): 6}


def test_nested_duplicates_of_the_kaggle_zip_are_passed_over(tmp_path, write, warned):
    tree = names("train", "test", "val")
    write(
        tmp_path, [*tree, *(f"chest_xray/{name}" for name in tree), *(f"chest_xray/__MACOSX/{name}" for name in tree)]
    )
    write(tmp_path, [name.replace("NORMAL/", "NORMAL/._") for name in tree])
    samples = pneumonia(tmp_path).index().samples
    assert len(samples) == 18
    assert not any("chest_xray" in s.id for s in samples)
    assert not warned()


def test_version_three_names_work_in_its_own_wrapper(tmp_path, write):
    images = ["NORMAL/NORMAL-1049278-0001.jpeg", "PNEUMONIA/BACTERIA-7-0001.jpeg", "PNEUMONIA/VIRUS-7-0002.jpeg"]
    write(tmp_path, [f"CellData/chest_xray/{part}/{name}" for part in ("train", "test") for name in images])
    samples = pneumonia(tmp_path).index().samples
    assert Counter(s.group for s in samples) == {"1049278": 2, "7": 4}


def test_names_of_no_known_form_have_no_patient_and_are_listed(tmp_path, write, warned):
    write(tmp_path, [*names("train", "test"), "chest_xray/train/NORMAL/scan_17.jpeg"])
    (lone,) = (s for s in pneumonia(tmp_path).index().samples if s.group is None)
    assert lone.id == "train/NORMAL/scan_17.jpeg"
    assert lone.id in warned()


def test_a_tree_without_a_test_folder_is_refused(tmp_path, write):
    write(tmp_path, names("train", "val"))
    with pytest.raises(DataError, match="lacks the folder test/NORMAL, test/PNEUMONIA"):
        pneumonia(tmp_path).index()


def test_the_real_set_has_its_published_counts_and_disjoint_parts(real_data, warned):
    dataset = pneumonia(real_data("pneumonia"), counts={"NORMAL": 1583, "PNEUMONIA": 4273})
    samples = dataset.index().samples
    assert Counter((s.part, s.y) for s in samples) == {
        ("train", 0): 1349,
        ("train", 1): 3883,
        ("test", 0): 234,
        ("test", 1): 390,
    }
    assert len({s.group for s in samples if s.y == 0}) == 1444
    assert len({s.group for s in samples if s.y == 1}) == 2653
    assert None not in {s.group for s in samples}
    parts = defaultdict(set)
    for s in samples:
        parts[s.group].add(s.part)
    assert all(len(seen) == 1 for seen in parts.values())
    assert not warned()
    assert dataset.read(samples[0]).dtype == "uint8"
