"""Samples are held against their contract before anything is decoded or trained."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from medssl.contracts import Classes, Dataset, Findings, Grades, Listing, Quantity, Sample
from medssl.data.listing import read_listing, samples_key
from medssl.errors import DataError, PluginError

GOOD = [Sample(id=f"{i}.png", y=i % 2, group=f"p{i}", part="train") for i in range(4)]


def dataset(samples=GOOD, classes=("benign", "malignant"), **facts):
    class Listed(Dataset):
        def index(self):
            return Listing(samples=samples, target=Classes(classes), **facts)

        def read(self, sample):
            raise AssertionError

    return Listed(Listed.Config(), Path("/images"))


def test_good_samples_come_as_they_are():
    unlabelled = [Sample(id="more.png"), replace(GOOD[0], y=np.int64(1))]
    assert read_listing(dataset([*GOOD, *unlabelled]), "own").samples == (*GOOD, *unlabelled)


@pytest.mark.parametrize(
    ("samples", "classes", "message"),
    [
        ([("a.png", 0)], ("a", "b"), "it must list Samples, but lists a tuple"),
        ([replace(GOOD[0], y=2)], ("a", "b"), "a y must be None or a whole number from 0 to 1, but is 2 of '0.png'"),
        ([replace(GOOD[0], y=-1)], ("a", "b"), "is -1 of '0.png'"),
        ([replace(s, y="a") for s in GOOD], ("a", "b"), "'a' of '0.png', .* '2.png' and others"),
        ([replace(GOOD[0], y=True)], ("a", "b"), "is True of '0.png'"),
        ([replace(GOOD[0], group=7)], ("a", "b"), "a group must be None or a text, but is 7 of '0.png'"),
        ([replace(GOOD[0], part="dev")], ("a", "b"), "a part must be None, train, val, test, but is 'dev' of '0.png'"),
    ],
)
def test_what_breaks_the_contract_is_named(samples, classes, message):
    with pytest.raises(PluginError, match=rf"Listed breaks its contract in index\(\): .*{message}"):
        read_listing(dataset(samples, classes), "own")


def test_a_dataset_without_images_says_where_it_looked():
    with pytest.raises(DataError, match=r"dataset 'own' found no images in /images. .*--data-dir"):
        read_listing(dataset([]), "own")


@pytest.mark.parametrize("change", [{"id": "9.png"}, {"y": 0}, {"y": None}, {"group": None}, {"part": "test"}])
def test_the_key_sees_every_change_of_a_sample_and_no_order(change):
    key = samples_key(GOOD)
    assert samples_key([replace(GOOD[0], y=np.int64(0)), *GOOD[:0:-1]]) == key
    assert samples_key([*GOOD[:3], replace(GOOD[3], **change)]) != key
    assert samples_key([*GOOD, GOOD[0], replace(GOOD[0], y=None)]) != key  # a dataset that lists one id twice


def test_a_sample_of_which_no_finding_is_known_has_no_value():
    target = Findings(("a", "b"))

    class Listed(Dataset):
        def index(self):
            return Listing(samples=[Sample(id="1", y=(None, None)), Sample(id="2", y=(None, 0))], target=target)

        def read(self, sample):
            raise AssertionError

    assert [s.y for s in read_listing(Listed(None, Path()), "own").samples] == [None, (None, 0)]


@pytest.mark.parametrize(
    ("target", "value", "message"),
    [
        (Findings(("a", "b")), (0, 2), "a tuple of 2 values, each 0, 1 or None"),
        (Findings(("a", "b")), 1, "a tuple of 2 values, each 0, 1 or None"),
        (Grades(("0", "1")), 2, "a whole number from 0 to 1"),
        (Quantity("years", low=0), -3.0, "a finite number from 0 to inf in years"),
        (Quantity("years"), float("nan"), "a finite number in years"),
    ],
)
def test_values_are_checked_for_every_target(target, value, message):
    class Listed(Dataset):
        def index(self):
            return Listing(samples=[Sample(id="0.png", y=value)], target=target)

        def read(self, sample):
            raise AssertionError

    with pytest.raises(PluginError, match=f"a y must be None or {message}, but is .* of '0.png'"):
        read_listing(Listed(None, Path()), "own")


@pytest.mark.parametrize(
    ("listed", "message"),
    [
        ([], "it must return a Listing, but returned a list"),
        (Listing(samples=GOOD, target=("a", "b")), "the target of a Listing must be one of medssl.contracts"),
        (
            Listing(samples=GOOD, target=Classes(("a", "b")), default_split="kfold"),
            "default_split must be one of random",
        ),
        (Listing(samples=[Sample(id="1", site=4)], target=Classes(("a", "b"))), "a site must be None or a text"),
    ],
)
def test_a_listing_that_is_none_is_named(listed, message):
    class Listed(Dataset):
        def index(self):
            return listed

        def read(self, sample):
            raise AssertionError

    with pytest.raises(PluginError, match=message):
        read_listing(Listed(None, Path()), "own")


def test_a_sample_of_the_first_edition_is_told_what_is_new():
    class Old(Dataset):
        def index(self):
            return Listing(samples=[Sample(id="1", label=0)], target=Classes(("a", "b")))

        def read(self, sample):
            raise AssertionError

    with pytest.raises(PluginError, match=r"Sample\(label=...\) is now Sample\(y=...\)"):
        read_listing(Old(None, Path()), "own")


def test_the_key_of_classes_is_that_of_earlier_versions_and_sees_findings_and_sites():
    assert samples_key(GOOD) == ("5c50d14e6cefef4e8e102cf4fa7226f4af67e8f924a61bb9a97a55c3ec48e3ab")
    listed = [Sample(id="1", y=(0, None)), Sample(id="2", y=(1, 1), site="a")]
    keys = {samples_key([listed[0], replace(listed[1], **change)]) for change in ({}, {"site": "b"}, {"y": (1, 0)})}
    assert len(keys) == 3
