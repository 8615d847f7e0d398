"""What predicts the target beside the disease: planted confounders are found, and none is found in noise."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from medssl.contracts import Classes, Findings, Sample
from medssl.data.audit.confounding import _judge, find_confounding
from medssl.io.identities import private_id

TARGET = Classes(("a", "b"))
SPLIT = SimpleNamespace(protocol="grouped", grouped=True, group_count={"train": 30, "val": 12, "test": 4})


class Images:
    """A store of flat images with some noise."""

    def __init__(self, levels, channels=3, side=16):
        self.channels, self._levels, self._side = channels, levels, side

    def image(self, i):
        rng = np.random.default_rng(i)
        noise = rng.normal(0, 5, (self._side, self._side, self.channels))
        return np.clip(self._levels[i] + noise, 0, 255).astype(np.uint8)


def listed(groups=40, per_group=3, *, value, site=lambda g: None):
    return [
        Sample(id=f"{g}-{i}", y=value(g, i), group=f"g{g}", site=site(g))
        for g in range(groups)
        for i in range(per_group)
    ]


def levels(samples, level):
    return [level(sample) for sample in samples]


def test_stain_that_goes_with_the_class_is_found_and_warned_of() -> None:
    samples = listed(per_group=12, value=lambda g, i: g % 2)
    store = Images(levels(samples, lambda s: 100 + 40 * s.y))
    found = find_confounding(samples, TARGET, "slide", store, SPLIT)
    assert found.appearance is not None
    assert found.appearance.value > 0.95
    assert found.appearance.notable
    assert (found.groups, found.one_value, found.typical) == (40, 40, 12)
    texts = list(found.warn())
    assert any("each of the 40 slides has images of one class only" in text for text in texts)
    assert any("colour statistics and image size alone predict the class" in text for text in texts)
    assert any("the test part has 4 slides" in text for text in texts)


def test_a_stain_of_each_slide_alone_is_not_mistaken_for_the_class() -> None:
    """Slides differ in stain, at random: inside a slide that is known it would predict, in other slides it does not."""
    tone = np.random.default_rng(0).integers(60, 200, 40)
    samples = listed(per_group=12, value=lambda g, i: g % 2)
    store = Images(levels(samples, lambda s: float(tone[int(s.group[1:])])))
    found = find_confounding(samples, TARGET, "slide", store, SPLIT).appearance
    assert found is not None
    assert not found.above_chance
    assert found.chance == 0.5


def test_images_of_one_size_and_level_predict_nothing() -> None:
    rng = np.random.default_rng(1)
    samples = listed(value=lambda g, i: int(rng.integers(2)))
    found = find_confounding(samples, TARGET, "patient", Images(levels(samples, lambda s: 100)), SPLIT)
    assert found.appearance is not None
    assert not found.appearance.notable
    assert list(found.warn()) == ["few patients: the test part has 4 patients; its intervals are too narrow"]


def test_a_site_of_one_class_is_named_and_the_site_predicts_the_class() -> None:
    rng = np.random.default_rng(0)
    samples = listed(
        groups=60,
        value=lambda g, i: 1 if g < 20 else int(rng.random() < 0.2),
        site=lambda g: "north" if g < 20 else "south",
    )
    found = find_confounding(samples, TARGET, "patient", Images([100] * len(samples)), SPLIT)
    assert found.one_value_sites == (private_id("site", "north"),)
    assert found.site is not None
    assert found.site.notable
    assert any(private_id("site", "north") in text for text in found.warn())


def test_sites_with_equal_mixes_predict_nothing() -> None:
    samples = listed(groups=60, value=lambda g, i: g // 2 % 2, site=lambda g: f"s{g % 2}")
    found = find_confounding(samples, TARGET, "patient", Images([100] * len(samples)), SPLIT)
    assert found.site is not None
    assert not found.site.above_chance
    assert found.one_value_sites == ()


def test_unknown_findings_are_left_out() -> None:
    target = Findings(("x", "y"))
    samples = listed(value=lambda g, i: (g % 2, None))
    found = find_confounding(samples, target, "patient", Images(levels(samples, lambda s: 80 + 60 * s.y[0])), SPLIT)
    assert found.appearance is not None
    assert found.appearance.value > 0.95
    assert found.looks == "colour"


def test_the_score_is_scikit_learns_and_its_interval_equals_a_loop() -> None:
    rng = np.random.default_rng(3)
    y, guess, groups = rng.integers(0, 3, 90), rng.integers(0, 3, 90), np.arange(90) // 3
    found = _judge([y], [guess], groups)
    assert found is not None
    assert found.value == pytest.approx(balanced_accuracy_score(y, guess), abs=1e-12)
    draws = np.random.default_rng(0).integers(0, 30, size=(500, 30))
    scores = []
    for draw in draws:
        rows = np.concatenate([np.flatnonzero(groups == g) for g in draw])
        scores.append(np.mean([(guess[rows][y[rows] == c] == c).mean() for c in range(3)]))
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(scores, (0.025, 0.975))), abs=1e-12)


def test_one_group_of_a_class_cannot_be_measured() -> None:
    samples = listed(groups=20, value=lambda g, i: int(g == 0))
    found = find_confounding(samples, TARGET, "patient", Images(levels(samples, lambda s: 100 + 50 * s.y)), SPLIT)
    assert found.appearance is None
