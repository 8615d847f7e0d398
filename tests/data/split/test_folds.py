"""Folds: what holds for every one of them, beside scikit-learn's."""

from __future__ import annotations

import csv
import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import LeaveOneGroupOut, StratifiedGroupKFold, StratifiedKFold

from medssl.contracts import Classes, Listing, Sample
from medssl.data.split.splits import FOLDED, PROTOCOLS, fold_count, load_split, make_split
from medssl.errors import DataError, OptionError
from medssl.recipe.settings import SplitSettings

PARTS = ("train", "val", "test")


def listed(samples, classes=None, group_kind=None):
    """A listing of these classes; of their numbers, where they have no names."""
    count = max((s.y for s in samples if s.y is not None), default=0) + 1
    return Listing(samples=samples, target=Classes(classes or tuple(map(str, range(count)))), group_kind=group_kind)


def images(per_class, group=None, part=None):
    return [
        Sample(
            id=f"{label}/{i:04}.png",
            y=label,
            group=group(label, i) if group else None,
            site=f"s{i % 12 // 4}",
            part=part(label, i) if part else None,
        )
        for label, count in enumerate(per_class)
        for i in range(count)
    ]


def patients(seed, classes=3, count=40):
    """Patients of one to twelve images, most with one class."""
    rng = random.Random(seed)
    return [
        Sample(id=f"{p:02}-{i}", y=rng.choice([p % classes] * 8 + [0]), group=f"p{p:02}", site=f"s{p // 2 % 3}")
        for p in range(count)
        for i in range(rng.randint(1, 12))
    ]


def folds_of(samples, protocol, *, folds=5, seed=0, fractions=(0.7, 0.1, 0.2), **words):
    """Every fold of a protocol."""
    every = SplitSettings(folds=folds, seed=seed, fractions=fractions)
    listing = listed(samples, **words)
    count = fold_count(listing, every, protocol)
    return [
        make_split(listing, SplitSettings(folds=folds, seed=seed, fractions=fractions, fold=fold), protocol)
        for fold in range(count)
    ]


def class_counts(samples, names):
    label_of = {sample.id: sample.y for sample in samples}
    counts = Counter(label_of[name] for name in names)
    return np.array([counts[label] for label in sorted({s.y for s in samples})])


def worst_miss(counts):
    """Largest distance of a fold's class from an equal share of it, as a fraction of the class."""
    counts = np.array(counts)
    return np.abs(counts / counts.sum(axis=0) - 1 / len(counts)).max()


# ------------------------------------------------------------------------------------------------- for every protocol


@pytest.mark.parametrize("protocol", sorted(FOLDED))
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_every_image_is_tested_on_in_exactly_one_fold_and_in_one_part_of_each(protocol, seed):
    samples = patients(seed, classes=2, count=16)
    splits = folds_of(samples, protocol, seed=seed, folds=3)
    everything = sorted(sample.id for sample in samples)
    assert sorted(name for split in splits for name in split.test) == everything
    for split in splits:
        assert sorted([*split.train, *split.val, *split.test]) == everything
        assert all(split.stratum_count["train"].values())
    if protocol != "kfold":
        assert all(split.grouped for split in splits)


@pytest.mark.parametrize("protocol", sorted(FOLDED))
def test_a_fold_does_not_depend_on_the_order_of_the_samples_and_comes_back_equal(protocol, tmp_path):
    samples = patients(1)
    first = folds_of(samples, protocol)
    assert folds_of(random.Random(0).sample(samples, len(samples)), protocol) == first
    for split in first:
        split.save(tmp_path / "splits.json")
        assert load_split(tmp_path / "splits.json") == split
    assert len({split.sha256 for split in first}) == len(first)


@pytest.mark.parametrize("protocol", ["kfold", "grouped-kfold"])
def test_another_seed_makes_other_folds(protocol):
    samples = patients(2)
    assert folds_of(samples, protocol, seed=1)[0].test != folds_of(samples, protocol, seed=0)[0].test


@pytest.mark.parametrize("protocol", ["kfold", "grouped-kfold"])
def test_the_validation_part_has_its_share_of_what_the_test_part_leaves(protocol):
    samples = images([400, 240], group=lambda label, i: f"{label}-{i // 4}")
    for split in folds_of(samples, protocol, fractions=(0.6, 0.2, 0.2)):
        assert split.stratum_count["val"] == {"0": 80, "1": 48}
        assert split.fractions == pytest.approx((0.6, 0.2, 0.2))
        assert split.warnings == () or protocol == "kfold"


def test_folds_have_validation_parts_of_their_own():
    splits = folds_of(images([200, 200]), "kfold")
    assert len(set(splits[0].val) & set(splits[1].val)) < 0.5 * len(splits[0].val)


# ----------------------------------------------------------------------------------------------- beside scikit-learn's


@settings(max_examples=20, deadline=None)
@given(sizes=st.lists(st.integers(5, 90), min_size=2, max_size=5), seed=st.integers(0, 99), folds=st.integers(3, 5))
def test_image_folds_hold_each_class_within_one_image_as_scikit_learns(sizes, seed, folds):
    samples = images(sizes)
    splits = folds_of(samples, "kfold", seed=seed, folds=folds)
    ours = np.array([class_counts(samples, split.test) for split in splits])
    labels = np.array([sample.y for sample in samples])
    theirs = np.array(
        [
            np.bincount(labels[test], minlength=len(sizes))
            for _, test in StratifiedKFold(folds, shuffle=True, random_state=seed).split(labels, labels)
        ]
    )
    assert sorted(map(sorted, ours.T)) == sorted(map(sorted, theirs.T))
    assert np.ptp(ours.sum(axis=1)) <= max(2, np.ptp(theirs.sum(axis=1)))


@pytest.mark.parametrize("seed", range(6))
def test_group_folds_balance_classes_at_least_as_well_as_scikit_learns(seed):
    samples = patients(seed, count=60)
    labels, groups = np.array([s.y for s in samples]), np.array([s.group for s in samples])
    ours = [class_counts(samples, split.test) for split in folds_of(samples, "grouped-kfold", seed=seed)]
    theirs = [
        np.bincount(labels[test], minlength=3)
        for _, test in StratifiedGroupKFold(5, shuffle=True, random_state=seed).split(labels, labels, groups)
    ]
    assert worst_miss(ours) <= max(0.02, worst_miss(theirs))


def test_leaving_one_group_out_makes_scikit_learns_folds():
    samples = patients(3, count=12)
    groups = [sample.group for sample in samples]
    theirs = [{samples[i].id for i in test} for _, test in LeaveOneGroupOut().split(groups, groups=groups)]
    splits = folds_of(samples, "loso")
    assert [set(split.test) for split in splits] == theirs
    assert [split.described_fold for split in splits] == [
        {"index": i, "count": 12, "left_out": group} for i, group in enumerate(sorted(set(groups)))
    ]


# ------------------------------------------------------------------------------------------------------ leaving one out


def test_a_class_of_two_groups_is_still_trained_on_when_one_is_left_out():
    samples = images([300, 20], group=lambda label, i: f"s{i // 30}" if label == 0 else f"s{i // 10}")
    splits = folds_of(samples, "loso", group_kind="slide", classes=("tissue", "empty"))
    assert all(split.stratum_count["train"]["empty"] for split in splits)
    assert [split.stratum_count["test"]["empty"] for split in splits] == [10, 10] + [0] * 8
    assert splits[4].warnings == ("one slide left out: the test part has no image of class 'empty'",)


def test_groups_are_shared_with_validation_only_when_whole_ones_would_empty_a_class_and_that_is_said():
    samples = images([40, 40], group=lambda label, i: f"hospital {i % 2}")
    for split in folds_of(samples, "loso", group_kind="hospital"):
        assert split.stratum_count["test"] == {"0": 20, "1": 20}
        assert split.stratum_count["val"]["0"] in (2, 3)
        assert any("training and validation part share hospitals" in warning for warning in split.warnings)
        assert not any("test images share" in warning for warning in split.warnings)


def test_the_only_image_of_a_class_outside_the_left_out_group_is_trained_on():
    samples = [*images([40], group=lambda label, i: f"h{i % 2}"), Sample(id="a", y=1, group="h0")]
    samples.append(Sample(id="b", y=1, group="h1"))
    for split in folds_of(samples, "loso"):
        assert split.stratum_count["train"]["1"] == 1


def test_unlabelled_images_of_the_left_out_group_are_not_trained_on():
    samples = patients(4, count=10)
    siblings = [Sample(id=f"x{s.id}", group=s.group) for s in samples]
    split = folds_of([*samples, *siblings], "loso")[3]
    assert {f"x{name}" for name in split.test} <= set(split.unused)


# ------------------------------------------------------------------------------------------------------------- messages


@pytest.mark.parametrize("protocol", sorted(FOLDED))
def test_a_fold_must_be_chosen_and_exist(protocol):
    samples = patients(0, classes=2, count=10)
    count = fold_count(listed(samples), SplitSettings(folds=4), protocol)
    assert count == {"loso": 10, "site": 3}.get(protocol, 4)
    with pytest.raises(OptionError, match=rf"has {count} folds here.*--set split.fold=N, N from 0 to {count - 1}"):
        make_split(listed(samples), SplitSettings(folds=4), protocol)
    with pytest.raises(OptionError, match=f"fold {count} does not exist"):
        make_split(listed(samples), SplitSettings(folds=4, fold=count), protocol)


@pytest.mark.parametrize("protocol", sorted(set(PROTOCOLS) - FOLDED))
def test_a_fold_of_a_protocol_without_folds_is_refused(protocol):
    samples = images([20, 20], group=lambda label, i: f"{label}-{i // 2}", part=lambda label, i: PARTS[i % 3])
    assert fold_count(listed(samples), SplitSettings(), protocol) == 1
    with pytest.raises(OptionError, match=f"split.fold is 1, but the split protocol '{protocol}' has no folds"):
        make_split(listed(samples), SplitSettings(fold=1), protocol)


@pytest.mark.parametrize("protocol", sorted(FOLDED))
def test_official_parts_that_are_not_kept_are_told(protocol):
    samples = images([40, 40], group=lambda label, i: f"{label}-{i // 4}", part=lambda label, i: PARTS[i % 3])
    warnings = folds_of(samples, protocol)[0].warnings
    assert f"the split protocol '{protocol}' does not keep the dataset's official parts" in warnings


SLIDES = {"group_kind": "slide", "classes": ("a", "b", "c")}


@pytest.mark.parametrize(
    ("samples", "protocol", "message"),
    [
        (images([9, 9, 4]), "kfold", r"class 'c' has 4 images\. 5 folds need 5 of each class\. Add images or leave"),
        (images([9, 9, 9]), "grouped-kfold", "this dataset has no groups. Choose --split kfold"),
        (images([9, 9, 9]), "loso", "27 labelled images without a slide, for example '0/0000.png'"),
        (
            images([9, 9, 9], group=lambda label, i: f"s{label if label == 2 else i}"),
            "loso",
            "class 'c' has 1 slide. Leaving out one slide at a time needs two for each class",
        ),
        (
            images([90, 90, 9], group=lambda label, i: f"s{i % 2 if label == 2 else i % 9}"),
            "grouped-kfold",
            "class 'c' has 2 slides. 5 folds need 5 of each class. So .* Choose --split loso",
        ),
        (
            images([90, 90, 9], group=lambda label, i: f"s{i % 2 if label == 2 else i % 9}"),
            "grouped",
            "class 'c' has 2 slides. .* Choose --split loso: it leaves out one slide at a time",
        ),
        (
            images([90, 90, 9], group=lambda label, i: None if i else "s0"),
            "loso",
            "186 labelled images without a slide",
        ),
    ],
)
def test_what_cannot_be_divided_says_why_and_what_to_do(samples, protocol, message):
    with pytest.raises(DataError, match=message):
        make_split(listed(samples, **SLIDES), SplitSettings(fold=0 if protocol in FOLDED else None), protocol)
    if protocol in FOLDED:
        with pytest.raises(DataError, match=message):
            fold_count(listed(samples, **SLIDES), SplitSettings(), protocol)


def test_loso_is_not_offered_where_it_would_fail_too():
    samples = images([90, 90, 9], group=lambda label, i: "s0" if label == 2 else f"s{i % 9}")
    with pytest.raises(DataError, match=r"class 'c' has 1 slide\..*choose another --split protocol"):
        make_split(listed(samples, **SLIDES), SplitSettings(), "grouped")


def test_the_number_of_folds_can_be_had_from_the_settings_alone():
    assert fold_count(listed(()), SplitSettings(folds=7), "grouped-kfold") == 7


# ------------------------------------------------------------------------------------------------------ the real slides


def test_kathers_ten_slides_can_be_left_out_one_by_one_and_divided_in_no_other_way(real_data):
    with (real_data("names") / "colorectal.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    classes = sorted({row["class"] for row in rows})
    samples = [Sample(id=row["path"], y=classes.index(row["class"]), group=row["slide_id"]) for row in rows]
    words = {"group_kind": "slide", "classes": classes}
    for protocol, fold in (("grouped", None), ("grouped-kfold", 0)):
        with pytest.raises(DataError, match=r"class '08_EMPTY' has 2 slides.*--split loso"):
            make_split(listed(samples, **words), SplitSettings(fold=fold), protocol)
    splits = folds_of(samples, "loso", **words)
    assert [len(split.test) for split in splits] == [401, 284, 740, 381, 661, 1061, 503, 389, 342, 238]
    assert all(all(split.stratum_count["train"].values()) for split in splits)
    assert sum(split.stratum_count["test"]["08_EMPTY"] for split in splits) == 625
    assert all(split.grouped for split in splits)
