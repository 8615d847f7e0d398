"""Samples are held against their contract before anything is decoded or trained."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from medssl.contracts import Dataset, Sample
from medssl.data.listing import list_samples, samples_key
from medssl.errors import DataError, PluginError

GOOD = [Sample(id=f"{i}.png", label=i % 2, group=f"p{i}", part="train") for i in range(4)]


def dataset(samples=GOOD, classes=("benign", "malignant")):
    class Listed(Dataset):
        def samples(self):
            return samples

        def read(self, sample):
            raise AssertionError

    Listed.classes = classes
    return Listed(Listed.Config(), Path("/images"))


def test_good_samples_come_as_they_are():
    unlabelled = [Sample(id="more.png"), replace(GOOD[0], label=np.int64(1))]
    assert list_samples(dataset([*GOOD, *unlabelled]), "own") == [*GOOD, *unlabelled]


@pytest.mark.parametrize(
    ("samples", "classes", "message"),
    [
        (
            GOOD,
            ("benign", "malignant", "benign"),
            "it names the class 'benign' twice; its classes",
        ),
        (GOOD, "benign", "classes must be names in a fixed order, but is 'benign'"),
        (GOOD, ("benign", 2), r"classes must be names in a fixed order, but is \('benign', 2\)"),
        ([("a.png", 0)], ("a", "b"), "samples.. must give Samples, but gave a tuple"),
        ([replace(GOOD[0], label=2)], ("a", "b"), "a label must be None or a number from 0 to 1, but is 2 of '0.png'"),
        ([replace(GOOD[0], label=-1)], ("a", "b"), "is -1 of '0.png'"),
        ([replace(s, label="a") for s in GOOD], ("a", "b"), "'a' of '0.png', .* '2.png' and others"),
        ([replace(GOOD[0], label=True)], ("a", "b"), "is True of '0.png'"),
        ([replace(GOOD[0], group=7)], ("a", "b"), "a group must be None or a text, but is 7 of '0.png'"),
        ([replace(GOOD[0], part="dev")], ("a", "b"), "a part must be None, train, val, test, but is 'dev' of '0.png'"),
    ],
)
def test_what_breaks_the_contract_is_named(samples, classes, message):
    with pytest.raises(PluginError, match=rf"dataset 'own' breaks its contract: .*{message}.*`medssl check own`"):
        list_samples(dataset(samples, classes), "own")


def test_a_dataset_without_images_says_where_it_looked():
    with pytest.raises(DataError, match=r"dataset 'own' lists no image. It looked in /images. .*--data-dir"):
        list_samples(dataset([]), "own")


@pytest.mark.parametrize("change", [{"id": "9.png"}, {"label": 0}, {"label": None}, {"group": None}, {"part": "test"}])
def test_the_key_sees_every_change_of_a_sample_and_no_order(change):
    key = samples_key(GOOD)
    assert samples_key([replace(GOOD[0], label=np.int64(0)), *GOOD[:0:-1]]) == key
    assert samples_key([*GOOD[:3], replace(GOOD[3], **change)]) != key
    assert samples_key([*GOOD, GOOD[0], replace(GOOD[0], label=None)]) != key  # a dataset that lists one id twice
