"""Label fractions: nested, stratified, in whole groups where the split is."""

from __future__ import annotations

import itertools
import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medssl.contracts import Classes, Sample
from medssl.data.split.labels import choose_labels

TARGET = Classes(tuple("abcdefgh"))
FRACTIONS = (0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 0.77, 1.0)

sizes = st.lists(st.integers(1, 120), min_size=2, max_size=5)
seeds = st.integers(0, 50)


def of_classes(counts, group_size=None):
    """So many samples of each class, each of a patient who has one class and so many images."""
    return [
        Sample(id=f"{label}/{i}", y=label, group=f"{label}-{i // group_size}" if group_size else None)
        for label, count in enumerate(counts)
        for i in range(count)
    ]


def of_patients(seed):
    """Patients of unequal size, many with several classes; some images without a label or a group."""
    rng = random.Random(seed)
    classes = rng.randint(2, 4)
    return [
        Sample(
            id=f"{patient}-{i}",
            y=rng.choice([patient % classes, patient % classes, 0, None]),
            group=rng.choice([f"p{patient}"] * 5 + [None]),
        )
        for patient in range(rng.randint(5, 40))
        for i in range(rng.randint(1, 12))
    ]


def per_class(samples, chosen):
    return Counter(sample.y for sample in samples if sample.id in chosen)


@settings(max_examples=40, deadline=None)
@given(seed=seeds, grouped=st.booleans())
def test_a_larger_share_contains_every_smaller_one_and_all_of_it_is_every_label(seed, grouped):
    samples = of_patients(seed)
    chosen = [choose_labels(samples, TARGET, fraction, seed, grouped=grouped) for fraction in FRACTIONS]
    assert all(small <= large for small, large in itertools.pairwise(chosen))
    assert chosen[-1] == {sample.id for sample in samples if sample.y is not None}


@settings(max_examples=40, deadline=None)
@given(seed=seeds, grouped=st.booleans(), fraction=st.sampled_from(FRACTIONS))
def test_every_class_keeps_a_label_and_images_without_one_are_never_chosen(seed, grouped, fraction):
    samples = of_patients(seed)
    chosen = choose_labels(samples, TARGET, fraction, seed, grouped=grouped)
    assert set(per_class(samples, chosen)) == {s.y for s in samples} - {None}


@settings(max_examples=40, deadline=None)
@given(sizes=sizes, seed=seeds, fraction=st.floats(0.001, 1))
def test_each_class_keeps_its_share_within_half_an_image(sizes, seed, fraction):
    samples = of_classes(sizes)
    kept = per_class(samples, choose_labels(samples, TARGET, fraction, seed, grouped=False))
    for label, size in enumerate(sizes):
        assert kept[label] == 1 or abs(kept[label] - fraction * size) <= 0.5 + 1e-9


@settings(max_examples=40, deadline=None)
@given(seed=seeds, fraction=st.sampled_from(FRACTIONS))
def test_a_group_keeps_all_of_its_labels_or_none(seed, fraction):
    samples = of_patients(seed)
    chosen = choose_labels(samples, TARGET, fraction, seed, grouped=True)
    kept = {s.group for s in samples if s.id in chosen and s.group}
    assert all(s.id in chosen for s in samples if s.group in kept and s.y is not None)


@settings(max_examples=40, deadline=None)
@given(sizes=st.lists(st.integers(20, 200), min_size=2, max_size=4), group=st.integers(1, 6), seed=seeds)
def test_whole_groups_hold_the_share_and_each_class_within_a_group(sizes, group, seed):
    samples = of_classes(sizes, group)
    for fraction in (0.2, 0.5, 0.8):
        chosen = choose_labels(samples, TARGET, fraction, seed, grouped=True)
        wanted = fraction * len(samples)
        assert abs(len(chosen) - wanted) <= group / 2 or wanted < group * len(sizes)
        shares = [kept / sizes[label] for label, kept in per_class(samples, chosen).items()]
        assert max(shares) - min(shares) <= max(group / size for size in sizes) + 1e-9


def test_too_small_a_share_still_takes_one_image_or_one_group_of_each_class():
    samples = of_classes([300, 200, 40], group_size=10)
    assert per_class(samples, choose_labels(samples, TARGET, 1e-9, 0, grouped=False)) == {0: 1, 1: 1, 2: 1}
    assert per_class(samples, choose_labels(samples, TARGET, 1e-9, 0, grouped=True)) == {0: 10, 1: 10, 2: 10}


@pytest.mark.parametrize("grouped", [False, True])
def test_another_seed_takes_other_images_and_the_order_of_the_samples_takes_none(grouped):
    samples = of_classes([200, 100], group_size=4)
    first, again, other = (
        choose_labels(given, TARGET, 0.1, seed, grouped=grouped)
        for given, seed in ((samples, 0), (random.Random(1).sample(samples, len(samples)), 0), (samples, 1))
    )
    assert first == again
    assert len(first & other) < len(first) / 2


def test_every_image_has_about_the_same_chance():
    samples = of_classes([40, 20], group_size=2)
    times = Counter(name for seed in range(400) for name in choose_labels(samples, TARGET, 0.2, seed, grouped=True))
    assert len(times) == 60
    assert 45 < min(times.values()) <= max(times.values()) < 115  # 80 expected, 8 its deviation


def test_a_class_that_is_nowhere_the_largest_is_found_in_the_groups_that_have_it():
    samples = [Sample(id=f"{g}-{i}", y=int(i == 0 and g % 9 == 0), group=f"g{g}") for g in range(30) for i in range(9)]
    chosen = choose_labels(samples, TARGET, 0.04, 3, grouped=True)
    assert per_class(samples, chosen)[1] >= 1
    assert len(chosen) == 9


def test_no_labels_are_no_labels():
    assert choose_labels([Sample(id="a"), Sample(id="b")], TARGET, 0.5, 0, grouped=False) == frozenset()
