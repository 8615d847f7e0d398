"""The tissue phantom: the same on every call, and no easier than it says."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from sklearn.model_selection import StratifiedKFold
from sklearn.neighbors import KNeighborsClassifier

from medssl.contracts import Sample
from medssl.errors import DataError, OptionError
from medssl.recipe import options
from medssl_datasets._tissue import CLASSES, Layout, Stain, _nearness, _rank, _waves, draw
from medssl_datasets.phantom import Phantom


def build(**values: object) -> Phantom:
    return Phantom(options.build(Phantom.Config, values, "dataset"), Path("nowhere"))


def test_the_default_set_is_small_grouped_and_balanced():
    dataset = build()
    samples = dataset.index().samples
    assert len(samples) == len({sample.id for sample in samples}) == 480
    assert [sample.id for sample in samples[:2]] == ["gland/000/000", "gland/000/001"]
    assert Counter(sample.y for sample in samples) == dict.fromkeys(range(4), 120)
    assert Counter(Counter(sample.group for sample in samples).values()) == {12: 40}
    assert (dataset.index().default_split, dataset.index().group_kind) == ("grouped", "patient")


def test_options_set_counts_and_size():
    dataset = build(patients_per_class=2, images_per_patient=3, size=40)
    samples = dataset.index().samples
    assert len(samples) == 24
    assert all(dataset.read(sample).shape == (40, 40, 3) for sample in samples[::6])
    assert dataset.read(samples[0]).dtype == np.uint8


def test_an_image_depends_on_seed_and_id_only():
    one, two = build(), build(patients_per_class=1, images_per_patient=2)
    sample = two.index().samples[1]
    image = one.read(sample)
    assert np.array_equal(image, two.read(sample))
    assert np.array_equal(image, one.read(Sample(id=sample.id))), "the label is not looked at"
    assert not np.array_equal(image, build(seed=1).read(sample))
    assert not np.array_equal(image, one.read(two.index().samples[0]))


def test_no_two_images_are_equal():
    dataset = build(size=16)
    assert len({dataset.read(sample).tobytes() for sample in dataset.index().samples}) == 480


def test_the_fingerprint_follows_the_options():
    assert build().fingerprint() == build().fingerprint()
    others = [{"seed": 1}, {"size": 65}, {"noise": 0.1}, {"images_per_patient": 11}]
    assert len({build().fingerprint(), *(build(**other).fingerprint() for other in others)}) == 5


@pytest.mark.parametrize("name", ["gland", "bone/000/000", "gland/x/000", "gland/000/000/000"])
def test_an_unknown_id_is_an_error(name):
    with pytest.raises(DataError, match="no image"):
        build().read(Sample(id=name))


@pytest.mark.parametrize("values", [{"size": 8}, {"seed": -1}, {"images_per_patient": 0}, {"noise": -0.1}])
def test_bad_options_are_refused(values):
    with pytest.raises(OptionError):
        build(**values)


def test_images_of_one_patient_share_their_colour():
    dataset = build(images_per_patient=4)
    mean = np.array([dataset.read(sample).mean((0, 1)) for sample in dataset.index().samples])  # (160, 3)
    patients = mean.reshape(40, 4, 3)
    within, between = patients.std(1).mean(), patients.mean(1).std(0).mean()
    assert between > 2 * within


def test_colour_does_not_tell_the_class_of_a_new_patient():
    dataset = build(patients_per_class=150, images_per_patient=1, size=32)
    samples = dataset.index().samples
    labels = np.array([sample.y for sample in samples])
    bins = np.stack([dataset.read(sample) // 32 @ np.array([64, 8, 1]) for sample in samples])
    histograms = np.sqrt([np.bincount(image.ravel(), minlength=512) for image in bins])
    right = []
    for train, test in StratifiedKFold(5, shuffle=True, random_state=0).split(histograms, labels):
        nearest = KNeighborsClassifier(20).fit(histograms[train], labels[train])
        right.append(nearest.score(histograms[test], labels[test]))
    assert np.mean(right) < 0.31, "chance is 0.25, with a standard error of 0.02 for 600 patients"


def test_structure_does():
    rng = np.random.default_rng(0)
    layouts = [(name, CLASSES[name](rng)) for name in CLASSES for _ in range(20)]
    aligned = {name: [] for name in CLASSES}
    for name, layout in layouts:
        aligned[name].append(np.abs(np.exp(2j * layout.angle).mean()))
    assert min(aligned["stroma"]) > 0.8
    assert max(max(aligned[name]) for name in set(CLASSES) - {"stroma"}) < 0.4
    count = {name: [len(layout.centre) for kind, layout in layouts if kind == name] for name in CLASSES}
    assert min(count["lymphoid"]) > 5 * max(count["tumour"])
    for layout in (layout for name, layout in layouts if name == "gland"):
        x, y, radius = layout.lumens.T
        distance = np.hypot(layout.centre[:, :1] - x, layout.centre[:, 1:] - y) / radius  # (n, m)
        assert distance.min() > 0.6, "no nucleus inside a lumen"


def test_stain_is_spread_alike_in_every_class():
    """With one stain and no noise, the share of dark pixels follows the draw, not the class."""
    stain = Stain(
        haematoxylin=np.ones(3, np.float32), eosin=np.full(3, 0.2, np.float32), light=np.ones(3, np.float32), zoom=1.0
    )
    means = {
        name: np.mean([draw(name, stain, np.random.default_rng(k), 64, 0.0).mean() for k in range(40)])
        for name in CLASSES
    }
    assert max(means.values()) - min(means.values()) < 3, means


def test_nearness_equals_a_loop_over_pixels_and_nuclei():
    rng = np.random.default_rng(3)
    n, ticks = 5, np.linspace(-8, 8, 33, dtype=np.float32)
    layout = Layout(
        centre=rng.uniform(-4, 4, (n, 2)),
        angle=rng.uniform(0, np.pi, n),
        aspect=rng.uniform(1, 3, n),
        size=rng.uniform(0.8, 1.5, n),
    )
    field = _nearness(layout, ticks)
    for row, column in ((8, 8), (16, 16), (12, 20), (24, 9)):
        distances = []
        for (x, y), angle, aspect, size in zip(layout.centre, layout.angle, layout.aspect, layout.size, strict=True):
            dx, dy = ticks[column] - x, ticks[row] - y
            along, across = dx * np.cos(angle) + dy * np.sin(angle), dy * np.cos(angle) - dx * np.sin(angle)
            distances.append(np.hypot(along / (size * np.sqrt(aspect)), across / (size / np.sqrt(aspect))))
        assert field[row, column] == pytest.approx(-min(distances), rel=1e-3)


def test_waves_have_unit_variance():
    waves = [_waves(np.random.default_rng(k), np.linspace(-100, 100, 128), 8, 0, np.pi, 10) for k in range(20)]
    assert np.mean([wave.var() for wave in waves]) == pytest.approx(1, abs=0.1)


def test_rank_spreads_any_values_evenly():
    values = np.exp(np.random.default_rng(0).normal(size=(7, 9))).astype(np.float32)
    ranks = _rank(values)
    assert np.allclose(np.sort(ranks.ravel()), np.linspace(0, 1, 63))
    assert np.array_equal(np.argsort(ranks, axis=None), np.argsort(values, axis=None))
