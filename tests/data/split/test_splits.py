"""Splits: what must hold for any dataset, and what the real ones come to."""

from __future__ import annotations

import json
import random
import re
from collections import Counter, defaultdict
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from medssl.contracts import Classes, Listing, Sample
from medssl.data.split.splits import load_split, make_split
from medssl.data.split.stratify import shuffled, split_groups, split_items
from medssl.errors import DataError, OptionError
from medssl.recipe.settings import SplitSettings

PARTS = ("train", "val", "test")


def listed(samples, classes=None, group_kind=None):
    """A listing of these classes; of their numbers, where they have no names."""
    count = max((s.y for s in samples if s.y is not None), default=0) + 1
    return Listing(samples=samples, target=Classes(classes or tuple(map(str, range(count)))), group_kind=group_kind)


def images(per_class, **facts):
    """So many samples of each class, each with the facts that its number within the class gives."""
    return [
        Sample(id=f"{label}/{i:04}.png", y=label, **{key: value(label, i) for key, value in facts.items()})
        for label, count in enumerate(per_class)
        for i in range(count)
    ]


def ids(samples, **wanted):
    return {s.id for s in samples if all(getattr(s, key) == value for key, value in wanted.items())}


def split_of(samples, protocol, *, seed=0, fractions=(0.7, 0.1, 0.2), **options):
    return make_split(listed(samples, **options), SplitSettings(seed=seed, fractions=fractions), protocol)


def part_of(split):
    return {name: part for part in (*PARTS, "unused") for name in getattr(split, part)}


def any_dataset(seed):
    """Some classes in patients of very unequal size, some with several classes; some images lack a label or a group."""
    rng = random.Random(seed)
    classes, samples = rng.randint(2, 4), []
    for patient in range(rng.randint(12, 40)):
        for i in range(rng.randint(1, 12)):
            label = rng.choice([patient % classes] * 6 + [0, None])
            samples.append(Sample(id=f"{patient}-{i}", y=label, group=rng.choice([f"p{patient}", f"p{patient}", None])))
    return samples


def usable(samples, protocol):
    """Whether every class has three images or groups."""
    units = defaultdict(set)
    for sample in samples:
        if sample.y is not None:
            units[sample.y].add((sample.group or sample.id) if protocol == "grouped" else sample.id)
    return len(units) > 1 and all(len(found) >= 3 for found in units.values()) and any(s.group for s in samples)


# ------------------------------------------------------------------------------------------------------ for any dataset


@pytest.mark.parametrize("protocol", ["random", "grouped"])
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_a_split_is_a_partition_that_keeps_its_promises(protocol, seed):
    samples = any_dataset(seed)
    assume(usable(samples, protocol))
    split = split_of(samples, protocol, seed=seed)
    placed = [name for part in (*PARTS, "unused") for name in getattr(split, part)]
    assert sorted(placed) == sorted(sample.id for sample in samples)
    label_of = {sample.id: sample.y for sample in samples}
    assert all(label_of[name] is not None for name in (*split.val, *split.test))
    assert all(label_of[name] is None for name in split.unused)
    part, parts_of_group = part_of(split), defaultdict(set)
    for sample in samples:
        if sample.group and not (sample.y is None and protocol == "random"):
            parts_of_group[sample.group].add(part[sample.id])
    if protocol == "grouped":
        assert all(len(parts - {"unused"}) <= 1 for parts in parts_of_group.values())
        assert all("train" not in parts for parts in parts_of_group.values() if "unused" in parts)
        assert split.grouped


@pytest.mark.parametrize("protocol", ["random", "grouped", "official"])
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_the_order_of_the_samples_does_not_matter(protocol, seed):
    samples = any_dataset(seed)
    if protocol == "official":
        samples = [replace(s, part="test" if int(s.id.split("-")[0]) % 4 == 0 else "train") for s in samples]
    mixed = random.Random(seed).sample(samples, len(samples))
    try:
        first = split_of(samples, protocol)
    except DataError as error:
        with pytest.raises(DataError, match=re.escape(str(error))):
            split_of(mixed, protocol)
        return
    second = split_of(mixed, protocol)
    assert second == first
    assert second.sha256 == first.sha256


@settings(max_examples=30, deadline=None)
@given(
    sizes=st.lists(st.integers(10, 200), min_size=2, max_size=8),
    fractions=st.sampled_from([(0.7, 0.1, 0.2), (0.6, 0.2, 0.2), (0.8, 0.1, 0.1), (1 / 3, 1 / 3, 1 / 3)]),
    seed=st.integers(0, 99),
)
def test_random_parts_hold_each_class_within_one_image_and_the_whole_within_two(sizes, fractions, seed):
    split = split_of(images(sizes), "random", seed=seed, fractions=fractions)
    for part, fraction in zip(PARTS, fractions, strict=True):
        counts = list(split.stratum_count[part].values())
        assert all(abs(count - fraction * size) < 1 + 1e-9 for count, size in zip(counts, sizes, strict=True))
        assert abs(sum(counts) - fraction * sum(sizes)) <= 2


@pytest.mark.parametrize("size", range(3, 15))
def test_the_smallest_classes_have_an_image_in_every_part(size):
    split = split_of(images([size, 100]), "random")
    assert all(split.stratum_count[part]["0"] >= 1 for part in PARTS)


def test_seeds_and_nothing_else_change_a_draw():
    samples = images([100, 50])
    splits = [split_of(samples, "random", seed=seed) for seed in (0, 1, 0)]
    assert splits[0] == splits[2]
    assert splits[0].sha256 != splits[1].sha256
    assert split_of([replace(s, group="g", part="test") for s in samples], "random").test == splits[0].test


def test_a_draw_is_the_same_on_every_machine_and_in_every_version():
    assert shuffled("abcdef", 0) == ["f", "d", "c", "e", "a", "b"]
    assert split_of(images([20, 10]), "random").sha256.startswith("3e536f6d14cb7809")
    patients = images([40, 30], group=lambda label, i: f"{label}-{i // 3}")
    assert split_of(patients, "grouped").sha256.startswith("738492bf091d544d")


def test_adding_an_image_moves_few_others():
    samples = images([100, 100])
    before, after = (part_of(split_of(some, "random")) for some in (samples, [*samples, Sample(id="new", y=0)]))
    assert sum(before[name] != after[name] for name in before) <= 2


def test_seeds_change_a_grouped_draw_even_when_all_groups_differ_in_size():
    samples = images([400, 400], group=lambda label, i: f"p{label}-{int(i**0.5)}")
    parts = [part_of(split_of(samples, "grouped", seed=seed)) for seed in range(6)]
    patients = {s.group: s.id for s in samples}.values()
    assert sum(len({each[name] for each in parts}) > 1 for name in patients) > 0.7 * len(patients)


# ---------------------------------------------------------------------------------------------------------- stratifying


def brute_force(labels, groups, fractions):
    """The least cost of any assignment of groups to parts that leaves no class out of a part."""
    count = np.zeros((max(groups) + 1, max(labels) + 1))
    np.add.at(count, (groups, labels), 1)
    want = np.outer(fractions, count.sum(0))
    best = np.inf
    for code in range(3 ** len(count)):
        part = code // 3 ** np.arange(len(count)) % 3
        have = np.stack([count[part == p].sum(0) for p in range(3)])
        if have.min() > 0:
            best = min(best, ((have - want) ** 2 / (want * count.sum(0))).sum())
    return best


@pytest.mark.parametrize("seed", range(5))
def test_groups_are_divided_nearly_as_well_as_any_assignment_can(seed):
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(7), rng.integers(1, 20, 7))
    labels = (groups + (rng.random(len(groups)) < 0.3)) % 2
    fractions = (0.5, 0.2, 0.3)
    parts = split_groups(np.eye(2, dtype=int)[labels], groups, fractions)
    want = np.outer(fractions, np.bincount(labels))
    have = np.stack([np.bincount(labels[parts == p], minlength=2) for p in range(3)])
    assert have.min() > 0
    cost = ((have - want) ** 2 / (want * np.bincount(labels))).sum()
    assert cost <= 2 * brute_force(labels, groups, fractions) + 0.01


def test_groups_of_one_come_out_like_single_images():
    labels = np.repeat([0, 1], [70, 30])
    single = np.bincount(3 * labels + split_items(labels, (0.7, 0.1, 0.2)))
    grouped = np.bincount(3 * labels + split_groups(np.eye(2, dtype=int)[labels], np.arange(100), (0.7, 0.1, 0.2)))
    assert single.tolist() == grouped.tolist() == [49, 7, 14, 21, 3, 6]


def test_a_class_of_three_groups_is_in_every_part():
    samples = images([15, 200], group=lambda label, i: f"{label}-{i // 5 if label == 0 else i // 10}")
    split = split_of(samples, "grouped")
    assert [split.stratum_count[part]["0"] for part in PARTS] == [5, 5, 5]


# ------------------------------------------------------------------------------------------------------------- official


def test_official_parts_are_kept_whatever_the_seed_and_fractions():
    samples = images([60, 40], part=lambda label, i: PARTS[i % 3])
    for seed in (0, 1):
        split = split_of(samples, "official", seed=seed, fractions=(0.1, 0.1, 0.8))
        assert [set(getattr(split, part)) for part in PARTS] == [ids(samples, part=part) for part in PARTS]
        assert split.warnings == ()


def test_a_missing_validation_part_comes_out_of_training_in_its_share():
    samples = images([400, 160], part=lambda label, i: "test" if i % 4 == 0 else "train")
    split = split_of(samples, "official", fractions=(0.6, 0.2, 0.2))
    assert set(split.test) == ids(samples, part="test")
    assert split.stratum_count["train"] == {"0": 225, "1": 90}
    assert split.stratum_count["val"] == {"0": 75, "1": 30}


def test_a_missing_validation_part_keeps_groups_together_where_they_are_known():
    samples = images(
        [300, 300], part=lambda label, i: "test" if i < 60 else "train", group=lambda label, i: f"{label}-{i // 6}"
    )
    split = split_of(samples, "official")
    assert split.grouped
    assert len(split.val) == 60
    assert split.group_count == {"train": 70, "val": 10, "test": 20}


def test_official_parts_that_share_groups_are_kept_with_a_warning():
    samples = images([40, 40], part=lambda label, i: PARTS[i % 3], group=lambda label, i: f"{label}-{i // 2}")
    split = split_of(samples, "official", group_kind="patient")
    train = ids(samples, part="train")
    siblings = {s.group for s in samples if s.id in train}
    shared = sum(s.group in siblings for s in samples if s.part == "test")
    assert 0 < shared < len(split.test)
    assert f"official split: {shared} of {len(split.test)} test images share a patient with a training image" in (
        split.warnings
    )
    assert any("validation images share a patient" in warning for warning in split.warnings)
    assert not split.grouped


def test_a_class_missing_from_an_official_part_is_a_warning_and_from_training_an_error():
    samples = images([30, 30], part=lambda label, i: "val" if label == 0 and i < 5 else "test" if i < 10 else "train")
    assert split_of(samples, "official", classes=("cat", "dog")).warnings == (
        "official split: the validation part has no image of class 'dog'",
    )
    samples = [replace(s, part="test") if s.y == 1 else s for s in samples]
    with pytest.raises(DataError, match="class 'dog' has no image in the training part"):
        split_of(samples, "official", classes=("cat", "dog"))


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (lambda label, i: None, "no official parts. Choose --split random"),
        (lambda label, i: "train", "official test part has no labelled image"),
        (lambda label, i: "test", "official train part has no labelled image"),
        (
            lambda label, i: None if i == 3 else "test",
            "2 labelled images without an official part, for example '0/0003.png'",
        ),
    ],
)
def test_official_parts_that_cannot_be_used_are_named(part, message):
    with pytest.raises(DataError, match=message):
        split_of(images([20, 20], part=part), "official")


# ------------------------------------------------------------------------------------------------- groups and warnings


def test_a_random_split_of_a_dataset_with_groups_says_how_many_test_images_have_siblings():
    samples = images([60, 60], group=lambda label, i: f"{label}-{i // 3}")
    split = split_of(samples, "random", group_kind="slide")
    groups = {s.id: s.group for s in samples}
    train = {groups[name] for name in split.train}
    shared = sum(groups[name] in train for name in split.test)
    assert split.warnings[0] == f"image-level split: {shared} of 24 test images share a slide with a training image"
    assert shared > 12
    assert split.shared == {"test": shared, "val": sum(groups[name] in train for name in split.val)}
    assert split_of([replace(s, group=None) for s in samples], "random").warnings == ()


def test_images_without_a_group_are_groups_of_their_own():
    samples = images([60, 60], group=lambda label, i: None if i % 2 else f"{label}-{i // 6}")
    split = split_of(samples, "grouped")
    assert split.grouped
    assert sum(split.group_count.values()) == 60 + 20
    assert set(split.groups) == {s.id for s in samples if s.group}


def test_parts_that_miss_their_share_are_told():
    samples = images([100, 100], group=lambda label, i: f"{i // 25}")
    split = split_of(samples, "grouped", group_kind="slide")
    assert split.shares == (0.5, 0.25, 0.25)
    assert split.warnings == (
        "grouped split: because slides stay together, the parts have 50.0% / 25.0% / 25.0% of the labelled images "
        "instead of 70.0% / 10.0% / 20.0%",
    )


def test_unlabelled_images_follow_their_group_and_are_never_tested_on():
    samples = images([60, 60], group=lambda label, i: f"{label}-{i // 6}")
    siblings = [Sample(id=f"x/{s.id}", group=s.group) for s in samples]
    strangers = [Sample(id="x/new patient", group="new"), Sample(id="x/no patient")]
    split = split_of([*samples, *siblings, *strangers], "grouped")
    part = part_of(split)
    for sample in samples:
        assert part[f"x/{sample.id}"] == ("train" if part[sample.id] == "train" else "unused")
    assert {"x/new patient", "x/no patient"} <= set(split.train)
    assert split.grouped
    assert f"not used: {len(split.unused)} images without a label, of validation or test groups" in split.warnings[0]
    assert sum(sum(counts.values()) for counts in split.stratum_count.values()) == 120


def test_unlabelled_images_do_not_change_the_draw_of_the_others():
    samples = images([60, 60])
    more = [Sample(id=f"x{i}") for i in range(30)]
    assert split_of([*samples, *more], "random").test == split_of(samples, "random").test


def test_an_unlabelled_image_of_an_official_test_part_is_not_used():
    samples = images([30, 30], part=lambda label, i: PARTS[i % 3])
    extra = [Sample(id=f"x/{part}", part=part) for part in PARTS] + [Sample(id="x/none")]
    split = split_of([*samples, *extra], "official")
    assert split.unused == ("x/test", "x/val")
    assert {"x/train", "x/none"} <= set(split.train)


# --------------------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("samples", "protocol", "message"),
    [
        ([], "random", "cannot be split"),
        (images([9, 9, 2]), "random", r"class 'c' has 2 images\. The 3 parts \(train, val, test\) need one each"),
        (images([9, 9]), "random", "class 'c' has 0 images"),
        (images([9, 1, 2]), "random", "class 'b' has 1 image; class 'c' has 2 images"),
        (images([9]), "random", "all 9 labelled images are of class 'a'"),
        ([Sample(id="a"), Sample(id="b")], "random", "no image has a label"),
        (images([9, 9]), "grouped", "has none. Choose --split random"),
        (images([9, 9, 9], group=lambda label, i: f"{i % (label + 2)}"), "grouped", "class 'a' has 2 patients"),
        ([*images([9, 9, 9]), Sample(id="0/0001.png", y=1)], "random", "for example '0/0001.png'"),
    ],
)
def test_what_cannot_be_split_is_said_plainly(samples, protocol, message):
    with pytest.raises(DataError, match=message):
        split_of(samples, protocol, classes=("a", "b", "c"), group_kind="patient")


def test_an_unknown_protocol_gets_the_closest_one():
    with pytest.raises(OptionError, match=r"split protocol 'offical' does not exist\. Did you mean 'official'\?"):
        split_of(images([9, 9]), "offical")


@pytest.mark.parametrize("fractions", [(0.5, 0.5, 0.5), (0.8, 0.0, 0.2), (0.8, 0.2), (1.2, -0.1, -0.1)])
def test_fractions_that_make_no_three_parts_are_refused(fractions):
    with pytest.raises(OptionError, match="split fractions"):
        split_of(images([9, 9]), "random", fractions=fractions)


# ---------------------------------------------------------------------------------------------------------- the record


def test_a_saved_split_comes_back_equal(tmp_path):
    samples = [*images([60, 60], group=lambda label, i: f"{label}-{i // 6}"), Sample(id="ünï/x")]
    split = split_of(samples, "grouped", classes=("cat", "dog"))
    split.save(tmp_path / "splits.json")
    assert load_split(tmp_path / "splits.json") == split
    assert [path.name for path in tmp_path.iterdir()] == ["splits.json"]
    written = json.loads((tmp_path / "splits.json").read_text())
    assert written["sha256"] == split.sha256
    counts = {part: {"cat": n, "dog": n} for part, n in zip(PARTS, (42, 6, 12), strict=True)}
    assert written["stratum_count"] == counts
    assert written["labelled"] == {"train": 84, "val": 12, "test": 24}
    assert written["groups"]["0/0000.png"] == "0-0"
    assert written["grouped"] is True


def test_a_split_that_counts_classes_is_read(tmp_path):
    path = tmp_path / "splits.json"
    split = split_of(images([20, 20]), "random")
    split.save(path)
    written = json.loads(path.read_text())
    written["class_count"] = written.pop("stratum_count")
    del written["labelled"]
    path.write_text(json.dumps(written))
    assert load_split(path) == split


def test_an_edited_split_is_noticed(tmp_path):
    path = tmp_path / "splits.json"
    split_of(images([20, 20]), "random").save(path)
    values = json.loads(path.read_text())
    values["parts"]["train"].append(values["parts"]["test"].pop())
    path.write_text(json.dumps(values))
    with pytest.raises(DataError, match=r"splits\.json was changed"):
        load_split(path)


@pytest.mark.parametrize("content", [None, "", "{", "[]", "{}", '{"parts": 3}'])
def test_a_file_that_is_no_split_is_named(tmp_path, content):
    if content is not None:
        (tmp_path / "splits.json").write_text(content)
    with pytest.raises(DataError, match=r"splits\.json cannot be read as a split"):
        load_split(tmp_path / "splits.json")


# ---------------------------------------------------------------------------------------------------------- real images


def pneumonia(folder):
    """The radiographs with their patients, from the official names."""
    samples = []
    for path in sorted((folder / "chest_xray").rglob("*.jpeg")):
        patient = re.match(r"person\d+_(bacteria|virus)|(NORMAL2-)?IM-\d+", path.name)
        part, label = path.parent.parent.name, int(path.parent.name == "PNEUMONIA")
        name = path.relative_to(folder).as_posix()
        samples.append(Sample(id=name, y=label, group=patient[0], part=part))
    return samples


def test_real_radiographs_by_every_protocol(real_data):
    samples = pneumonia(real_data("pneumonia"))
    assert len(samples) == 5856
    draws = {
        protocol: split_of(samples, protocol, group_kind="patient") for protocol in ("random", "grouped", "official")
    }
    assert draws["grouped"].grouped
    assert draws["grouped"].warnings == ()
    np.testing.assert_allclose(draws["grouped"].shares, (0.7, 0.1, 0.2), atol=0.001)
    for part, fraction in zip(PARTS, (0.7, 0.1, 0.2), strict=True):
        counts = draws["grouped"].stratum_count[part]
        assert abs(counts["0"] - fraction * 1583) < 2
        assert abs(counts["1"] - fraction * 4273) < 2
    assert not draws["random"].grouped
    assert re.match(r"image-level split: \d{3} of 1171 test images share a patient", draws["random"].warnings[0])
    assert draws["official"].stratum_count["test"] == {"0": 234, "1": 390}
    assert not any("test images share" in warning for warning in draws["official"].warnings)
    assert Counter(s.part for s in samples) == {part: len(getattr(draws["official"], part)) for part in PARTS}
