"""Which of two classes is the positive one if the user names none."""

from __future__ import annotations

import logging

import pytest

from medssl.contracts import Classes, Findings, Grades
from medssl.data.positive import likely_positive, with_positive


@pytest.mark.parametrize(
    "names",
    [
        ("COVID-19", "No Finding"),
        ("Parasitized", "Uninfected"),
        ("PNEUMONIA", "normal"),
        ("malignant", "not malignant"),
        ("1_tumour", "2_Healthy"),
        ("carcinoma", "no_carcinoma"),
        ("adenocarcinoma", "normal tissue"),
    ],
)
def test_a_second_class_without_the_disease_is_not_the_positive_one(names, caplog):
    assert likely_positive(names) == names[0]
    with caplog.at_level(logging.WARNING, logger="medssl"):
        target = with_positive(Classes(names), None)
    assert target.to_dict() == {"kind": "classes", "names": list(names), "positive": names[0]}
    assert f"the positive class is '{names[0]}', because '{names[1]}' reads like" in caplog.text


@pytest.mark.parametrize(
    "names",
    [
        ("NORMAL", "PNEUMONIA"),
        ("benign", "malignant"),
        ("benign", "normal"),
        ("0", "1"),
        ("no", "yes"),
        ("abnormal", "unclear"),
        ("noduleless", "nodule"),
    ],
)
def test_otherwise_it_is_the_second_and_nothing_is_said(names, caplog):
    assert with_positive(Classes(names), None) == Classes(names)
    assert Classes(names).positive_index == 1
    assert not caplog.text


@pytest.mark.parametrize(
    "target",
    [
        Classes(("a", "b", "normal")),
        Classes(("sick", "normal"), positive="normal"),
        Grades(("severe", "normal")),
        Findings(("mass", "normal")),
    ],
)
def test_another_target_and_a_choice_stay_as_they_are(target):
    assert with_positive(target, None) is target
